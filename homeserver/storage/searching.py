"""Walk through everything that was said, newest first, and list the people one knows.

There is no index of words: most rooms are encrypted, so that it would cost every message something
and find little.
"""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import and_, bindparam, or_, select

from homeserver.matrix.identifiers import EventId, RoomId, ServerName, UserId
from homeserver.storage.events import Point, events
from homeserver.storage.rooms import memberships
from homeserver.storage.unit_of_work import View

_MOST_PEOPLE = 10_000


@dataclass(frozen=True, slots=True)
class Said:
    """An event as it lies on the disk."""

    event_id: EventId
    room_id: RoomId
    point: Point
    pdu: bytes


@dataclass(frozen=True, slots=True)
class Known:
    """Somebody in a room of the owner's."""

    user_id: UserId
    room_id: RoomId
    server: ServerName
    display_name: str | None
    avatar_url: str | None


_BEFORE = (
    select(events.c.event_id, events.c.room_id, events.c.position, events.c.rank, events.c.pdu)
    .where(
        events.c.position <= bindparam("position"),
        or_(events.c.position < bindparam("position"), events.c.rank <= bindparam("rank")),
        events.c.redacted_by.is_(None),
    )
    .order_by(events.c.position.desc(), events.c.rank.desc())
    .limit(bindparam("limit"))
)
_IN_ROOMS = _BEFORE.where(events.c.room_id.in_(bindparam("room_ids", expanding=True)))
_mine = memberships.alias("mine")
_KNOWN = (
    select(
        memberships.c.user_id,
        memberships.c.room_id,
        memberships.c.server,
        memberships.c.display_name,
        memberships.c.avatar_url,
    )
    .join(
        _mine,
        and_(
            _mine.c.room_id == memberships.c.room_id,
            _mine.c.user_id == bindparam("owner"),
            _mine.c.membership == "join",
        ),
    )
    .where(memberships.c.membership == "join", memberships.c.user_id != bindparam("owner"))
    .order_by(memberships.c.user_id)
    .limit(_MOST_PEOPLE)
)


def said_before(
    view: View, point: Point, limit: int, room_ids: Collection[RoomId] | None = None
) -> list[Said]:
    """The newest events up to a point, of all rooms or of some."""
    span = {"position": point.position, "rank": point.rank, "limit": limit}
    if room_ids is None:
        rows = view.all(_BEFORE, span)
    else:
        rows = view.all(_IN_ROOMS, span | {"room_ids": list(room_ids)})
    return [Said(row[0], row[1], Point(row[2], row[3]), row[4]) for row in rows]


def people_known_to(view: View, owner: UserId) -> list[Known]:
    """Everybody the owner shares a room with, once for each room."""
    return [Known(*row) for row in view.all(_KNOWN, {"owner": owner})]
