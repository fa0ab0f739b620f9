"""A local user's event: build, sign, append, answer with its ID.

Spec: client-server-api#sending-events-to-a-room
"""

from collections.abc import Callable

from homeserver import crash_points, errors
from homeserver.crash_points import Point
from homeserver.matrix import server_acl
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.events import Event
from homeserver.matrix.identifiers import EventId, RoomId, UserId
from homeserver.ports import Clock, Requester
from homeserver.rooms import drafting, hiding, inviting, state
from homeserver.rooms.appending import Origin
from homeserver.rooms.drafting import Intent
from homeserver.rooms.local_server import LocalServer
from homeserver.storage import events, relations, room_state, rooms
from homeserver.storage.database import Database
from homeserver.storage.rooms import Room
from homeserver.storage.unit_of_work import UnitOfWork


class RoomSender:
    """Sends events into rooms that the owner is in."""

    def __init__(self, database: Database, local: LocalServer, clock: Clock) -> None:
        self._database = database
        self._local = local
        self._clock = clock
        # Who wants to know, after the commit, that the owner wrote into a room.
        self.when_sent: list[Callable[[RoomId], None]] = []

    async def send_message(
        self, requester: Requester, room_id: RoomId, event_type: str, content: JsonObject, txn: str
    ) -> EventId:
        """Send a message event. The same transaction of a device again answers the same event.

        Spec: client-server-api#put_matrixclientv3roomsroomidsendeventtypetxnid
        """
        if event_type == "m.room.redaction":
            target = EventId(str(content.get("redacts")))
            return await self.redact(requester, room_id, target, txn, content)
        intent = Intent(requester.user_id, event_type, content)

        def intend(work: UnitOfWork, _room: Room) -> Intent:
            _check_annotates_once(work, intent)
            if event_type == hiding.ENCRYPTED:
                hiding.check_has_synced(work, requester, room_id)
            return intent

        return await self._send_once(
            requester, room_id, txn, intend, lambda sent: sent.type == event_type
        )

    async def redact(
        self, requester: Requester, room_id: RoomId, target: EventId, txn: str, content: JsonObject
    ) -> EventId:
        """Take back what an event said; somebody else's only with the power to.

        Spec: client-server-api#put_matrixclientv3roomsroomidredacteventidtxnid
        """

        def intend(work: UnitOfWork, room: Room) -> Intent:
            _check_may_redact(work, room, requester.user_id, target)
            return Intent(requester.user_id, "m.room.redaction", content, redacts=target)

        return await self._send_once(
            requester, room_id, txn, intend, lambda sent: sent.redacts == target
        )

    async def send_state(
        self,
        requester: Requester,
        room_id: RoomId,
        event_type: str,
        state_key: str,
        content: JsonObject,
    ) -> EventId:
        """Set a part of the room's state. What is set already is not sent again.

        Spec: client-server-api#put_matrixclientv3roomsroomidstateeventtypestatekey
        """
        intent = Intent(requester.user_id, event_type, content, state_key)
        now_ms = self._clock.now_ms()

        def send(work: UnitOfWork) -> EventId:
            return _send_state(work, self._local, room_id, intent, now_ms)

        return await self._database.write(send)

    async def update_member_profile(
        self, user_id: UserId, display_name: str | None, avatar_url: str | None
    ) -> None:
        """Tell every room that a local user is in what they are called now."""
        profile = {"displayname": display_name, "avatar_url": avatar_url}
        shown = {key: value for key, value in profile.items() if value is not None}
        now_ms = self._clock.now_ms()

        def tell(work: UnitOfWork) -> None:
            for joined in rooms.rooms_of(work, user_id, rooms.JOINED):
                room = drafting.load_room(work, joined.room_id)
                entry = state.load_entry(
                    work,
                    room_state.load_state(work, room.current_state_id),
                    state.member_key(user_id),
                )
                kept = dict(entry.content) if entry is not None else {}
                kept = {key: kept[key] for key in kept if key not in profile} | shown
                intent = drafting.membership(user_id, user_id, "join", kept)
                _send_state(work, self._local, joined.room_id, intent, now_ms)

        await self._database.write(tell)

    async def _send_once(
        self,
        requester: Requester,
        room_id: RoomId,
        txn: str,
        intend: Callable[[UnitOfWork, Room], Intent],
        is_same: Callable[[Event], bool],
    ) -> EventId:
        """Send unless a request of the same path did so already; see `is_same`.

        Spec: client-server-api#transaction-identifiers
        """
        now_ms = self._clock.now_ms()
        transaction = (requester.device_id, txn)

        def send(work: UnitOfWork) -> EventId:
            room = drafting.load_room(work, room_id)
            for sent in events.sent_in_transaction(work, *transaction, room_id):
                if is_same(sent.event):
                    return sent.event.event_id
            origin = Origin(transaction=transaction)
            intent = intend(work, room)
            return drafting.say(work, self._local, room, intent, now_ms, origin)[0].event_id

        event_id = await self._database.write(send)
        crash_points.reach(Point.EVENT_KEPT)
        for tell in self.when_sent:
            tell(room_id)
        return event_id


def _send_state(
    work: UnitOfWork, local: LocalServer, room_id: RoomId, intent: Intent, now_ms: int
) -> EventId:
    room = drafting.load_room(work, room_id)
    standing = drafting.standing(work, room, intent)
    if standing is not None:
        return standing.event_id
    if (intent.type, intent.state_key) == state.SERVER_ACL and not server_acl.allows(
        intent.content, local.server_name
    ):
        raise errors.InvalidParam("That would shut your own server out of the room.")
    if intent.type != "m.room.member":
        return drafting.say(work, local, room, intent, now_ms)[0].event_id
    return inviting.change_membership(work, local, room, intent, now_ms)[0].event_id


def _check_annotates_once(work: UnitOfWork, intent: Intent) -> None:
    """Refuse the same reaction to the same event.

    Spec: client-server-api#avoiding-duplicate-annotations
    """
    relation = intent.content.get("m.relates_to")
    if not isinstance(relation, dict) or relation.get("rel_type") != "m.annotation":
        return
    target, key = relation.get("event_id"), relation.get("key")
    if not isinstance(target, str) or not isinstance(key, str):
        return
    if relations.is_annotated(work, target, intent.sender, intent.type, key):
        raise errors.DuplicateAnnotation


def _check_may_redact(work: UnitOfWork, room: Room, user_id: UserId, target: EventId) -> None:
    stored = events.find_event(work, target)
    if stored is None or stored.event.room_id != room.room_id:
        raise errors.NotFound("There is no such event in this room.")
    current = room_state.load_state(work, room.current_state_id)
    levels = state.power_levels(work, current)
    if stored.event.sender != user_id and not levels.may(user_id, "redact"):
        raise errors.NotAllowed("You may not redact other people's messages here.")
