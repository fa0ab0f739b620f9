"""The inviter's side of a handshake: REQUEST is answered with ACCEPT, PROVE with READY.

Every answer is stored before it is given, and a repeat gets the same one. Whatever is wrong with
a message ends in the refusal that says nothing.
"""

import logging
from dataclasses import replace

import orjson

from federation import (
    activating,
    alarms,
    consent,
    consent_steps,
    desk,
    doors,
    doubting,
    envelope,
    identity,
)
from federation import handshake_messages as messages
from federation.consent import Breach, Step, Ticket, Use
from federation.consent_steps import Doing
from federation.desk import ACCEPTED, DONE, SILENT, Refusal, Terms
from federation.doors import Door, Doors
from federation.envelope import Envelope
from federation.handshake_messages import Secrets
from federation.handshake_payloads import Prove
from federation.invitation_links import intake_door_key
from federation.lines import Lines
from federation.ratchets.interface import NORMAL, OlmMessage, Undecryptable
from federation.turn_state import ChannelClosed, Party
from homeserver import crash_points, errors
from homeserver.crash_points import Point
from homeserver.matrix.identifiers import ServerName
from homeserver.storage import invitations, peers
from homeserver.storage.database import Database
from homeserver.storage.invitations import INVITER, KNOCK, Handshake, Invitation
from homeserver.storage.peers import Peer
from homeserver.storage.unit_of_work import UnitOfWork

logger = logging.getLogger(__name__)

_UNREAL = (errors.BadJson, errors.BadSignature, errors.InvalidParam)


class Inviting:
    """Answers those who use an invitation of ours."""

    def __init__(
        self, database: Database, party: Party, open_doors: Doors, lines: Lines, terms: Terms
    ) -> None:
        self._database = database
        self._party = party
        self._doors = open_doors
        self._lines = lines
        self._terms = terms

    def load(self) -> None:
        """Open the doors of what was under way before the start."""
        now = self._party.clock.now_ms()
        for invitation in self._database.read(invitations.load_invitations):
            if invitation.ticket != Ticket.VOID and invitation.expires_at > now:
                self.open_intake(invitation)
        for handshake in self._database.read(invitations.load_handshakes):
            if handshake.role == INVITER and handshake.expires_at > now:
                self._open_intake_of(handshake)
                if handshake.state == ACCEPTED:
                    self._open_address(handshake)

    def open_intake(self, invitation: Invitation) -> None:
        """Let the one who has the link ask."""
        secret = self._party.sessions.keyring.open(
            "invitation", invitation.intake, invitation.secret
        )
        keys = envelope.door_keys(intake_door_key(secret, self._party.own.node_id))
        self._doors.open(
            bytes.fromhex(invitation.intake), Door(doors.INTAKE, invitation.intake, keys)
        )

    async def answer_request(self, door: Door, came: Envelope, nonce: bytes) -> bytes | None:
        """REQUEST at an intake: ACCEPT, a word that the owner decides, or the refusal."""
        try:
            asked = messages.read_request(came.note, self._party.own.node_id, door.name)
            crash_points.reach(Point.REQUEST_CAME)
            packed = await self._database.write(
                lambda work: desk.Desk(work, self._party, self._terms).take(
                    door.name, came.note, asked
                )
            )
        except alarms.ForeignKeys as foreign:
            await self._sound(foreign.peer)
            return None
        except (*_UNREAL, Refusal, Breach):
            return None
        crash_points.reach(Point.ACCEPT_KEPT)
        handshake = self._database.read(
            lambda view: invitations.find_handshake(
                view, desk.key_of(door.name, asked.identity.node_id)
            )
        )
        if packed is None or handshake is None:
            self._lines.refresh(asked.identity.server_name)
            doubted = self._database.read(lambda view: doubting.connected_by(view, door.name))
            for server_name in doubted:
                self._lines.refresh(server_name)
            return None
        if handshake.state == ACCEPTED:
            self._open_address(handshake)
        return self._seal(door, messages.unpack(packed, nonce))

    def agree(self, work: UnitOfWork, handshake: Handshake, peer: Peer, doing: Doing) -> None:
        """The owner's yes to a request that waits; the next repeat of REQUEST finds ACCEPT."""
        consent_steps.take(work, peer, Step.OWNER_AGREED, doing)
        self._desk(work).accept(handshake)

    async def answer_prove(
        self, key: str, door: Door, came: Envelope, nonce: bytes
    ) -> bytes | None:
        """PROVE at the address made for the other side: READY, and the connection is active."""
        crash_points.reach(Point.PROVE_CAME)
        try:
            packed, is_new = await self._database.write(lambda work: self._prove(work, key, came))
        except (*_UNREAL, Refusal, Breach, Undecryptable, ChannelClosed):
            return None
        crash_points.reach(Point.READY_KEPT)
        handshake = self._database.read(lambda view: invitations.find_handshake(view, key))
        if is_new and handshake is not None:
            self._doors.close_all(doors.HANDSHAKE, key)
            self._lines.refresh(ServerName(handshake.server_name), anew=True)
        if handshake is not None and self._is_paused(ServerName(handshake.server_name)):
            return None  # somebody else had the link too: READY waits for the owner's decision
        return self._seal(door, messages.unpack(packed, nonce))

    def _is_paused(self, server_name: ServerName) -> bool:
        peer = self._database.read(lambda view: peers.find_peer(view, server_name))
        return peer is not None and peer.standing == consent.Standing.PAUSED.value

    async def _sound(self, peer: Peer) -> None:
        now = self._party.clock.now_ms()
        await self._database.write(lambda work: alarms.sound(work, peer, now))
        self._lines.refresh(peer.server_name)

    def _desk(self, work: UnitOfWork) -> desk.Desk:
        return desk.Desk(work, self._party, self._terms)

    def _prove(self, work: UnitOfWork, key: str, came: Envelope) -> tuple[bytes, bool]:
        handshake = invitations.find_handshake(work, key)
        if handshake is None or handshake.role != INVITER or peers.is_everything_paused(work):
            raise Refusal
        if handshake.state == DONE and handshake.prove == came.olm:
            return handshake.ready, False
        now = self._party.clock.now_ms()
        if handshake.state != ACCEPTED or now > handshake.expires_at:
            raise Refusal
        secrets = messages.open_secrets(self._party.sessions.keyring, handshake)
        ready, secrets = self._read_prove(handshake, secrets, came, now)
        invitation = invitations.find_invitation(work, handshake.intake)
        if invitation is None:
            raise Refusal
        if invitation.how != KNOCK:
            outcome = consent.use(Ticket(invitation.ticket), Use.PROOF)
            invitations.change_invitation(work, invitation.intake, ticket=outcome.ticket.value)
        activating.activate(
            work, self._party, handshake, secrets, Doing(now, "peer", invitation.how)
        )
        doubting.doubt_if_warned(work, invitation, ServerName(handshake.server_name), now)
        # Remembered as long as the link can be opened, so that nobody is taken for a second person.
        ends = handshake.expires_at if invitation.how == KNOCK else invitation.expires_at
        done = replace(handshake, state=DONE, prove=came.olm, ready=ready, secrets=b"")
        done = replace(done, expires_at=max(handshake.expires_at, ends))
        invitations.save_handshake(work, done)
        return ready, True

    def _read_prove(
        self, handshake: Handshake, secrets: Secrets, came: Envelope, now: int
    ) -> tuple[bytes, Secrets]:
        sessions, node_id, epoch = self._party.sessions, handshake.node_id, secrets.epoch
        message = OlmMessage(came.olm_kind, came.olm)
        if message.kind != NORMAL:
            raise Refusal
        plaintext, session = sessions.decrypt(node_id, epoch, secrets.session, message)
        body = messages.read_inside(plaintext, node_id, epoch)
        place, routes = messages.check_place(body, Prove, secrets.transcript)
        inside = messages.write_inside(
            self._party.own.node_id, epoch, now, {"transcript": secrets.transcript}
        )
        ready, session = sessions.encrypt(node_id, epoch, session, inside)
        note = orjson.dumps({"kind": "ready"})
        crash_points.reach(Point.READY_SEALED)
        return messages.pack(note, ready, epoch), replace(
            secrets,
            session=session,
            their_address=bytes.fromhex(place.address),
            their_door_key=identity.from_text(place.door_key, 32),
            routes=routes,
        )

    def _open_intake_of(self, handshake: Handshake) -> None:
        invitation = self._database.read(
            lambda view: invitations.find_invitation(view, handshake.intake)
        )
        if invitation is None:
            return
        if invitation.ticket != Ticket.VOID or handshake.state == SILENT:
            self.open_intake(invitation)

    def _open_address(self, handshake: Handshake) -> None:
        secrets = messages.open_secrets(self._party.sessions.keyring, handshake)
        keys = envelope.door_keys(secrets.our_door_key)
        self._doors.close_all(doors.HANDSHAKE, handshake.key)  # of a REQUEST before this one
        self._doors.open(secrets.our_address, Door(doors.HANDSHAKE, handshake.key, keys))

    def _seal(self, door: Door, content: Envelope) -> bytes:
        return envelope.seal(door.keys.answer, self._party.token(), content)
