"""Rooms, who is in them, and which servers that makes.

Memberships are those of the room's current state, and invitations to rooms we are not in.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Boolean,
    Column,
    Index,
    LargeBinary,
    Row,
    String,
    Table,
    bindparam,
    delete,
    func,
    select,
    update,
)

from homeserver.matrix import canonical_json, identifiers
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import EventId, RoomId, ServerName, UserId
from homeserver.storage.tables import metadata
from homeserver.storage.unit_of_work import UnitOfWork, View

rooms = Table(
    "rooms",
    metadata,
    Column("room_id", String, primary_key=True),
    Column("version_id", String, nullable=False),
    Column("current_state_id", BigInteger, nullable=False),
    # JSON: the IDs of the events that nothing refers to yet.
    Column("extremities", LargeBinary, nullable=False),
    # The depth of the deepest of them.
    Column("depth", BigInteger, nullable=False),
    # Whether it stands in the public directory.
    Column("is_published", Boolean, nullable=False),
)

memberships = Table(
    "memberships",
    metadata,
    Column("room_id", String, primary_key=True),
    Column("user_id", String, primary_key=True),
    Column("server", String, nullable=False),
    Column("membership", String, nullable=False),
    Column("event_id", String, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("display_name", String),
    Column("avatar_url", String),
    Column("is_forgotten", Boolean, nullable=False),
    # Only where we are not in the room: JSON, the state that came with an invitation or knock:
    # PDUs where the peer sent them, from which a departure can cite its authority.
    Column("outside_state", LargeBinary),
    # Only of a knock: the server we knocked at.
    Column("outside_via", String),
)
# In which rooms is this user?
Index("ix_memberships_user", memberships.c.user_id, memberships.c.membership)
# Who is in this room, and which servers does that make?
Index("ix_memberships_room", memberships.c.room_id, memberships.c.membership)

JOINED = frozenset({"join"})
PRESENT = frozenset({"join", "invite"})


@dataclass(frozen=True, slots=True)
class Room:
    """A room whose graph we hold, though we may have left it."""

    room_id: RoomId
    version_id: str
    current_state_id: int
    extremities: tuple[EventId, ...]
    depth: int
    is_published: bool = False


@dataclass(frozen=True, slots=True)
class Membership:
    """Somebody's membership in a room's current state, or our own in a room we are outside of."""

    room_id: RoomId
    user_id: UserId
    membership: str
    event_id: EventId
    position: int
    display_name: str | None = None
    avatar_url: str | None = None
    is_forgotten: bool = False


_MEMBERSHIP = [memberships.c[name] for name in Membership.__slots__]
_ROOM = select(rooms).where(rooms.c.room_id == bindparam("room_id"))
_ADVANCE = (
    update(rooms)
    .where(rooms.c.room_id == bindparam("room"))
    .values(
        current_state_id=bindparam("state_id"),
        extremities=bindparam("ends"),
        depth=bindparam("deepest"),
    )
)
# One event ID with what stands around it in JSON is shorter.
_ONE_END = 60
_LONG_ENDS = (
    select(rooms).where(func.length(rooms.c.extremities) > _ONE_END).order_by(rooms.c.room_id)
)
_WANTED: BindParameter[str] = bindparam("memberships", expanding=True)
_ONE_MEMBERSHIP = select(*_MEMBERSHIP).where(
    memberships.c.room_id == bindparam("room_id"), memberships.c.user_id == bindparam("user_id")
)
_ROOMS_OF = select(*_MEMBERSHIP).where(
    memberships.c.user_id == bindparam("user_id"), memberships.c.membership.in_(_WANTED)
)
_MEMBERS_OF = select(*_MEMBERSHIP).where(
    memberships.c.room_id == bindparam("room_id"), memberships.c.membership.in_(_WANTED)
)
_MOVED = select(*_MEMBERSHIP).where(
    memberships.c.user_id == bindparam("user_id"), memberships.c.position > bindparam("after")
)
_COUNTS = (
    select(memberships.c.membership, func.count())
    .where(memberships.c.room_id == bindparam("room_id"))
    .group_by(memberships.c.membership)
)
_SERVERS = (
    select(memberships.c.server)
    .where(memberships.c.room_id == bindparam("room_id"), memberships.c.membership.in_(_WANTED))
    .distinct()
)
_OUTSIDE_VIA = select(memberships.c.outside_via).where(
    memberships.c.room_id == bindparam("room_id"), memberships.c.user_id == bindparam("user_id")
)
_OUTSIDE_STATE = select(memberships.c.outside_state).where(
    memberships.c.room_id == bindparam("room_id"), memberships.c.user_id == bindparam("user_id")
)
_mine, _theirs = memberships.alias("mine"), memberships.alias("theirs")
_SHARING = (
    select(_theirs.c.user_id)
    .join(_mine, _mine.c.room_id == _theirs.c.room_id)
    .where(
        _mine.c.user_id == bindparam("user_id"),
        _mine.c.membership == "join",
        _theirs.c.membership == "join",
    )
    .distinct()
)


def save_room(work: UnitOfWork, room: Room) -> None:
    """Keep a room, in place of what was known of it."""
    values = asdict(room) | {"extremities": canonical_json.encode(list(room.extremities))}
    work.upsert(rooms, values)


def advance_room(
    work: UnitOfWork, room_id: RoomId, state_id: int, extremities: Sequence[EventId], depth: int
) -> None:
    """Move a room's current state and the ends of its graph on."""
    work.execute(
        _ADVANCE,
        {
            "room": room_id,
            "state_id": state_id,
            "ends": canonical_json.encode(list(extremities)),
            "deepest": depth,
        },
    )


def find_room(view: View, room_id: RoomId) -> Room | None:
    """A room whose graph we hold."""
    row = view.one_or_none(_ROOM, {"room_id": room_id})
    return _room(row) if row is not None else None


def rooms_with_loose_ends(view: View) -> list[Room]:
    """The rooms whose graphs have more than one end."""
    return [room for room in map(_room, view.all(_LONG_ENDS)) if len(room.extremities) > 1]


def publish(work: UnitOfWork, room_id: RoomId, *, is_published: bool) -> None:
    """Put a room into the public directory, or take it out."""
    statement = update(rooms).where(rooms.c.room_id == room_id)
    work.execute(statement.values(is_published=is_published))


def published_rooms(view: View, limit: int) -> list[Room]:
    """The rooms in the public directory."""
    statement = select(rooms).where(rooms.c.is_published).order_by(rooms.c.room_id).limit(limit)
    return [_room(row) for row in view.all(statement)]


def save_memberships(work: UnitOfWork, changed: Iterable[Membership]) -> None:
    """Keep memberships of the current state. Whoever is in a room again has not forgotten it."""
    work.upsert_many(
        memberships,
        [
            asdict(one)
            | {
                "server": identifiers.server_of(one.user_id),
                "outside_state": None,
                "outside_via": None,
            }
            for one in changed
        ],
    )


def save_outside_membership(
    work: UnitOfWork,
    membership: Membership,
    outside_state: Sequence[Any],
    via: ServerName | None = None,
) -> None:
    """Keep our own membership in a room we are not in, with what came along with it."""
    values = asdict(membership) | {
        "server": identifiers.server_of(membership.user_id),
        "outside_state": canonical_json.encode(list(outside_state)),
        "outside_via": via,
    }
    work.upsert(memberships, values)


def delete_memberships(work: UnitOfWork, room_id: RoomId, user_ids: Collection[UserId]) -> None:
    """Drop memberships that the current state does not have any more."""
    if user_ids:
        work.execute(
            delete(memberships).where(
                memberships.c.room_id == room_id, memberships.c.user_id.in_(list(user_ids))
            )
        )


def forget_room(work: UnitOfWork, room_id: RoomId, user_id: UserId) -> None:
    """Leave a room out of everything this user sees."""
    work.execute(
        update(memberships)
        .where(memberships.c.room_id == room_id, memberships.c.user_id == user_id)
        .values(is_forgotten=True)
    )


def find_membership(view: View, room_id: RoomId, user_id: UserId) -> Membership | None:
    """Somebody's membership now."""
    row = view.one_or_none(_ONE_MEMBERSHIP, {"room_id": room_id, "user_id": user_id})
    return Membership(*row) if row is not None else None


def find_outside_via(view: View, room_id: RoomId, user_id: UserId) -> ServerName | None:
    """The server at which we knocked."""
    server: ServerName | None = view.scalar(_OUTSIDE_VIA, {"room_id": room_id, "user_id": user_id})
    return server


def find_outside_state(view: View, room_id: RoomId, user_id: UserId) -> list[Any]:
    """What came with an invitation to a room we are not in: PDUs, or stripped state."""
    stored = view.scalar(_OUTSIDE_STATE, {"room_id": room_id, "user_id": user_id})
    return list(canonical_json.decode(stored)) if stored is not None else []


def find_stripped_state(view: View, room_id: RoomId, user_id: UserId) -> list[JsonObject]:
    """`find_outside_state` as clients see it.

    Spec: client-server-api#stripped-state
    """
    return [
        {key: entry.get(key) for key in ("type", "state_key", "content", "sender")}
        for entry in find_outside_state(view, room_id, user_id)
    ]


def rooms_of(view: View, user_id: UserId, wanted: frozenset[str]) -> list[Membership]:
    """A user's rooms by membership, forgotten ones left out."""
    rows = view.all(_ROOMS_OF, {"user_id": user_id, "memberships": list(wanted)})
    found = (Membership(*row) for row in rows)
    return [membership for membership in found if not membership.is_forgotten]


def memberships_since(view: View, user_id: UserId, after: int) -> list[Membership]:
    """A user's memberships that changed after a position, forgotten rooms included."""
    rows = view.all(_MOVED, {"user_id": user_id, "after": after})
    return [Membership(*row) for row in rows]


def count_members(view: View, room_id: RoomId) -> dict[str, int]:
    """How many people a room has, by membership."""
    return {row[0]: row[1] for row in view.all(_COUNTS, {"room_id": room_id})}


def members_of(view: View, room_id: RoomId, wanted: frozenset[str]) -> list[Membership]:
    """A room's people by membership."""
    rows = view.all(_MEMBERS_OF, {"room_id": room_id, "memberships": list(wanted)})
    return [Membership(*row) for row in rows]


def joined_users(view: View, room_id: RoomId) -> list[UserId]:
    """Everybody who is in a room."""
    return [member.user_id for member in members_of(view, room_id, JOINED)]


def servers_in_room(
    view: View, room_id: RoomId, wanted: frozenset[str] = PRESENT
) -> frozenset[ServerName]:
    """The servers of everybody who is in a room or invited to it."""
    rows = view.all(_SERVERS, {"room_id": room_id, "memberships": sorted(wanted)})
    return frozenset(row.server for row in rows)


def users_sharing_rooms_with(view: View, user_id: UserId) -> frozenset[UserId]:
    """Everybody who is in some room with this user."""
    return frozenset(row.user_id for row in view.all(_SHARING, {"user_id": user_id})) - {user_id}


def _room(row: Row[Any]) -> Room:
    return replace(
        Room(**row._mapping),  # noqa: SLF001 - public in SQLAlchemy
        extremities=tuple(canonical_json.decode(row.extremities)),
    )
