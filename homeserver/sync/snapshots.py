"""The requests that came before sync: everything at once, one room at once, and the next events.

Spec: client-server-api#get_matrixclientv3roomsroomidinitialsync
"""

from functools import partial

import orjson

from homeserver import errors
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import EventId, RoomId
from homeserver.ports import Clock, Requester
from homeserver.rooms import client_format, pages, seeing, timeline
from homeserver.rooms.pages import Asked
from homeserver.storage import account_data, events, rooms
from homeserver.storage.database import Database
from homeserver.storage.events import Point
from homeserver.storage.rooms import Membership
from homeserver.storage.unit_of_work import View
from homeserver.sync.filters import RoomEventFilter
from homeserver.sync.notifier import Notifier

_EVERYTHING = RoomEventFilter()
_SHOWN = frozenset({"join", "invite"})
_ALL = _SHOWN | {"leave", "ban"}
_LARGEST_PAGE = 100
_LONGEST_WAIT_S = 300.0


class Snapshots:
    """Answers clients that do not sync."""

    def __init__(self, database: Database, notifier: Notifier, clock: Clock) -> None:
        self._database = database
        self._notifier = notifier
        self._clock = clock

    async def room(self, requester: Requester, room_id: RoomId, limit: int) -> JsonObject:
        """One room: its state, its newest events, and what the owner keeps about it.

        Spec: client-server-api#get_matrixclientv3roomsroomidinitialsync
        """
        until, now_ms = self._database.position, self._clock.now_ms()

        def look(view: View) -> JsonObject:
            membership = seeing.load_readable(view, room_id, requester.user_id)
            return _room(view, requester, membership, (until, limit, now_ms))

        return await self._database.scan(look)

    async def everything(
        self, requester: Requester, limit: int, *, is_archived: bool
    ) -> JsonObject:
        """Every room, and what the owner keeps.

        Spec: client-server-api#get_matrixclientv3initialsync
        """
        until, now_ms = self._database.position, self._clock.now_ms()

        def look(view: View) -> JsonObject:
            wanted = _ALL if is_archived else _SHOWN
            mine = rooms.rooms_of(view, requester.user_id, wanted)
            shown = [_entry(view, requester, one, (until, limit, now_ms)) for one in mine]
            kept = account_data.account_data_since(view, requester.user_id, 0, until)
            return {
                "end": f"s{until}",
                "presence": [],
                "rooms": shown,
                "account_data": [_kept(one) for one in kept if one.room_id is None],
            }

        return await self._database.scan(look)

    async def events(self, requester: Requester, start: str | None, timeout_ms: int) -> JsonObject:
        """The next events of the owner's rooms, as soon as there are any.

        Spec: client-server-api#get_matrixclientv3events
        """
        after = self._database.position if start is None else pages.parse_token(start).position
        wait_s = min(max(timeout_ms, 0) / 1000, _LONGEST_WAIT_S)
        deadline = self._clock.monotonic() + wait_s
        with self._notifier.waiting() as waiter:
            while True:
                until, now_ms = self._database.position, self._clock.now_ms()
                look = partial(_events, requester=requester, span=(after, until), now_ms=now_ms)
                chunk = await self._database.scan(look)
                rest = deadline - self._clock.monotonic()
                if chunk or rest <= 0 or waiter.is_superseded:
                    return {"start": f"s{after}", "end": f"s{until}", "chunk": chunk}
                await waiter.wait(rest)

    def event(self, requester: Requester, event_id: EventId) -> JsonObject:
        """One event of whatever room.

        Spec: client-server-api#get_matrixclientv3eventseventid
        """
        now_ms = self._clock.now_ms()

        def find(view: View) -> JsonObject:
            stored = events.find_event(view, event_id)
            if stored is None:
                raise errors.NotFound("There is no such event that you may see.")
            try:
                seen = timeline.load_visible(view, requester, stored.event.room_id, event_id)
            except errors.NotInRoom:
                raise errors.NotFound("There is no such event that you may see.") from None
            return client_format.client_events(view, [seen], requester, now_ms)[0]

        return self._database.read(find)


def _entry(
    view: View, requester: Requester, membership: Membership, at: tuple[int, int, int]
) -> JsonObject:
    """A room as it is listed: an invitation is shown by its event alone."""
    if membership.membership != "invite":
        return _room(view, requester, membership, at)
    entry: JsonObject = {"room_id": membership.room_id, "membership": "invite"}
    invitation = events.find_event(view, membership.event_id)
    if invitation is not None:
        entry["invite"] = client_format.client_event(invitation, requester, at[2])
    return entry


def _room(
    view: View, requester: Requester, membership: Membership, at: tuple[int, int, int]
) -> JsonObject:
    until, limit, now_ms = at
    room_id = membership.room_id
    newest = Point(until if membership.membership == "join" else membership.position)
    asked = Asked(
        room_id,
        requester.user_id,
        newest,
        min(limit, _LARGEST_PAGE),
        _EVERYTHING,
        is_backwards=True,
    )
    page = pages.read(view, asked)
    found = events.load_events(view, list(seeing.readable_state(view, membership).values()))
    room = rooms.find_room(view, room_id)
    kept = account_data.account_data_of_room(view, requester.user_id, room_id)
    return {
        "room_id": room_id,
        "membership": membership.membership,
        "messages": {
            "start": pages.token(page.end or pages.START),
            "end": pages.token(newest),
            "chunk": client_format.client_events(view, page.shown[::-1], requester, now_ms),
        },
        "state": client_format.client_events(
            view, list(found.values()), requester, now_ms, with_aggregations=False
        ),
        "visibility": "public" if room is not None and room.is_published else "private",
        "account_data": [_kept(one) for one in kept],
    }


def _events(
    view: View, requester: Requester, span: tuple[int, int], now_ms: int
) -> list[JsonObject]:
    after, until = span
    changed = events.changed_rooms(view, after, until)
    chunk: list[JsonObject] = []
    for membership in rooms.rooms_of(view, requester.user_id, rooms.JOINED):
        if membership.room_id in changed:
            newest = events.timeline_since(
                view, membership.room_id, after, until, _LARGEST_PAGE
            ).events
            seen = seeing.heard(view, requester.user_id, newest)
            chunk += client_format.client_events(view, seen, requester, now_ms)
    return chunk


def _kept(entry: account_data.Entry) -> JsonObject:
    return {"type": entry.type, "content": orjson.Fragment(entry.content)}
