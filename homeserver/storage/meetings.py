"""Strangers in rooms: whom the owner agreed to meet in which room, and who asked us to pass a word.

A peer with a `room_id` was introduced for rooms: its connection carries those in which both owners
agreed, and nothing else.
"""

from dataclasses import asdict, dataclass, replace

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    LargeBinary,
    String,
    Table,
    and_,
    bindparam,
    delete,
    func,
    or_,
    select,
)
from sqlalchemy import update as update_table

from homeserver.matrix.identifiers import RoomId, ServerName
from homeserver.storage import tables
from homeserver.storage.peers import CONNECTED, peers
from homeserver.storage.tables import metadata
from homeserver.storage.unit_of_work import UnitOfWork, View

# What the owner has said about a server in a room.
ASKED, AGREED, REFUSED, SILENT = "asked", "agreed", "refused", "silent"
# What the owner's settings say about strangers, as it is remembered.
POLICIES = ("ask", "accept", "refuse")
TOPIC = "meetings"
WISH = "introduce"  # the kind of what waits for a common peer: whom the owner wants to meet
MOST_OF_SERVER = 50
MOST_WISHES_OF_SERVER = 200
_MOST_REQUESTS = 100
_POLICY = "strangers_in_rooms"

meetings = Table(
    "meetings",
    metadata,
    Column("server", String, primary_key=True),
    Column("room_id", String, primary_key=True),
    Column("state", String, nullable=False),
    Column("is_theirs", Boolean, nullable=False),  # whether their server said yes to us
    Column("how", String, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("wished_at", BigInteger),  # when we last asked to be introduced, or said yes to them
)

# Rooms that the owner wants to enter, as soon as everybody in them is agreed to.
room_requests = Table(
    "room_requests",
    metadata,
    Column("room_id", String, primary_key=True),
    Column("via", String, nullable=False),
    Column("membership", String, nullable=False),  # join or knock
    Column("is_agreed", Boolean, nullable=False),
    Column("at", BigInteger, nullable=False),
)

# We are the common peer: who wants to be introduced to whom. The note is passed on as it is.
wishes = Table(
    "wishes",
    metadata,
    Column("asker", String, primary_key=True),
    Column("target", String, primary_key=True),
    Column("room_id", String, primary_key=True),
    Column("note", LargeBinary, nullable=False),
    Column("at", BigInteger, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Meeting:
    """One server in one room."""

    server: ServerName
    room_id: RoomId
    state: str
    is_theirs: bool
    how: str
    at: int
    wished_at: int | None = None


@dataclass(frozen=True, slots=True)
class RoomRequest:
    """A room to be entered once that is agreed."""

    room_id: RoomId
    via: ServerName
    membership: str
    is_agreed: bool
    at: int


@dataclass(frozen=True, slots=True)
class Wish:
    """Somebody wants to be introduced to somebody."""

    asker: ServerName
    target: ServerName
    room_id: RoomId
    note: bytes
    at: int


_ALL = select(meetings).order_by(meetings.c.at, meetings.c.server, meetings.c.room_id)
_IN_ROOM = _ALL.where(meetings.c.room_id == bindparam("room_id"))
_REQUESTS = select(room_requests).order_by(room_requests.c.at)
_WISH_ALL_AGAIN = (
    update_table(meetings).where(meetings.c.wished_at.is_not(None)).values(wished_at=None)
)
_WISH_AGAIN = _WISH_ALL_AGAIN.where(meetings.c.room_id == bindparam("in_room"))
_ONE = select(meetings).where(
    meetings.c.server == bindparam("server"), meetings.c.room_id == bindparam("room_id")
)
_MUTUAL = and_(meetings.c.state == AGREED, meetings.c.is_theirs)
# To be joined to `peers` by the room in question: what a connection made for rooms carries.
IS_CARRIED = or_(peers.c.room_id.is_(None), _MUTUAL)
_CARRIERS = (
    select(peers.c.server_name)
    .select_from(
        peers.outerjoin(
            meetings,
            and_(
                meetings.c.server == peers.c.server_name, meetings.c.room_id == bindparam("room_id")
            ),
        )
    )
    .where(peers.c.standing.in_(CONNECTED), IS_CARRIED)
)
_IS_CARRIED = _CARRIERS.where(peers.c.server_name == bindparam("server"))


def load_policy(view: View) -> str | None:
    """What the owner's settings say about strangers; None where nobody deals with peers."""
    value = view.scalar(tables.COUNTER, {"name": _POLICY})
    return None if value is None else POLICIES[int(value)]


def save_policy(work: UnitOfWork, policy: str) -> None:
    """Remember the owner's setting, for whatever happens in rooms."""
    work.upsert(tables.counters, {"name": _POLICY, "value": POLICIES.index(policy)})


def find(view: View, server: ServerName, room_id: RoomId) -> Meeting | None:
    """What was said about a server in a room."""
    row = view.one_or_none(_ONE, {"server": server, "room_id": room_id})
    return None if row is None else Meeting(*row)


def is_agreed(view: View, server: ServerName, room_id: RoomId) -> bool:
    """Whether the owner agreed to meet a server in a room."""
    found = find(view, server, room_id)
    return found is not None and found.state == AGREED


def load(view: View, room_id: RoomId | None = None) -> list[Meeting]:
    """Every server that was a stranger in some room, or in this one."""
    rows = view.all(_ALL) if room_id is None else view.all(_IN_ROOM, {"room_id": room_id})
    return [Meeting(*row) for row in rows]


def of_server(view: View, server: ServerName) -> list[Meeting]:
    """The rooms in which something was said about a server."""
    return [Meeting(*row) for row in view.all(select(meetings).where(meetings.c.server == server))]


def save(work: UnitOfWork, meeting: Meeting) -> None:
    """Keep it, and wake whoever brings people together."""
    work.upsert(meetings, asdict(meeting))
    work.wake(TOPIC)


def note_theirs(work: UnitOfWork, server: ServerName, room_id: RoomId, at: int) -> bool:
    """Their server said yes to us in a room; False where that is nothing to us."""
    known = find(work, server, room_id)
    if known is None:
        count = select(func.count()).where(meetings.c.server == server)
        if int(work.scalar(count) or 0) >= MOST_OF_SERVER:
            return False
        known = Meeting(server, room_id, SILENT, is_theirs=False, how="", at=at)
    save(work, replace(known, is_theirs=True))
    return True


def note_wished(work: UnitOfWork, server: ServerName, room_id: RoomId, at: int) -> None:
    """We asked to be introduced, or told them that we agree."""
    this = meetings.c
    statement = update_table(meetings).where(this.server == server, this.room_id == room_id)
    work.execute(statement.values(wished_at=at))


def wish_again(work: UnitOfWork, room_id: RoomId | None = None) -> None:
    """Something changed about who may introduce us, in a room or anywhere: ask whoever can now."""
    if room_id is None:
        work.execute(_WISH_ALL_AGAIN)
    else:
        work.execute(_WISH_AGAIN, {"in_room": room_id})
    work.wake(TOPIC)


def forget(work: UnitOfWork, server: ServerName, room_id: RoomId | None = None) -> None:
    """Nothing was said about a server, in one room or anywhere."""
    statement = delete(meetings).where(meetings.c.server == server)
    work.execute(statement if room_id is None else statement.where(meetings.c.room_id == room_id))


def forget_room(work: UnitOfWork, room_id: RoomId) -> None:
    """A room is purged."""
    for table in (meetings, room_requests, wishes):
        work.execute(delete(table).where(table.c.room_id == room_id))


def carrying(view: View, room_id: RoomId) -> frozenset[ServerName]:
    """The connected peers whose connection is for this room."""
    return frozenset(ServerName(row[0]) for row in view.all(_CARRIERS, {"room_id": room_id}))


def is_carried(view: View, room_id: RoomId, server: ServerName) -> bool:
    """Whether the connection to a peer is for this room."""
    found = view.one_or_none(_IS_CARRIED, {"room_id": room_id, "server": server})
    return found is not None


def save_request(work: UnitOfWork, request: RoomRequest) -> None:
    """Keep what the owner wants to enter. The oldest fall out beyond a hundred."""
    work.upsert(room_requests, asdict(request))
    kept = select(room_requests.c.room_id).order_by(room_requests.c.at.desc()).limit(_MOST_REQUESTS)
    work.execute(delete(room_requests).where(room_requests.c.room_id.not_in(kept)))
    work.wake(TOPIC)


def find_request(view: View, room_id: RoomId) -> RoomRequest | None:
    """The wish to enter a room."""
    row = view.one_or_none(select(room_requests).where(room_requests.c.room_id == room_id))
    return None if row is None else RoomRequest(*row)


def load_requests(view: View) -> list[RoomRequest]:
    """Every room that waits to be entered, the oldest first."""
    return [RoomRequest(*row) for row in view.all(_REQUESTS)]


def delete_requests_via(work: UnitOfWork, server: ServerName) -> None:
    """Nothing is entered any more through a server that was parted from."""
    work.execute(delete(room_requests).where(room_requests.c.via == server))


def delete_request(work: UnitOfWork, room_id: RoomId) -> None:
    """The room was entered, or the owner thought better of it."""
    work.execute(delete(room_requests).where(room_requests.c.room_id == room_id))


def save_wish(work: UnitOfWork, wish: Wish) -> bool:
    """Keep a wish until the other side has the same one; False beyond the bound."""
    column = wishes.c
    count = select(func.count()).where(column.asker == wish.asker)
    if int(work.scalar(count) or 0) >= MOST_WISHES_OF_SERVER:
        return False
    work.upsert(wishes, asdict(wish))
    return True


def find_wish(view: View, asker: ServerName, target: ServerName, room_id: RoomId) -> Wish | None:
    """What somebody wants us to pass on."""
    column = wishes.c
    mine = and_(column.asker == asker, column.target == target, column.room_id == room_id)
    row = view.one_or_none(select(wishes).where(mine))
    return None if row is None else Wish(*row)


def delete_wish(work: UnitOfWork, wish: Wish) -> None:
    """It was passed on."""
    column = wishes.c
    mine = and_(column.asker == wish.asker, column.target == wish.target)
    work.execute(delete(wishes).where(mine, column.room_id == wish.room_id))


def delete_wishes(
    work: UnitOfWork, about: ServerName | None = None, before: int | None = None
) -> None:
    """Drop those of and about a server, or those that have waited too long."""
    column = wishes.c
    if about is not None:
        work.execute(delete(wishes).where(or_(column.asker == about, column.target == about)))
    if before is not None:
        work.execute(delete(wishes).where(column.at < before))
