"""What becomes of one REQUEST, decided in one unit of work.

The invitation is bound to the first REQUEST that verifies; a repeat gets the stored answer; only a
different one is refused and warned about. A blocked node spends nothing and warns nobody.
"""

from dataclasses import dataclass, replace

import orjson

from federation import (
    agreeing,
    alarms,
    consent,
    consent_steps,
    doors,
    doubting,
    fingerprints,
    grants,
    identity,
    told_grants,
)
from federation import handshake_messages as messages
from federation.consent import Reply, Step, Ticket, Use
from federation.consent_steps import Doing
from federation.handshake_messages import Asked, Secrets
from federation.ratchets.interface import OlmMessage
from federation.turn_state import Party
from homeserver import crash_points
from homeserver.config import FederationSettings
from homeserver.crash_points import Point
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import RoomId
from homeserver.storage import audit, channels, invitations, meetings, notices, peers
from homeserver.storage.invitations import INVITER, Handshake, Invitation
from homeserver.storage.peers import Peer
from homeserver.storage.unit_of_work import UnitOfWork

WAITING, ACCEPTED, DONE = "waiting", "accepted", "done"
DAY_MS = 86_400_000
KNOCK = "knock"


@dataclass(frozen=True, slots=True)
class Terms:
    """What we say about ourselves to somebody new, and the owner's settings."""

    name: str
    routes: tuple[str, ...]
    federation: FederationSettings


class Refusal(Exception):
    """The one answer that says nothing."""


class Desk:
    """One REQUEST in one unit of work."""

    def __init__(self, work: UnitOfWork, party: Party, terms: Terms) -> None:
        self._work = work
        self._party = party
        self._terms = terms
        self._now = party.clock.now_ms()

    def take(self, intake: str, raw: bytes, asked: Asked) -> bytes | None:
        """The packed answer; None where the owner was warned and the refusal is due."""
        invitation = invitations.find_invitation(self._work, intake)
        if invitation is None:
            raise Refusal
        peer = self._peer(invitation, asked)
        key = key_of(intake, asked.identity.node_id)
        handshake = invitations.find_handshake(self._work, key)
        if peer.standing == consent.Standing.BLOCKED.value or self._is_paused(peer):
            raise Refusal
        if invitation.how == KNOCK:
            return self._take_knock(invitation, peer, handshake, raw, asked)
        outcome = consent.use(Ticket(invitation.ticket), _use(invitation, asked))
        if Reply.WARN_OWNER in outcome.replies:
            doubting.warn(self._work, self._party.own, invitation, asked, self._now)
            return None
        if Reply.REPEAT_ANSWER in outcome.replies:
            if handshake is None or handshake.expires_at < self._now:
                raise Refusal
            return handshake.accept
        if invitation.expires_at < self._now:
            raise Refusal
        invitations.change_invitation(
            self._work, intake, ticket=outcome.ticket.value, request_hash=asked.request_hash
        )
        return self._begin(invitation, peer, raw, asked)

    def _is_paused(self, peer: Peer) -> bool:
        """While a peer is paused nothing leaves for it, not even what it was told before."""
        return peer.standing == consent.Standing.PAUSED.value or peers.is_everything_paused(
            self._work
        )

    def accept(self, handshake: Handshake) -> bytes:
        """Write and store ACCEPT."""
        asked = messages.read_request(handshake.request, self._party.own.node_id, handshake.intake)
        sessions, node_id = self._party.sessions, handshake.node_id
        account, olm_key = sessions.create_account(node_id)
        channel = channels.find_channel(self._work, asked.identity.server_name)
        is_connected = channel is not None
        epoch = max(asked.request.epoch, channel.highest_epoch if channel else 0) + 1
        note = messages.write_accept(
            self._party.own,
            {
                "olm_key": olm_key,
                "name": self._terms.name,
                "is_connected": is_connected,
                "request_hash": asked.request_hash,
                "epoch": epoch,
            },
        )
        secrets = Secrets(
            account=account,
            epoch=epoch,
            our_address=self._party.entropy.token_bytes(doors.ADDRESS_BYTES),
            our_door_key=self._party.entropy.token_bytes(32),
            their_olm_key=asked.request.olm_key,
            their_proof=orjson.dumps(asked.identity.proof),
            their_name=asked.request.name,
            their_grants=orjson.dumps(asked.request.grants),
            transcript=messages.transcript_of(handshake.request, note),
            told_routes=self._routes_for(asked),
            restarts=asked.request.is_connected != is_connected,
        )
        return self._save_accept(handshake, asked, note, secrets)

    def _save_accept(
        self, handshake: Handshake, asked: Asked, note: bytes, secrets: Secrets
    ) -> bytes:
        sessions, node_id, epoch = self._party.sessions, handshake.node_id, secrets.epoch
        session = sessions.start(
            node_id, epoch, secrets.account, asked.request.olm_key, asked.request.one_time_key
        )
        inside = messages.write_inside(
            self._party.own.node_id, epoch, self._now, self._inside(secrets, asked)
        )
        message, session = sessions.encrypt(node_id, epoch, session, inside)
        crash_points.reach(Point.ACCEPT_SEALED)
        packed = messages.pack(note, message, epoch)
        secrets = replace(secrets, session=session)
        sealed = messages.seal_secrets(sessions.keyring, handshake.key, secrets)
        invitations.save_handshake(
            self._work, replace(handshake, state=ACCEPTED, accept=packed, secrets=sealed)
        )
        return packed

    def _routes_for(self, asked: Asked) -> tuple[str, ...]:
        peer = peers.find_peer(self._work, asked.identity.server_name)
        may_learn = peer is not None and peers.permits(peer.grants, "route")
        return self._terms.routes if may_learn else ()

    def _inside(self, secrets: Secrets, asked: Asked) -> JsonObject:
        peer = peers.find_peer(self._work, asked.identity.server_name)
        given = {} if peer is None else peer.grants
        return {
            "transcript": secrets.transcript,
            "address": secrets.our_address.hex(),
            "door_key": identity.to_text(secrets.our_door_key),
            "routes": list(secrets.told_routes),
            "grants": told_grants.told(self._work, given),
        }

    def _peer(self, invitation: Invitation, asked: Asked) -> Peer:
        """The one who asks as we know it; refused where its name belongs to somebody else."""
        theirs, own = asked.identity, self._party.own
        known = peers.find_node(self._work, theirs.node_id)
        named = peers.find_peer(self._work, theirs.server_name)
        if named is not None and named.node_id != theirs.node_id:
            raise Refusal
        if theirs.server_name == own.server_name:
            raise Refusal
        if known is not None and known.proof:
            alarms.check(known, theirs)
        elif known is not None and known.server_name != theirs.server_name:
            raise Refusal
        if invitation.expected not in (None, theirs.node_id, theirs.server_name):
            raise Refusal
        if known is not None:
            return agreeing.begun_again(known, invitation.grants)
        given = grants.by_default(self._terms.federation.default_grants).model_dump()
        return Peer(
            server_name=theirs.server_name,
            node_id=theirs.node_id,
            standing=consent.Standing.NONE.value,
            standing_before=consent.Standing.NONE.value,
            name=asked.request.name,
            proof=theirs.proof,
            grants=invitation.grants or given,
            granted={},
            inviter=own.node_id,
            how=invitation.how,
            room_id=None if invitation.room_id is None else RoomId(invitation.room_id),
        )

    def _begin(self, invitation: Invitation, peer: Peer, raw: bytes, asked: Asked) -> bytes:
        self._check_invited_since(invitation, peer)
        step = Step.KNOCK_CAME if invitation.how == KNOCK else Step.REQUEST_CAME
        is_connected = consent.is_connected(consent.Standing(peer.standing))
        doing = Doing(self._now, "peer", invitation.how)
        peer, _ = consent_steps.take(self._work, peer, step, doing)
        is_repair = is_connected or asked.request.is_connected
        handshake = self._handshake(invitation, raw, asked, is_repair=is_repair)
        if not is_connected and self._has_to_ask(invitation, asked, peer):
            invitations.save_handshake(self._work, handshake)
            words = {
                "server_name": peer.server_name,
                "name": asked.request.name,
                "how": invitation.how,
                "words": fingerprints.words_between(self._party.own.node_id, peer.node_id),
            }
            notices.tell_owner(self._work, self._now, "request", peer.node_id, words)
            return handshake.accept
        agreed = Doing(self._now, "owner", invitation.how)
        consent_steps.take(self._work, peer, Step.INVITATION_AGREED, agreed)
        return self.accept(handshake)

    def _check_invited_since(self, invitation: Invitation, peer: Peer) -> None:
        """Only an invitation given after the end reopens what was ended."""
        if invitation.room_id is not None:
            self._check_met(RoomId(invitation.room_id), peer)
        if consent.is_ended(consent.Standing(peer.standing)):
            ended_at = audit.last_at(self._work, peer.node_id)
            if ended_at is not None and invitation.created_at < ended_at:
                raise Refusal

    def _check_met(self, room_id: RoomId, peer: Peer) -> None:
        """An introduction counts while the owner agrees to it, and reopens nothing."""
        is_met = meetings.is_agreed(self._work, peer.server_name, room_id)
        if not is_met or consent.is_ended(consent.Standing(peer.standing)):
            raise Refusal

    def _has_to_ask(self, invitation: Invitation, asked: Asked, peer: Peer) -> bool:
        """A name that does not prove itself counts only where the invitation named it."""
        if invitation.how == KNOCK or invitation.asks_owner:
            return True
        is_vouched = invitation.expected == asked.identity.server_name or peer.connected_at
        return not (identity.has_p2p_name(asked.identity) or is_vouched)

    def _take_knock(
        self,
        invitation: Invitation,
        peer: Peer,
        handshake: Handshake | None,
        raw: bytes,
        asked: Asked,
    ) -> bytes:
        if handshake is not None and handshake.expires_at >= self._now:
            if handshake.request_hash == asked.request_hash:
                return handshake.accept
            if handshake.state != DONE:
                raise Refusal
        waiting = [
            one
            for one in invitations.load_handshakes(self._work)
            if one.state == WAITING and one.intake == invitation.intake
        ]
        if len(waiting) >= self._terms.federation.knocks_waiting_max:
            raise Refusal
        return self._begin(invitation, peer, raw, asked)

    def _handshake(
        self, invitation: Invitation, raw: bytes, asked: Asked, *, is_repair: bool
    ) -> Handshake:
        lifetime = int(self._terms.federation.handshake_lifetime_days * DAY_MS)
        wait = messages.pack(orjson.dumps({"kind": "wait"}), OlmMessage(0, b""), 0)
        return Handshake(
            key=key_of(invitation.intake, asked.identity.node_id),
            role=INVITER,
            state=WAITING,
            intake=invitation.intake,
            node_id=asked.identity.node_id,
            server_name=asked.identity.server_name,
            is_repair=is_repair,
            request_hash=asked.request_hash,
            request=raw,
            accept=wait,
            prove=b"",
            ready=b"",
            secrets=b"",
            created_at=self._now,
            expires_at=self._now + lifetime,
            room_id=invitation.room_id,
        )


def _use(invitation: Invitation, asked: Asked) -> Use:
    if invitation.request_hash is None:
        return Use.FIRST_REQUEST
    is_same = invitation.request_hash == asked.request_hash
    return Use.SAME_REQUEST if is_same else Use.OTHER_REQUEST


def key_of(intake: str, node_id: str) -> str:
    """Under which key the inviter keeps a handshake."""
    return f"{intake}/{node_id}"
