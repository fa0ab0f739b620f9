"""One page of a room's timeline, read from what is stored.

A token names a point between two events: `t{position}_{rank}`, directly after the event with that
position and rank. Sync tokens (`s{position}…`) are points too.
"""

import re
from dataclasses import dataclass

from homeserver import errors
from homeserver.matrix.identifiers import RoomId, UserId
from homeserver.rooms import filtering, seeing
from homeserver.rooms.filtering import Wanted
from homeserver.storage import events, gaps
from homeserver.storage.events import Point, StoredEvent
from homeserver.storage.gaps import Gap
from homeserver.storage.unit_of_work import View

LARGEST_PAGE = 1_000
_MOST_BATCHES = 10
_TOKEN = re.compile(r"t(\d{1,18})_(-?\d{1,9})")
_SYNC_TOKEN = re.compile(r"s(\d{1,18})(?:_.*)?")

START = Point(0, -(2**31) + 1)
END = Point(2**62)


@dataclass(frozen=True, slots=True)
class Asked:
    """A page that somebody asked for: from a point on, perhaps only up to another."""

    room_id: RoomId
    user_id: UserId
    start: Point
    limit: int
    wanted: Wanted
    is_backwards: bool
    stop: Point | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Visible events in the order of reading, and where reading goes on; None at the end.

    `gaps` are holes that reading stopped at.
    """

    shown: list[StoredEvent]
    end: Point | None
    gaps: list[Gap]


def token(point: Point) -> str:
    """A point as clients carry it around."""
    return f"t{point.position}_{point.rank}"


def parse_token(text: str) -> Point:
    """Read a token of ours, of a page or of a sync."""
    match = _TOKEN.fullmatch(text)
    if match is not None:
        return Point(int(match[1]), int(match[2]))
    match = _SYNC_TOKEN.fullmatch(text)
    if match is None:
        raise errors.InvalidParam("That is not a token of this server.")
    return Point(int(match[1]))


def before(stored: StoredEvent) -> Point:
    """The point directly before an event."""
    return Point(stored.point.position, stored.point.rank - 1)


def read(view: View, asked: Asked) -> Page:
    """Read what a filter and a limit leave of a room's timeline."""
    if not asked.wanted.allows_room(asked.room_id):
        return Page([], None, [])
    if asked.limit == 0:
        return Page([], asked.start, [])
    if asked.is_backwards and (holes := _holes_at(view, asked)):
        return Page([], asked.start, holes)
    return _read_on(view, asked)


def _read_on(view: View, asked: Asked) -> Page:
    """Read until the page is full, the room ends, or there is a hole."""
    shown: list[StoredEvent] = []
    point = asked.start
    for _ in range(_MOST_BATCHES):
        batch, is_last = _batch(view, asked, point)
        holes = gaps.gaps_before(view, [one.event.event_id for one in batch])
        if holes and asked.is_backwards:
            batch = _up_to_hole(batch, holes)
        heard = seeing.heard(view, asked.user_id, batch)
        for stored in filtering.passing(view, asked.user_id, asked.wanted, heard):
            shown.append(stored)
            if len(shown) == asked.limit:
                return Page(shown, _beyond(asked, stored), [])
        if batch:
            point = _beyond(asked, batch[-1])
        if holes and asked.is_backwards:
            at_hole = [one for one in holes if one.event_id == batch[-1].event.event_id]
            return Page(shown, point, at_hole)
        if is_last:
            return Page(shown, None, [])
    return Page(shown, point, [])


def _holes_at(view: View, asked: Asked) -> list[Gap]:
    """The hole that reading begins at: a sync's timeline may start with the event after one."""
    following = events.timeline_after(view, asked.room_id, asked.start, 1)
    if not following or before(following[0]) != asked.start:
        return []
    return gaps.gaps_before(view, [following[0].event.event_id])


def _batch(view: View, asked: Asked, point: Point) -> tuple[list[StoredEvent], bool]:
    find = events.timeline_before if asked.is_backwards else events.timeline_after
    found = find(view, asked.room_id, point, asked.limit)
    is_last = len(found) < asked.limit
    if asked.stop is None:
        return found, is_last
    within = [
        one
        for one in found
        if (one.point > asked.stop if asked.is_backwards else one.point <= asked.stop)
    ]
    return within, is_last or len(within) < len(found)


def _up_to_hole(batch: list[StoredEvent], holes: list[Gap]) -> list[StoredEvent]:
    at_holes = {hole.event_id for hole in holes}
    first = next(index for index, one in enumerate(batch) if one.event.event_id in at_holes)
    return batch[: first + 1]


def _beyond(asked: Asked, stored: StoredEvent) -> Point:
    return before(stored) if asked.is_backwards else stored.point
