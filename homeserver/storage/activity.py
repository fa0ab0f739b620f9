"""A user's rooms at a glance: when something last happened in each, and how many are in it."""

from sqlalchemy import bindparam, func, select

from homeserver.matrix.identifiers import RoomId, UserId
from homeserver.storage.events import events
from homeserver.storage.rooms import memberships
from homeserver.storage.unit_of_work import View

_newest = (
    select(events.c.position)
    .where(
        events.c.room_id == memberships.c.room_id,
        events.c.position <= bindparam("until"),
        events.c.rank == 0,
    )
    .order_by(events.c.position.desc())
    .limit(1)
    .scalar_subquery()
)
_ALL = select(memberships.c.room_id, _newest).where(
    memberships.c.user_id == bindparam("user_id"), memberships.c.membership == "join"
)
_ONE = (
    select(events.c.position)
    .where(
        events.c.room_id == bindparam("room_id"),
        events.c.position <= bindparam("until"),
        events.c.rank == 0,
    )
    .order_by(events.c.position.desc())
    .limit(1)
)

_mine = memberships.alias("mine")
_COUNTS = (
    select(memberships.c.room_id, memberships.c.membership, func.count())
    .join(_mine, _mine.c.room_id == memberships.c.room_id)
    .where(_mine.c.user_id == bindparam("user_id"), _mine.c.membership == "join")
    .group_by(memberships.c.room_id, memberships.c.membership)
)


def newest_of_joined(view: View, user_id: UserId, until: int) -> dict[RoomId, int]:
    """The position of the newest live event in each room a user is in."""
    rows = view.all(_ALL, {"user_id": user_id, "until": until})
    return {room_id: position or 0 for room_id, position in rows}


def newest_in(view: View, room_id: RoomId, until: int) -> int:
    """The position of the newest live event of one room; 0 where there is none."""
    position: int = view.scalar(_ONE, {"room_id": room_id, "until": until}) or 0
    return position


def count_members(view: View, user_id: UserId) -> dict[RoomId, dict[str, int]]:
    """How many people each room has that a user is in, by membership."""
    counts: dict[RoomId, dict[str, int]] = {}
    for room_id, membership, count in view.all(_COUNTS, {"user_id": user_id}):
        counts.setdefault(room_id, {})[membership] = count
    return counts
