"""Read a room's history: pages, one event and what surrounds it.

Where a page reaches the edge of what we have, a peer is asked for more; no unit of work is open
then. What the owner may not see is left out everywhere.

Spec: client-server-api#getting-events-for-a-room
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from homeserver import errors
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.events import StateMap
from homeserver.matrix.identifiers import EventId, RoomId
from homeserver.ports import Clock, Requester
from homeserver.rooms import client_format, filtering, pages, seeing, state, veils
from homeserver.rooms.backfilling import Backfilling
from homeserver.rooms.filtering import Wanted
from homeserver.rooms.pages import Asked, Page
from homeserver.storage import events, room_state
from homeserver.storage.database import Database
from homeserver.storage.events import Point, StoredEvent
from homeserver.storage.unit_of_work import View

_MOST_BACKFILLS = 3


@dataclass(frozen=True, slots=True)
class PageRequest:
    """What a client says about the page it wants; tokens as it sent them."""

    limit: int
    wanted: Wanted
    is_backwards: bool = True
    start: str | None = None
    stop: str | None = None


class RoomTimeline:
    """What the owner's clients read of a room's history."""

    def __init__(self, database: Database, clock: Clock, backfilling: Backfilling) -> None:
        self._database = database
        self._clock = clock
        self._backfilling = backfilling

    async def messages(
        self, requester: Requester, room_id: RoomId, request: PageRequest
    ) -> JsonObject:
        """One page in either direction, fetched from a peer where it reaches into a gap.

        Spec: client-server-api#get_matrixclientv3roomsroomidmessages
        """
        asked = _asked(requester, room_id, request)
        page = await self._database.scan(lambda view: _read(view, requester, asked))
        for _ in range(_MOST_BACKFILLS):
            if not page.gaps or not await self._backfilling.fill(room_id, page.gaps):
                break
            page = await self._database.scan(lambda view: _read(view, requester, asked))
        now_ms = self._clock.now_ms()
        return await self._database.scan(lambda view: _page(view, requester, asked, page, now_ms))

    async def context(
        self,
        requester: Requester,
        room_id: RoomId,
        event_id: EventId,
        limit: int,
        wanted: Wanted,
    ) -> JsonObject:
        """An event with what was said before and after it, and the state after all of that.

        Spec: client-server-api#get_matrixclientv3roomsroomidcontexteventid
        """
        now_ms = self._clock.now_ms()

        def look(view: View) -> JsonObject:
            target = load_visible(view, requester, room_id, event_id)
            half = min(limit, pages.LARGEST_PAGE) // 2
            asked = Asked(
                room_id, requester.user_id, pages.before(target), half, wanted, is_backwards=True
            )
            ahead = replace(asked, start=target.point, is_backwards=False)
            earlier = pages.read(view, asked) if half else Page([], asked.start, [])
            later = pages.read(view, ahead) if half else Page([], ahead.start, [])
            around = [*earlier.shown, target, *later.shown]
            return {
                "event": _shown(view, requester, [target], now_ms)[0],
                "events_before": _shown(view, requester, earlier.shown, now_ms),
                "events_after": _shown(view, requester, later.shown, now_ms),
                "start": pages.token(earlier.end or pages.START),
                "end": pages.token(later.end or _newest(target, later)),
                "state": _shown(
                    view, requester, _state_after(view, requester, around, wanted), now_ms
                ),
            }

        return await self._database.scan(look)

    def event(self, requester: Requester, room_id: RoomId, event_id: EventId) -> JsonObject:
        """One event.

        Spec: client-server-api#get_matrixclientv3roomsroomideventeventid
        """
        now_ms = self._clock.now_ms()

        def find(view: View) -> JsonObject:
            found = load_visible(view, requester, room_id, event_id)
            return _shown(view, requester, [found], now_ms)[0]

        return self._database.read(find)


def _asked(requester: Requester, room_id: RoomId, request: PageRequest) -> Asked:
    if request.start is not None:
        start = pages.parse_token(request.start)
    else:
        start = pages.END if request.is_backwards else pages.START
    return Asked(
        room_id,
        requester.user_id,
        start,
        min(request.limit, pages.LARGEST_PAGE),
        request.wanted,
        request.is_backwards,
        pages.parse_token(request.stop) if request.stop is not None else None,
    )


def _read(view: View, requester: Requester, asked: Asked) -> Page:
    membership = seeing.load_readable(view, asked.room_id, requester.user_id)
    if membership.membership != "join" and asked.is_backwards:
        asked = replace(asked, start=min(asked.start, Point(membership.position)))
    return pages.read(view, asked)


def _page(view: View, requester: Requester, asked: Asked, page: Page, now_ms: int) -> JsonObject:
    answer: JsonObject = {
        "chunk": _shown(view, requester, page.shown, now_ms),
        "start": pages.token(asked.start),
    }
    # At a hole that nobody fills now there is nothing more: who asks for the same again, later,
    # may get it.
    if page.end is not None and (page.shown or page.end != asked.start):
        answer["end"] = pages.token(page.end)
    if asked.wanted.lazy_load_members and page.shown:
        answer["state"] = _speakers(view, requester, page.shown, now_ms)
    return answer


def load_visible(
    view: View, requester: Requester, room_id: RoomId, event_id: EventId
) -> StoredEvent:
    """An event the owner may see; for all others the same answer."""
    found = events.find_event(view, event_id)
    seeing.load_readable(view, room_id, requester.user_id)
    if found is None or found.event.room_id != room_id:
        raise errors.NotFound("There is no such event that you may see.")
    shown = seeing.visible(view, requester.user_id, [found])
    if not shown:
        raise errors.NotFound("There is no such event that you may see.")
    return shown[0]


def _shown(
    view: View, requester: Requester, several: Sequence[StoredEvent], now_ms: int
) -> list[JsonObject]:
    return client_format.client_events(view, several, requester, now_ms)


def _newest(target: StoredEvent, later: Page) -> Point:
    return later.shown[-1].point if later.shown else target.point


def _state_at(view: View, stored: StoredEvent) -> StateMap:
    """The state before an event, as it is shown; empty where it is not known."""
    room_id, position = stored.event.room_id, stored.point.position
    state_id = stored.state_before
    if state_id is None:
        state_id = room_state.find_state_at(view, room_id, position)
    if state_id is None:
        return room_state.EMPTY
    return veils.shown_state(view, room_id, room_state.load_state(view, state_id), position - 1)


def _state_after(
    view: View, requester: Requester, around: Sequence[StoredEvent], wanted: Wanted
) -> list[StoredEvent]:
    """What a filter leaves of the state at the newest of some events.

    Spec: client-server-api#get_matrixclientv3roomsroomidcontexteventid
    """
    if not wanted.allows_room(around[0].event.room_id):
        return []
    then = _state_at(view, max(around, key=lambda one: one.point))
    speakers = {state.member_key(one.event.sender) for one in around}
    shown = [
        event_id
        for key, event_id in then.items()
        if key in speakers or not (wanted.lazy_load_members and key[0] == "m.room.member")
    ]
    found = events.load_events(view, shown).values()
    return filtering.passing(view, requester.user_id, wanted, found)


def _speakers(
    view: View, requester: Requester, several: Sequence[StoredEvent], now_ms: int
) -> list[JsonObject]:
    """The memberships of those who speak on a page, as of its oldest event.

    Spec: client-server-api#lazy-loading-room-members
    """
    oldest = min(several, key=lambda one: one.point)
    then = _state_at(view, oldest)
    keys = {state.member_key(one.event.sender) for one in several}
    found = events.load_events(view, [then[key] for key in sorted(keys) if key in then])
    return _shown(view, requester, list(found.values()), now_ms)
