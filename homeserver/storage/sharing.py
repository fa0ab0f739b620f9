"""Which server was in which room from when to when, and so which of our events it may be sent."""

import hashlib
from dataclasses import dataclass

import orjson
from sqlalchemy import BigInteger, Column, String, Table, and_, bindparam, or_, select, update

from homeserver.matrix.identifiers import RoomId, ServerName
from homeserver.storage import events, meetings, peers, rooms
from homeserver.storage.events import StoredEvent
from homeserver.storage.tables import metadata
from homeserver.storage.unit_of_work import UnitOfWork, View

# When did a server have someone joined to a room? Stays that go on have no end.
server_stays = Table(
    "server_stays",
    metadata,
    Column("room_id", String, primary_key=True),
    Column("server", String, primary_key=True),
    Column("since", BigInteger, primary_key=True),
    Column("until", BigInteger),
)


@dataclass(frozen=True, slots=True)
class Stay:
    """From the event at one position to the event at another, both included."""

    since: int
    until: int | None


@dataclass(frozen=True, slots=True)
class Audience:
    """Whom what is said in a room now reaches."""

    stays: bytes  # a hash of every server there, since when, and whether we are connected
    connected: frozenset[ServerName]  # the peers among them
    since: int  # the position at which the last of those came


_AUDIENCE = (
    select(
        server_stays.c.server,
        server_stays.c.since,
        peers.peers.c.standing == peers.ACTIVE,
        meetings.IS_CARRIED,
    )
    .select_from(
        server_stays.outerjoin(
            peers.peers, peers.peers.c.server_name == server_stays.c.server
        ).outerjoin(
            meetings.meetings,
            and_(
                meetings.meetings.c.server == server_stays.c.server,
                meetings.meetings.c.room_id == server_stays.c.room_id,
            ),
        )
    )
    .where(server_stays.c.room_id == bindparam("room_id"), server_stays.c.until.is_(None))
    .order_by(server_stays.c.server)
)
_OPEN = select(server_stays.c.server).where(
    server_stays.c.room_id == bindparam("room_id"), server_stays.c.until.is_(None)
)
_STAYS = (
    select(server_stays.c.since, server_stays.c.until)
    .where(
        server_stays.c.room_id == bindparam("room_id"),
        server_stays.c.server == bindparam("server"),
    )
    .order_by(server_stays.c.since)
)
_END = (
    update(server_stays)
    .where(
        server_stays.c.room_id == bindparam("room"),
        server_stays.c.server == bindparam("gone"),
        server_stays.c.until.is_(None),
    )
    .values(until=bindparam("position"))
)
_OWN_EVENTS = (
    select(events.events.c.event_id)
    .join(
        server_stays,
        and_(
            server_stays.c.room_id == events.events.c.room_id,
            server_stays.c.since <= events.events.c.position,
            or_(
                server_stays.c.until.is_(None),
                server_stays.c.until >= events.events.c.position,
            ),
        ),
    )
    .where(
        events.events.c.room_id == bindparam("room_id"),
        events.events.c.position > bindparam("after"),
        events.events.c.is_ours,
        server_stays.c.server == bindparam("server"),
    )
    .distinct()
    .add_columns(events.events.c.position)
    .order_by(events.events.c.position)
    .limit(bindparam("limit"))
)


_NEWEST_OWN = _OWN_EVENTS.order_by(None).order_by(events.events.c.position.desc())


def newest_own_positions(
    view: View, room_id: RoomId, after: int, limit: int, server: ServerName
) -> list[int]:
    """Where our newest events of a room stand that `own_events_after` would give, newest first."""
    rows = view.all(
        _NEWEST_OWN, {"room_id": room_id, "after": after, "limit": limit, "server": server}
    )
    return [row.position for row in rows]


def own_events_after(
    view: View, room_id: RoomId, position: int, limit: int, server: ServerName
) -> list[StoredEvent]:
    """Our own events of a room after a position, as far as this server was in the room then.

    The event that ended its stay is still among them, nothing said later is.
    """
    rows = view.all(
        _OWN_EVENTS, {"room_id": room_id, "after": position, "limit": limit, "server": server}
    )
    found = events.load_events(view, [row.event_id for row in rows])
    return [found[row.event_id] for row in rows]


def stays_of(view: View, room_id: RoomId, server: ServerName) -> list[Stay]:
    """When a server was in a room, the oldest stay first."""
    rows = view.all(_STAYS, {"room_id": room_id, "server": server})
    return [Stay(row.since, row.until) for row in rows]


def present_servers(view: View, room_id: RoomId) -> frozenset[ServerName]:
    """The servers that have someone joined to a room now."""
    return frozenset(row.server for row in view.all(_OPEN, {"room_id": room_id}))


def audience_of(view: View, room_id: RoomId) -> Audience:
    """Who is in a room now, and which of them are active peers that the room is carried to."""
    stays = []
    connected: dict[ServerName, int] = {}
    for server, since, is_active, is_carried in view.all(_AUDIENCE, {"room_id": room_id}):
        is_connected = bool(is_active) and bool(is_carried)
        stays.append((server, since, is_connected))
        if is_connected:
            connected[ServerName(server)] = since
    digest = hashlib.sha256(orjson.dumps(stays)).digest()
    return Audience(digest, frozenset(connected), max(connected.values(), default=0))


def update_stays(work: UnitOfWork, room_id: RoomId, position: int) -> frozenset[ServerName]:
    """Begin and end stays as the memberships have it now; return the servers that just left."""
    joined = rooms.servers_in_room(work, room_id, rooms.JOINED)
    present = present_servers(work, room_id)
    work.upsert_many(
        server_stays,
        [
            {"room_id": room_id, "server": server, "since": position, "until": None}
            for server in sorted(joined - present)
        ],
    )
    for server in sorted(present - joined):
        work.execute(_END, {"room": room_id, "gone": server, "position": position})
    return present - joined
