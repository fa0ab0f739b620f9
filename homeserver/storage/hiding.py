"""Whose users the owner does not want to see in which room, from which position to which.

Every reader of a room asks; so all of it is remembered in memory, as it was at the last commit.
"""

import threading
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from weakref import WeakKeyDictionary

from sqlalchemy import BigInteger, Boolean, Column, String, Table, bindparam, delete, select, update

from homeserver.matrix.identifiers import DeviceId, EventId, RoomId, ServerName, UserId
from homeserver.storage import rooms
from homeserver.storage.tables import metadata
from homeserver.storage.unit_of_work import UnitOfWork, View

# Spans of a room's timeline in which a server's users are hidden. Those that go on have no end.
hidden_senders = Table(
    "hidden_senders",
    metadata,
    Column("room_id", String, primary_key=True),
    Column("server", String, primary_key=True),
    Column("since", BigInteger, primary_key=True),
    # Whether they are shown as out of the room; else only what they say is left out.
    Column("is_absent", Boolean, primary_key=True),
    Column("until", BigInteger),
)

# Membership events that only our clients see: rows of `events` that nothing may rest on.
stand_ins = Table(
    "stand_ins",
    metadata,
    Column("event_id", String, primary_key=True),
    Column("room_id", String, nullable=False),
    Column("user_id", String, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("membership", String, nullable=False),
)

# Devices that have not synced past the position at which somebody was hidden from a room.
devices_behind = Table(
    "devices_behind",
    metadata,
    Column("room_id", String, primary_key=True),
    Column("user_id", String, primary_key=True),
    Column("device_id", String, primary_key=True),
    Column("position", BigInteger, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Spell:
    """A span of a room's timeline in which a server's users are hidden."""

    room_id: RoomId
    server: ServerName
    since: int
    is_absent: bool
    until: int | None = None

    def covers(self, position: int) -> bool:
        """Whether it holds at a position of the timeline."""
        return self.since <= position and (self.until is None or position < self.until)


@dataclass(frozen=True, slots=True)
class StandIn:
    """A membership event that only our clients see."""

    event_id: EventId
    room_id: RoomId
    user_id: UserId
    position: int
    membership: str


@dataclass(slots=True)
class Veil:
    """Everything that is hidden in one room. Made once and never changed."""

    spells: list[Spell] = field(default_factory=list)
    stand_ins: dict[EventId, StandIn] = field(default_factory=dict)

    def is_closed(self, server: ServerName, *, is_absent: bool) -> bool:
        """Whether a spell of this kind goes on for a server."""
        return any(
            one.until is None and (one.server, one.is_absent) == (server, is_absent)
            for one in self.spells
        )


@dataclass(frozen=True, slots=True)
class Hidden:
    """Everything that is hidden anywhere, and which devices do not know it yet."""

    veils: Mapping[RoomId, Veil] = field(default_factory=dict)
    behind: Mapping[tuple[UserId, DeviceId], Mapping[RoomId, int]] = field(default_factory=dict)


@dataclass(slots=True)
class _Remembered:
    committed: Hidden | None = None
    # What the unit of work that is under way has made of it.
    under_way: tuple[UnitOfWork, Hidden] | None = None


_remembered: WeakKeyDictionary[Hashable, _Remembered] = WeakKeyDictionary()
_lock = threading.Lock()

_SPELLS = select(hidden_senders).order_by(hidden_senders.c.since)
_STAND_INS = select(stand_ins).order_by(stand_ins.c.position)
_BEHIND = select(devices_behind)
_END = (
    update(hidden_senders)
    .where(
        hidden_senders.c.room_id == bindparam("room"),
        hidden_senders.c.server == bindparam("whose"),
        hidden_senders.c.is_absent == bindparam("kind"),
        hidden_senders.c.until.is_(None),
    )
    .values(until=bindparam("position"))
)
_ROOMS_OF_SERVER = (
    select(rooms.memberships.c.room_id)
    .join(rooms.rooms, rooms.rooms.c.room_id == rooms.memberships.c.room_id)
    .where(rooms.memberships.c.server == bindparam("server"))
    .distinct()
    .order_by(rooms.memberships.c.room_id)
)


def forget_room(work: UnitOfWork, room_id: RoomId) -> None:
    """A room is purged: nobody is hidden in it any more."""
    for table in (hidden_senders, stand_ins, devices_behind):
        work.execute(delete(table).where(table.c.room_id == room_id))
    remembered = _of(work)

    def read_again() -> None:
        remembered.committed = None

    work.after_commit(read_again)


def load_hidden(view: View) -> Hidden:
    """Everything that is hidden, from memory; a unit of work sees its own changes."""
    remembered = _of(view)
    under_way = remembered.under_way
    if under_way is not None and under_way[0] is view:
        return under_way[1]
    if remembered.committed is None:
        found = _read(view)
        with _lock:
            if remembered.committed is None:
                remembered.committed = found
    return remembered.committed


def find_veil(view: View, room_id: RoomId) -> Veil | None:
    """What is hidden in a room; None for nearly all of them."""
    return load_hidden(view).veils.get(room_id)


def begin_spell(work: UnitOfWork, spell: Spell) -> None:
    """Hide a server's users in a room."""
    work.upsert(hidden_senders, asdict(spell), changes=())


def end_spell(
    work: UnitOfWork, room_id: RoomId, server: ServerName, position: int, *, is_absent: bool
) -> None:
    """Show them again from a position on."""
    where = {"room": room_id, "whose": server, "kind": is_absent, "position": position}
    work.execute(_END, where)


def save_stand_in(work: UnitOfWork, stand_in: StandIn) -> None:
    """Note which event stands in for a membership."""
    work.insert(stand_ins, **asdict(stand_in))


def save_behind(
    work: UnitOfWork,
    room_id: RoomId,
    user_id: UserId,
    devices: Iterable[DeviceId],
    position: int,
) -> None:
    """These devices have to sync up to a position before they encrypt for the room."""
    work.upsert_many(
        devices_behind,
        [
            {
                "room_id": room_id,
                "user_id": user_id,
                "device_id": device_id,
                "position": position,
            }
            for device_id in devices
        ],
    )


def delete_behind(work: UnitOfWork, room_id: RoomId, user_id: UserId, device_id: DeviceId) -> None:
    """The device knows who has gone from the room."""
    column = devices_behind.c
    work.execute(
        delete(devices_behind).where(
            column.room_id == room_id,
            column.user_id == user_id,
            column.device_id == device_id,
        )
    )


def rooms_of_server(view: View, server: ServerName) -> list[RoomId]:
    """The rooms that we hold in which a server's users have or had any membership."""
    return [RoomId(row.room_id) for row in view.all(_ROOMS_OF_SERVER, {"server": server})]


def publish(work: UnitOfWork) -> None:
    """Let readers know, as soon as this is committed. After the last change of a unit of work."""
    remembered, found = _of(work), _read(work)
    remembered.under_way = (work, found)

    def commit() -> None:
        remembered.committed, remembered.under_way = found, None

    work.at_commit(commit)


def _of(view: View) -> _Remembered:
    found = _remembered.get(view.database_key)
    if found is None:
        with _lock:
            found = _remembered.setdefault(view.database_key, _Remembered())
    return found


def _read(view: View) -> Hidden:
    veils: dict[RoomId, Veil] = {}
    for row in view.all(_SPELLS):
        spell = Spell(row.room_id, row.server, row.since, bool(row.is_absent), row.until)
        veils.setdefault(spell.room_id, Veil()).spells.append(spell)
    for row in view.all(_STAND_INS):
        stand_in = StandIn(*row)
        veils.setdefault(stand_in.room_id, Veil()).stand_ins[stand_in.event_id] = stand_in
    behind: dict[tuple[UserId, DeviceId], dict[RoomId, int]] = {}
    for row in view.all(_BEHIND):
        behind.setdefault((row.user_id, row.device_id), {})[row.room_id] = row.position
    return Hidden(veils, behind)
