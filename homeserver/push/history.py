"""What the owner was notified of, newest first.

Spec: client-server-api#get_matrixclientv3notifications
"""

from homeserver.ephemeral.reading import Read, read_up_to
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import RoomId, UserId
from homeserver.ports import Clock, Requester
from homeserver.push import judging
from homeserver.push.unread import thread_of
from homeserver.rooms import client_format, pages
from homeserver.storage import ephemeral, events, searching
from homeserver.storage.database import Database
from homeserver.storage.events import Point, StoredEvent
from homeserver.storage.unit_of_work import View

_BATCH = 200
# How many events one request looks at. An answer that found too little says where to go on.
_LOOKED_AT = 5_000


class NotificationHistory:
    """Judges past events by the rules of today."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def page(
        self, requester: Requester, start: str | None, limit: int, *, only_highlights: bool
    ) -> JsonObject:
        """One page."""
        point = pages.END if start is None else pages.parse_token(start)
        now_ms = self._clock.now_ms()

        def look(view: View) -> JsonObject:
            found, goes_on = _find(
                view, requester.user_id, point, limit, only_highlights=only_highlights
            )
            shown = client_format.client_events(
                view, [stored for stored, _ in found], requester, now_ms
            )
            read = _Receipts(view, requester.user_id)
            answer: JsonObject = {
                "notifications": [
                    {
                        "actions": outcome.actions,
                        "event": event,
                        "read": read.covers(stored),
                        "room_id": stored.event.room_id,
                        "ts": stored.event.origin_server_ts,
                    }
                    for (stored, outcome), event in zip(found, shown, strict=True)
                ]
            }
            if goes_on is not None:
                answer["next_token"] = pages.token(goes_on)
            return answer

        return await self._database.scan(look)


def _find(
    view: View, user_id: UserId, point: Point, limit: int, *, only_highlights: bool
) -> tuple[list[judging.Judged], Point | None]:
    found: list[judging.Judged] = []
    for _ in range(_LOOKED_AT // _BATCH):
        batch = searching.said_before(view, point, _BATCH)
        known = events.load_events(view, [one.event_id for one in batch])
        several = sorted(known.values(), key=lambda one: one.event.room_id)
        judged = [
            one
            for one in judging.notifying(view, user_id, several)
            if one[1].highlight or not only_highlights
        ]
        for one in sorted(judged, key=lambda one: one[0].point, reverse=True):
            found.append(one)
            if len(found) == limit:
                return found, pages.before(one[0])
        if len(batch) < _BATCH:
            return found, None
        last = batch[-1].point
        point = Point(last.position, last.rank - 1)
    return found, point


class _Receipts:
    """How far the owner has read in each room, and in each of its threads."""

    def __init__(self, view: View, user_id: UserId) -> None:
        self._view = view
        self._user_id = user_id
        self._read: dict[RoomId, Read] = {}

    def covers(self, stored: StoredEvent) -> bool:
        """Whether the owner has read an event."""
        room_id = stored.event.room_id
        if room_id not in self._read:
            receipts = ephemeral.receipts_of_user(self._view, room_id, self._user_id)
            self._read[room_id] = read_up_to(receipts)
        return self._read[room_id].reaches(stored.point.position, thread_of(stored.event))
