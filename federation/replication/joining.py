"""Joining, knocking and leaving by a peer's users: we are in the room, they are not.

They ask for a template, sign it and send it back; we append it and pass it on to the others. How
our own users do it stands in `homeserver.rooms.joining`.

Spec: server-server-api#joining-rooms, server-server-api#leaving-rooms-rejecting-invites
"""

from collections.abc import Mapping
from typing import Any

from federation import heeding
from federation.replication import access, bodies, packing, restricted, states
from federation.replication.bodies import MakeMembership, SendMembership
from federation.replication.cards import Cards
from federation.replication.fetching import Fetching
from federation.replication.placing import Placing
from federation.replication.verification import Room
from homeserver import errors
from homeserver.matrix import auth_rules, identifiers
from homeserver.matrix import events as matrix_events
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.events import Event
from homeserver.matrix.identifiers import EventId, RoomId, ServerName, UserId
from homeserver.matrix.room_versions import room_version
from homeserver.ports import Clock
from homeserver.rooms import appending, drafting, inviting, state
from homeserver.rooms.appending import Origin, Outcome
from homeserver.rooms.local_server import LocalServer
from homeserver.storage import events, room_state, sharing
from homeserver.storage.database import Database
from homeserver.storage.unit_of_work import UnitOfWork, View

# The asker waits for its template meanwhile.
_CATCH_UP_WITHIN_S = 20.0

# The membership that each operation is about.
MADE: Mapping[str, str] = {"make_join": "join", "make_knock": "knock", "make_leave": "leave"}
SENT: Mapping[str, str] = {"send_join": "join", "send_knock": "knock", "send_leave": "leave"}


class Joining:
    """Lets peers' users into rooms that we are in, and out of them."""

    def __init__(
        self,
        database: Database,
        local: LocalServer,
        clock: Clock,
        cards: Cards,
        fetching: Fetching,
        placing: Placing,
    ) -> None:
        self._database = database
        self._local = local
        self._clock = clock
        self._cards = cards
        self._fetching = fetching
        self._placing = placing

    async def answer_make(self, operation: str, peer: ServerName, body: JsonObject) -> JsonObject:
        """A template for the membership event, which its user's server signs.

        Spec: server-server-api#get_matrixfederationv1make_joinroomiduserid
        """
        asked = bodies.read(MakeMembership, body)
        user_id = identifiers.parse_user_id(asked.user_id)
        if identifiers.server_of(user_id) != peer:
            raise errors.Forbidden("That user lives on another server.")
        if asked.newest:
            await self._catch_up(peer, asked)
        return self._database.read(lambda view: self._template(view, peer, asked, MADE[operation]))

    async def answer_send(self, operation: str, peer: ServerName, body: JsonObject) -> JsonObject:
        """Append a signed membership and pass it on. A join is answered with the room's state.

        Spec: server-server-api#put_matrixfederationv2send_joinroomideventid
        """
        asked = bodies.read(SendMembership, body)
        pdu, membership = asked.event, SENT[operation]
        _check_own_membership(peer, pdu, membership)
        room = self._database.read(lambda view: self._room(view, asked.room_id, peer))
        if membership == "join" and restricted.is_authorised_here(self._local, pdu):
            pdu = self._database.read(lambda view: self._countersign(view, room, pdu))
        verified = await self._fetching.verified(peer, room, [pdu])
        if not verified:
            raise errors.BadSignature("That is not a signed event of this room.")
        event = verified[0]
        return await self._database.write(lambda work: self._take_in(work, peer, event))

    async def _catch_up(self, peer: ServerName, asked: MakeMembership) -> None:
        """Take in what the asker has of the room and we lack, so that the template follows it.

        Who left unheard and is let in again would otherwise begin from the template alone, while
        the departure reaches us later, beside it, and can end the membership here only.
        """

        def find(view: View) -> tuple[Room, list[EventId]]:
            room = self._room(view, asked.room_id, peer)
            newest = [EventId(one) for one in asked.newest]
            known = events.load_events(view, newest)
            return room, [one for one in newest if one not in known]

        room, lacking = self._database.read(find)
        if lacking:
            until = self._clock.monotonic() + _CATCH_UP_WITHIN_S
            patient = self._fetching.patient(self._clock, until)
            told = await patient.ask_events(peer, room, lacking)
            await self._placing.place(peer, room, told, until)

    def _room(self, view: View, room_id: RoomId, peer: ServerName) -> Room:
        """A room that somebody of ours is in, and that the connection carries."""
        is_inside = self._local.server_name in sharing.present_servers(view, room_id)
        if not is_inside or not access.is_welcome(view, room_id, peer):
            raise errors.NotInRoom
        return Room(room_id, room_version(drafting.load_room(view, room_id).version_id))

    def _template(
        self, view: View, peer: ServerName, asked: MakeMembership, membership: str
    ) -> JsonObject:
        version = self._room(view, asked.room_id, peer).version
        if membership != "leave" and version.id not in asked.ver:
            raise errors.UnsupportedRoomVersion(room_version=version.id)
        room = drafting.load_room(view, asked.room_id)
        current = room_state.load_state(view, room.current_state_id)
        content: JsonObject = {}
        if membership == "join":
            content = restricted.authorisation(
                view, self._local, current, room.room_id, asked.user_id
            )
        intent = drafting.membership(asked.user_id, asked.user_id, membership, content)
        draft = drafting.draft(view, room, intent, self._clock.now_ms())
        event = drafting.build(self._local, draft, version.id)
        auth_rules.check(event, state.auth_state_for(view, current, event))
        template = {
            name: value for name, value in event.pdu.items() if name not in ("hashes", "signatures")
        }
        return {"room_version": version.id, "event": template} | self._about(view, room.room_id)

    def _about(self, view: View, room_id: RoomId) -> JsonObject:
        """Who is in the room: a newcomer decides by it, and checks events with the cards."""
        return {
            "servers_in_room": sorted(sharing.present_servers(view, room_id)),
            "cards": self._cards.of_room(view, room_id),
        }

    def _countersign(self, view: View, room: Room, pdu: JsonObject) -> JsonObject:
        current = room_state.current_state(view, room.room_id)
        user_id = UserId(pdu["sender"])
        due = restricted.authorisation(view, self._local, current, room.room_id, user_id)
        if due.get(restricted.AUTHORISED_BY) != pdu["content"][restricted.AUTHORISED_BY]:
            raise errors.Forbidden("That user does not vouch for this join.")
        if matrix_events.parse(pdu, room.version).room_id != room.room_id:
            raise errors.BadEvent("That event belongs to another room.")
        return restricted.countersigned(self._local, pdu, room.version)

    def _take_in(self, work: UnitOfWork, peer: ServerName, event: Event) -> JsonObject:
        heeding.heeded(work, peer)
        appended = appending.append(work, event, Origin(peer, is_relayed=True))
        if appended.outcome not in (Outcome.ACCEPTED, Outcome.KNOWN):
            raise errors.NotAllowed
        membership = event.content.get("membership")
        if membership == "join":
            return self._joined(work, event)
        if membership == "knock":
            current = room_state.load_state(work, appended.room.current_state_id)
            return {"knock_room_state": inviting.shown_state(work, current, event)}
        return {}

    def _joined(self, work: UnitOfWork, join: Event) -> JsonObject:
        stored = events.find_event(work, join.event_id)
        before = room_state.state_before(work, join.event_id)
        if stored is None or before is None:
            raise errors.NotFound("The state before that event is not known here.")
        page = states.page_of(work, states.at(work, before), 0, packing.JOIN_BYTES)
        return {
            "event": stored.event.pdu,
            "room_version": join.version.id,
            "members_omitted": False,
            "state": page["pdus"],
            "auth_chain": page["auth_chain"],
            "next": page["next"],
        } | self._about(work, join.room_id)


def _check_own_membership(peer: ServerName, pdu: JsonObject, membership: str) -> None:
    """A peer sends its own users' memberships of the kind that the operation is about."""
    content: Any = pdu.get("content")
    sender: Any = pdu.get("sender")
    if (
        pdu.get("type") != "m.room.member"
        or not isinstance(content, dict)
        or content.get("membership") != membership
        or not isinstance(sender, str)
        or pdu.get("state_key") != sender
        or not isinstance(pdu.get("signatures"), dict)
    ):
        raise errors.BadEvent("That is not the membership that the operation is about.")
    if identifiers.server_of(identifiers.parse_user_id(sender)) != peer:
        raise errors.Forbidden("That user lives on another server.")
