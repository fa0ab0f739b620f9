"""What becomes of one REQUEST, decided in one unit of work.

The invitation is bound to the node of the first REQUEST that verifies. A repeat gets the stored
answer, a newer one of the same node takes the place of the one that waits; only somebody else's is
refused and warned about. A blocked node spends nothing and warns nobody.
"""

from dataclasses import dataclass, replace

import orjson

from federation import (
    accepting,
    agreeing,
    alarms,
    consent,
    consent_steps,
    doubting,
    fingerprints,
    grants,
    identity,
    odd_names,
    using,
)
from federation import handshake_messages as messages
from federation.consent import Reply, Step, Ticket, TicketOutcome, Use
from federation.consent_steps import Doing
from federation.handshake_messages import Asked
from federation.ratchets.interface import OlmMessage
from federation.turn_state import Party
from homeserver.config import FederationSettings
from homeserver.matrix.identifiers import RoomId
from homeserver.storage import audit, invitations, meetings, notices, peers
from homeserver.storage.invitations import INVITER, KNOCK, Handshake, Invitation
from homeserver.storage.peers import Peer
from homeserver.storage.unit_of_work import UnitOfWork

WAITING, ACCEPTED, DONE = "waiting", "accepted", "done"
SILENT = "silent"  # declined, and told to wait as before
DAY_MS = 86_400_000


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
        before = invitations.find_handshake(self._work, key_of(intake, asked.identity.node_id))
        if peer.standing == consent.Standing.BLOCKED.value or self._is_paused(peer):
            raise Refusal
        if before is not None and before.expires_at < self._now:
            raise Refusal
        if not odd_names.is_fit(asked):
            odd_names.tell_owner(self._work, self._now, invitation, asked)
            return None
        return self._answer(invitation, peer, before, raw, asked)

    def _answer(
        self,
        invitation: Invitation,
        peer: Peer,
        before: Handshake | None,
        raw: bytes,
        asked: Asked,
    ) -> bytes | None:
        use = using.use_of(invitation, before, asked)
        if invitation.how == KNOCK:
            return self._take_knock(invitation, peer, before, raw, asked, use)
        outcome = consent.use(Ticket(invitation.ticket), use)
        if Reply.REPEAT_ANSWER in outcome.replies:
            return _answer_of(before)
        if Reply.WARN_OWNER in outcome.replies:
            doubting.warn(self._work, self._party.own, invitation, asked, self._now)
            return None
        if Reply.TELL_OWNER in outcome.replies:
            doubting.tell_opened_again(self._work, invitation, peer, self._now)
            return None
        return self._take_in_time(invitation, peer, before, raw, asked, outcome)

    def _take_in_time(
        self,
        invitation: Invitation,
        peer: Peer,
        before: Handshake | None,
        raw: bytes,
        asked: Asked,
        outcome: TicketOutcome,
    ) -> bytes:
        if invitation.expires_at < self._now:
            raise Refusal
        if before is not None and Reply.TAKE_NEWER in outcome.replies:
            return self._take_newer(invitation, before, raw, asked)
        invitations.change_invitation(
            self._work,
            invitation.intake,
            ticket=outcome.ticket.value,
            request_hash=asked.request_hash,
        )
        return self._begin(invitation, peer, raw, asked)

    def _is_paused(self, peer: Peer) -> bool:
        """While a peer is paused nothing leaves for it, not even what it was told before."""
        return peer.standing == consent.Standing.PAUSED.value or peers.is_everything_paused(
            self._work
        )

    def accept(self, handshake: Handshake) -> bytes:
        """Write and store ACCEPT."""
        terms = self._terms
        accepted = accepting.write(
            self._work, self._party, handshake, accepting.Said(terms.name, terms.routes)
        )
        invitations.save_handshake(self._work, replace(accepted, state=ACCEPTED))
        return accepted.accept

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
            return agreeing.begun_again(self._terms.federation, known, invitation.grants)
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

    def _begin(
        self,
        invitation: Invitation,
        peer: Peer,
        raw: bytes,
        asked: Asked,
        before: Handshake | None = None,
    ) -> bytes:
        self._check_invited_since(invitation, peer)
        step = Step.KNOCK_CAME if invitation.how == KNOCK else Step.REQUEST_CAME
        is_connected = consent.is_connected(consent.Standing(peer.standing))
        doing = Doing(self._now, "peer", invitation.how)
        used = f"invitation {invitation.intake}"
        peer, _ = consent_steps.take(self._work, peer, step, doing, used)
        is_repair = is_connected or asked.request.is_connected
        handshake = self._handshake(invitation, raw, asked, before, is_repair=is_repair)
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
            ended_at = audit.last_at(self._work, peer.node_id, consent.ENDS)
            if ended_at is not None and invitation.created_at < ended_at:
                raise Refusal

    def _check_met(self, room_id: RoomId, peer: Peer) -> None:
        """An introduction counts while the owner agrees to it, and reopens nothing."""
        is_met = meetings.is_agreed(self._work, peer.server_name, room_id)
        if not is_met or consent.is_ended(consent.Standing(peer.standing)):
            raise Refusal

    def _has_to_ask(self, invitation: Invitation, asked: Asked, peer: Peer) -> bool:
        """A name that does not prove itself counts only where the invitation named it.

        Nor does one that an eye may take for somebody else's, the owner's own included.
        """
        if invitation.how == KNOCK or invitation.asks_owner:
            return True
        if invitation.expected == asked.identity.server_name or peer.connected_at:
            return False
        if not identity.has_p2p_name(asked.identity):
            return True
        is_named = invitation.expected is not None
        return not is_named and odd_names.resembles(self._work, asked, self._terms.name)

    def _take_knock(
        self,
        invitation: Invitation,
        peer: Peer,
        handshake: Handshake | None,
        raw: bytes,
        asked: Asked,
        use: Use,
    ) -> bytes:
        if invitation.ticket == Ticket.VOID.value or use is Use.EARLIER_REQUEST:
            raise Refusal
        if use is Use.SAME_REQUEST:
            return _answer_of(handshake)
        if handshake is not None and handshake.state != DONE:
            return self._take_newer(invitation, handshake, raw, asked)
        if self._count_knocking() >= self._terms.federation.knocks_waiting_max:
            raise Refusal
        return self._begin(invitation, peer, raw, asked, handshake)

    def _count_knocking(self) -> int:
        """How many wait for an answer, at all knock links together."""
        links = {one.intake for one in invitations.load_invitations(self._work) if one.how == KNOCK}
        under_way = invitations.load_handshakes(self._work)
        return sum(one.state == WAITING and one.intake in links for one in under_way)

    def _take_newer(
        self, invitation: Invitation, before: Handshake, raw: bytes, asked: Asked
    ) -> bytes:
        """Somebody opened the link again: the newest REQUEST counts, and nobody's standing moves.

        What the owner has said to the one before is said to this one.
        """
        is_repair = before.is_repair or asked.request.is_connected
        newer = self._handshake(invitation, raw, asked, before, is_repair=is_repair)
        newer = replace(newer, state=before.state)
        if before.state == ACCEPTED:
            return self.accept(newer)
        invitations.save_handshake(self._work, newer)
        return newer.accept

    def _handshake(
        self,
        invitation: Invitation,
        raw: bytes,
        asked: Asked,
        before: Handshake | None,
        *,
        is_repair: bool,
    ) -> Handshake:
        lifetime = int(self._terms.federation.handshake_lifetime_days * DAY_MS)
        how = {"how": KNOCK} if invitation.how == KNOCK else {}
        wait = messages.pack(orjson.dumps({"kind": "wait", **how}), OlmMessage(0, b""), 0)
        return Handshake(
            key=key_of(invitation.intake, asked.identity.node_id),
            role=INVITER,
            state=WAITING,
            intake=invitation.intake,
            node_id=asked.identity.node_id,
            server_name=asked.identity.server_name,
            is_repair=is_repair,
            request_hash=using.hashes(before, asked.request_hash),
            request=raw,
            accept=wait,
            prove=b"",
            ready=b"",
            secrets=b"",
            created_at=self._now,
            expires_at=self._now + lifetime,
            room_id=invitation.room_id,
        )


def _answer_of(handshake: Handshake | None) -> bytes:
    """The stored answer, for a repeat."""
    if handshake is None:
        raise Refusal
    return handshake.accept


def key_of(intake: str, node_id: str) -> str:
    """Under which key the inviter keeps a handshake."""
    return f"{intake}/{node_id}"
