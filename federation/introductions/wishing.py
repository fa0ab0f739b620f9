"""Our side of an introduction: ask common peers, and take what they bring.

Whom the owner has not agreed to meet, nobody can introduce.
"""

import logging

from federation import consent, doors, identity, invitation_links, opening, payloads
from federation.connecting import Connecting
from federation.consent import Ticket
from federation.desk import DAY_MS, Terms
from federation.identity import BadIdentity, Identity
from federation.introductions import deciding, notes, said, strangers
from federation.introductions.said import IntroductionTold, RoomAgreedTold
from federation.invitation_links import Link
from federation.inviting import Inviting
from federation.opening import AlreadyAsked, AlreadyUsed, Choice
from federation.sentences import EverythingPaused
from federation.turn_state import Party
from homeserver import errors
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import RoomId, ServerName
from homeserver.rooms import hiding, meeting_strangers
from homeserver.storage import cards, frames, invitations, meetings, notices, peers, sharing
from homeserver.storage.invitations import Invitation
from homeserver.storage.meetings import Meeting
from homeserver.storage.unit_of_work import UnitOfWork, View

logger = logging.getLogger(__name__)

_SECRET_BYTES = 32
_MOST_INTRODUCERS = 5


class Wishing:
    """Asks to be introduced, and accepts introductions to those we asked for."""

    def __init__(
        self, party: Party, inviting: Inviting, connecting: Connecting, terms: Terms
    ) -> None:
        self._party = party
        self._inviting = inviting
        self._connecting = connecting
        self._terms = terms

    def wish_all(self, work: UnitOfWork) -> bool:
        """Ask for everybody whom we agreed to meet and have not met; whether any is left."""
        if peers.is_everything_paused(work):
            return False
        left = [one for one in meetings.load(work) if _is_unfinished(work, one)]
        for meeting in left:
            self._wish(work, meeting)
        return bool(left)

    def _wish(self, work: UnitOfWork, meeting: Meeting) -> None:
        now_ms, server = self._party.clock.now_ms(), meeting.server
        renewal = int(self._terms.federation.invitation_lifetime_days * DAY_MS / 2)
        if meeting.wished_at is not None and now_ms < meeting.wished_at + renewal:
            return
        if _is_met(work, server):
            body: JsonObject = {"room_id": meeting.room_id}
            frames.queue_item(work, server, frames.CONTROL, said.ROOM_AGREED, body)
            meetings.note_wished(work, server, meeting.room_id, now_ms)
            return
        receiver = _identity_of(work, server)
        through = sorted(strangers.introducers(work, meeting.room_id) - {server})
        if receiver is None or not through:
            if meeting.wished_at is None:
                content = {"server_name": server, "room_id": meeting.room_id}
                kind, node_id = deciding.NOBODY_INTRODUCES, deciding.node_of(server)
                notices.tell_owner(work, now_ms, kind, node_id, content)
        else:
            for introducer in through[:_MOST_INTRODUCERS]:
                self._ask(work, introducer, receiver, meeting.room_id)
        meetings.note_wished(work, server, meeting.room_id, now_ms)

    def _ask(
        self, work: UnitOfWork, introducer: ServerName, receiver: Identity, room_id: RoomId
    ) -> None:
        link = self._invite(work, introducer, receiver, room_id) if self._terms.routes else None
        note = notes.write(self._party.own, receiver, room_id, link, self._party.clock.now_ms())
        body = {"target": receiver.server_name, "room_id": room_id, "note": note}
        frames.queue_item(work, introducer, frames.CONTROL, said.WISH, body)

    def _invite(
        self, work: UnitOfWork, introducer: ServerName, receiver: Identity, room_id: RoomId
    ) -> Link:
        """An invitation that only the one it is for can use."""
        own, entropy = self._party.own, self._party.entropy
        now_ms, days = self._party.clock.now_ms(), self._terms.federation.invitation_lifetime_days
        intake, secret = (
            entropy.token_bytes(doors.ADDRESS_BYTES).hex(),
            entropy.token_bytes(_SECRET_BYTES),
        )
        invitation = Invitation(
            intake=intake,
            secret=self._party.sessions.keyring.seal("invitation", intake, secret),
            ticket=Ticket.OPEN.value,
            how=invitations.introduced_by(introducer),
            asks_owner=False,
            expected=receiver.node_id,
            room_id=room_id,
            created_at=now_ms,
            expires_at=now_ms + int(days * DAY_MS),
        )
        invitations.save_invitation(work, invitation)
        work.after_commit(lambda: self._inviting.open_intake(invitation))
        routes = self._terms.routes[: invitation_links.MOST_ROUTES]
        return Link(own.node_id, own.server_name, routes, intake, secret, invitation.expires_at)

    def take_introduction(self, work: UnitOfWork, peer: ServerName, body: JsonObject) -> None:
        """A common peer brings the other one's note: his yes, signed by himself."""
        told = payloads.read(IntroductionTold, body)
        now_ms = self._party.clock.now_ms()
        note = notes.read(self._party.own, told.note, now_ms)
        server = note.writer.server_name
        meeting = meetings.find(work, server, note.room_id)
        if note.room_id != told.room_id or meeting is None or not _is_unfinished(work, meeting):
            raise BadIdentity
        known = _identity_of(work, server)
        if known is not None and not identity.may_replace(known, note.writer):
            raise BadIdentity
        content: JsonObject = {
            "server_name": server,
            "room_id": note.room_id,
            "introducer": peer,
            "called": told.called,
        }
        notices.tell_owner(work, now_ms, deciding.INTRODUCED, note.writer.node_id, content)
        if note.link is not None and self._is_theirs_used(note.writer):
            self._open(work, note.link, peer, meeting)

    def _is_theirs_used(self, writer: Identity) -> bool:
        """Of two invitations the one of the lower node id is used; or the only one."""
        return not self._terms.routes or writer.node_id < self._party.own.node_id

    def _open(self, work: UnitOfWork, link: Link, introducer: ServerName, meeting: Meeting) -> None:
        choice = Choice(invitations.introduced_by(introducer), None, meeting.room_id)
        try:
            handshake = opening.open_link(work, self._party, self._terms, link, choice)
        except (AlreadyAsked, AlreadyUsed):
            return
        except EverythingPaused:
            meetings.wish_again(work)
            return
        except consent.Breach as breach:
            raise errors.Conflict from breach
        work.after_commit(lambda: self._connecting.pursue(handshake.key))

    def take_room_agreed(self, work: UnitOfWork, peer: ServerName, body: JsonObject) -> None:
        """Somebody we met in one room agrees to meet in another; it counts once we do."""
        told, now_ms = payloads.read(RoomAgreedTold, body), self._party.clock.now_ms()
        if not _is_met(work, peer):
            return
        was_carried = meetings.is_carried(work, told.room_id, peer)
        meetings.note_theirs(work, peer, told.room_id, now_ms)
        if meetings.is_carried(work, told.room_id, peer) and not was_carried:
            # Our own yes again: theirs may have come after it was given up.
            frames.queue_item(
                work, peer, frames.CONTROL, said.ROOM_AGREED, {"room_id": told.room_id}
            )
            hiding.show_server(work, peer, now_ms, [told.room_id])
            newest = sharing.newest_own_positions(work, told.room_id, 0, 1, peer)
            if newest:
                frames.queue_room(work, peer, told.room_id, newest[0])


def _is_unfinished(view: View, meeting: Meeting) -> bool:
    """Whether we agreed to meet somebody who is there, and are not connected for that room."""
    if meeting.state != meetings.AGREED or not deciding.is_here(view, meeting):
        return False
    if not meeting_strangers.is_stranger(view, meeting.server):
        return False
    return not meetings.is_carried(view, meeting.room_id, meeting.server)


def _is_met(view: View, server: ServerName) -> bool:
    peer = peers.find_peer(view, server)
    return peer is not None and meeting_strangers.is_of_rooms(peer)


def _identity_of(view: View, server: ServerName) -> Identity | None:
    """Who a stranger is, as members of the room told us; a DNS name is nobody's proof."""
    proof = cards.find_cards(view, [server]).get(server)
    if proof is None:
        return None
    found = identity.verify_proof(proof)
    return found if identity.has_p2p_name(found) else None
