"""Find the event of a room that is nearest to some moment, with the help of peers where we lack it.

Spec: client-server-api#get_matrixclientv1roomsroomidtimestamp_to_event
"""

from collections.abc import Callable, Iterable

from homeserver import errors
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import EventId, RoomId, ServerName
from homeserver.ports import PeerNetwork, Requester
from homeserver.rooms import seeing
from homeserver.rooms.backfilling import Backfilling
from homeserver.storage import events, gaps, meetings, moments, rooms
from homeserver.storage.database import Database
from homeserver.storage.events import StoredEvent
from homeserver.storage.unit_of_work import View

_BATCH = 50
_MOST_BATCHES = 20
_MOST_PEERS_ASKED = 2
_MOST_BACKFILLS = 10
_ANSWER_WITHIN_S = 10.0

See = Callable[[list[StoredEvent]], Iterable[StoredEvent]]


class EventsInTime:
    """Finds events by time."""

    def __init__(self, database: Database, network: PeerNetwork, backfilling: Backfilling) -> None:
        self._database = database
        self._network = network
        self._backfilling = backfilling

    async def find(
        self, requester: Requester, room_id: RoomId, moment: int, *, is_backwards: bool
    ) -> StoredEvent:
        """The nearest event that the owner may see. Raises NotFound."""

        def look(view: View) -> StoredEvent | None:
            seeing.load_readable(view, room_id, requester.user_id)
            return nearest(
                view,
                room_id,
                moment,
                lambda several: seeing.heard(view, requester.user_id, several),
                is_backwards=is_backwards,
            )

        found = await self._database.scan(look)
        if self._database.read(lambda view: gaps.gaps_of(view, room_id, 1)):
            wanted = await self._nearer(room_id, moment, found, is_backwards=is_backwards)
            if wanted is not None and await self._fetch(room_id, wanted):
                found = await self._database.scan(look)
        if found is None:
            raise errors.NotFound("There is no event on that side of that moment.")
        return found

    async def _nearer(
        self, room_id: RoomId, moment: int, found: StoredEvent | None, *, is_backwards: bool
    ) -> EventId | None:
        """An event that a peer knows and that is nearer than ours."""
        best = None if found is None else abs(found.event.origin_server_ts - moment)
        nearer: EventId | None = None
        body: JsonObject = {"room_id": room_id, "ts": moment, "dir": "b" if is_backwards else "f"}
        for peer in self._peers(room_id):
            try:
                answer = await self._network.ask(peer, "timestamp_to_event", body, _ANSWER_WITHIN_S)
            except (errors.PeerUnreachable, errors.PeerRefused, errors.NotConnected):
                continue
            event_id, told_at = answer.get("event_id"), answer.get("origin_server_ts")
            if not isinstance(event_id, str) or type(told_at) is not int:
                continue
            if best is None or abs(told_at - moment) < best:
                best, nearer = abs(told_at - moment), EventId(event_id)
        return nearer

    def _peers(self, room_id: RoomId) -> list[ServerName]:
        def find(view: View) -> frozenset[ServerName]:
            there = rooms.servers_in_room(view, room_id, rooms.JOINED)
            return frozenset(there & meetings.carrying(view, room_id))

        found = sorted(self._database.read(find))
        awake = [peer for peer in found if self._network.is_awake(peer)]
        return awake[:_MOST_PEERS_ASKED]

    async def _fetch(self, room_id: RoomId, wanted: EventId) -> bool:
        """Fill the room's gaps, the newest first, until the event is here."""
        for _ in range(_MOST_BACKFILLS):
            holes = self._database.read(lambda view: gaps.gaps_of(view, room_id, 1))
            if not holes or not await self._backfilling.fill(room_id, holes):
                return False
            stored = self._database.read(lambda view: events.find_event(view, wanted))
            if stored is not None and stored.position is not None:
                return True
        return False


def nearest(
    view: View, room_id: RoomId, moment: int, see: See, *, is_backwards: bool
) -> StoredEvent | None:
    """The nearest event that somebody may see, among those that we have."""
    for batch in range(_MOST_BATCHES):
        page = (_BATCH, batch * _BATCH)
        several = moments.events_near(view, room_id, moment, page, is_backwards=is_backwards)
        found = next(iter(see(several)), None)
        if found is not None or len(several) < _BATCH:
            return found
    return None
