"""Take in a peer's events: verify them, place them, and keep what cannot be placed yet.

Spec: server-server-api#pdus
"""

from collections.abc import Sequence
from typing import Any

from federation import heeding
from federation.replication import access
from federation.replication.entering import Entering
from federation.replication.fetching import Fetching
from federation.replication.placing import Finish, Placing, nothing_more
from federation.replication.verification import Room
from homeserver import metrics
from homeserver.matrix import identifiers
from homeserver.matrix.events import Event
from homeserver.matrix.identifiers import RoomId, ServerName
from homeserver.matrix.room_versions import room_version
from homeserver.ports import Clock
from homeserver.storage import rooms, sharing, waiting_events
from homeserver.storage.database import Database
from homeserver.storage.unit_of_work import UnitOfWork, View
from homeserver.storage.waiting_events import Arrival

# What a frame rests on is fetched for so long while it is worked off; the rest waits.
_WITHIN_S = 60.0
# How much of what a newcomer says waits for somebody to tell us of the join.
_MOST_OF_A_NEWCOMER = 50
_UNKNOWN_TO_THE_ROOM = "NotInRoom"


class EventIntake:
    """Takes in events that peers send."""

    def __init__(
        self, database: Database, fetching: Fetching, entering: Entering, clock: Clock
    ) -> None:
        self._database = database
        self._fetching = fetching
        self._entering = entering
        self._clock = clock
        self.placing = Placing(database, fetching, clock)

    async def take_in(
        self, peer: ServerName, pdus: Sequence[Any], finish: Finish = nothing_more
    ) -> None:
        """Take in the PDUs of a transaction, each room's in their order.

        What is not an event, of a room that we are not in, or not allowed, is dropped. What has no
        place yet is kept. `finish` runs in the unit of work of the last effect.
        """
        rooms_of = _by_room(pdus)
        is_finished = False
        until = self._clock.monotonic() + _WITHIN_S
        patient = self._fetching.patient(self._clock, until)
        for count, (room_id, of_room) in enumerate(rooms_of.items(), start=1):
            room = await self._find_room(peer, room_id)
            if room is None:
                await self._keep_for_later(patient, peer, room_id, of_room)
                continue
            arrived = await patient.verified(peer, room, of_room)
            last = finish if count == len(rooms_of) else nothing_more
            placed = await self.placing.place(peer, room, arrived, until, last)
            await self._keep(peer, room_id, placed.left, placed.reason)
            is_finished = placed.is_finished and last is finish
        if not is_finished:
            await self._database.write(finish)

    async def _find_room(self, peer: ServerName, room_id: RoomId) -> Room | None:
        def find() -> Room | None:
            return self._database.read(lambda view: _find_room(view, room_id, peer))

        await self._entering.settle(room_id, lambda: find() is not None)
        return find()

    async def _keep_for_later(
        self, patient: Fetching, peer: ServerName, room_id: RoomId, pdus: Sequence[Any]
    ) -> None:
        """A peer may speak in a room before whoever let it in has told us. It is not asked."""
        room = self._database.read(
            lambda view: _find_shared(view, room_id, peer, self._fetching.own_name)
        )
        own = [one for one in pdus if _is_by(peer, one)][-_MOST_OF_A_NEWCOMER:]
        metrics.bump("events_refused", len(pdus) - len(own) if room is not None else len(pdus))
        if room is not None:
            said = await patient.verified(peer, room, own)
            await self._keep(peer, room_id, said, _UNKNOWN_TO_THE_ROOM)

    async def _keep(
        self, peer: ServerName, room_id: RoomId, left: Sequence[Event], reason: str
    ) -> None:
        if not left:
            return
        metrics.bump("events_without_past", len(left))
        now = self._clock.now_ms()

        def keep(work: UnitOfWork) -> None:
            heeding.heeded(work, peer, "messages")
            if access.is_carried(work, room_id, peer):
                is_inside = peer in rooms.servers_in_room(work, room_id, rooms.JOINED)
                most = waiting_events.MOST_OF_A_PEER if is_inside else _MOST_OF_A_NEWCOMER
                arrival = Arrival(room_id, peer, now, reason or waiting_events.UNKNOWN, most)
                waiting_events.save_events(work, arrival, left)

        await self._database.write(keep)


def _by_room(pdus: Sequence[Any]) -> dict[RoomId, list[Any]]:
    found: dict[RoomId, list[Any]] = {}
    for pdu in pdus:
        room_id = pdu.get("room_id") if isinstance(pdu, dict) else None
        if isinstance(room_id, str):
            found.setdefault(RoomId(room_id), []).append(pdu)
    return found


def _find_room(view: View, room_id: RoomId, peer: ServerName) -> Room | None:
    """The room, if the peer's server is or was in it."""
    room = rooms.find_room(view, room_id)
    if room is None or not access.may_send_into(view, room_id, peer):
        return None
    return Room(room_id, room_version(room.version_id))


def _find_shared(
    view: View, room_id: RoomId, peer: ServerName, own_name: ServerName
) -> Room | None:
    """A room that we are in, that the connection to a peer carries, and that lets the peer in."""
    room = rooms.find_room(view, room_id)
    if room is None or not access.is_welcome(view, room_id, peer):
        return None
    if own_name not in sharing.present_servers(view, room_id):
        return None
    return Room(room_id, room_version(room.version_id))


def _is_by(peer: ServerName, pdu: Any) -> bool:
    sender = pdu.get("sender") if isinstance(pdu, dict) else None
    return (
        isinstance(sender, str)
        and identifiers.is_user_id(sender)
        and identifiers.server_of(sender) == peer
    )
