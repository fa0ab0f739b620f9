"""Megolm sessions: ours, one per room and shared with peers; and those that peers shared with us.

Ratchets and keys are stored as their owners sealed them; nothing here opens them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    and_,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
)
from sqlalchemy import update as update_table

from homeserver.matrix.identifiers import RoomId, ServerName
from homeserver.storage.tables import metadata
from homeserver.storage.unit_of_work import UnitOfWork, View

MOST_INBOUND = 1_000

# Ours: at most one session per room. Another one takes its place.
group_sessions = Table(
    "group_sessions",
    metadata,
    Column("room_id", String, primary_key=True),
    Column("run", LargeBinary, nullable=False),  # the run of the server that began it
    Column("keyed_by", String, nullable=False),  # random: what its keys are derived by
    Column("session_id", String, nullable=False),
    Column("session_key", LargeBinary, nullable=False),  # as of the first index
    Column("session", LargeBinary, nullable=False),
    Column("audience", LargeBinary, nullable=False),  # a hash of who was in the room then
    Column("next_index", Integer, nullable=False),
    Column("last_position", BigInteger, nullable=False),  # of the newest event it holds
    Column("started_at", BigInteger, nullable=False),
)

# Events of ours as encrypted in their room's session, for the peers that have not had them yet.
group_messages = Table(
    "group_messages",
    metadata,
    Column("room_id", String, primary_key=True),
    Column("position", BigInteger, primary_key=True),
    Column("message_index", Integer, nullable=False),
    Column("ciphertext", LargeBinary, nullable=False),
)

# Which peers have been given the key of a room's session.
group_shares = Table(
    "group_shares",
    metadata,
    Column("room_id", String, primary_key=True),
    Column("peer", String, primary_key=True),
)

# Theirs. One that has ended keeps its row without its ratchet, so that it is never taken again.
inbound_groups = Table(
    "inbound_groups",
    metadata,
    Column("peer", String, primary_key=True),
    Column("session_id", String, primary_key=True),
    Column("room_id", String, nullable=False),
    Column("session", LargeBinary),
    Column("next_index", Integer, nullable=False),  # every lower one has been used
    Column("used_in", BigInteger, nullable=False),  # sequence of the newest frame that used it
    Index("ix_inbound_groups_used", "peer", "used_in"),
)


@dataclass(frozen=True, slots=True)
class GroupSession:
    """Our session for one room."""

    room_id: RoomId
    run: bytes
    keyed_by: str
    session_id: str
    session_key: bytes
    session: bytes
    audience: bytes
    next_index: int
    last_position: int
    started_at: int


@dataclass(frozen=True, slots=True)
class GroupCiphertext:
    """One event of ours, encrypted once for every peer in the room."""

    room_id: RoomId
    position: int
    message_index: int
    ciphertext: bytes


@dataclass(frozen=True, slots=True)
class InboundGroup:
    """A peer's session for one room; `session` is None once another one has taken its place."""

    peer: ServerName
    session_id: str
    room_id: RoomId
    session: bytes | None
    next_index: int
    used_in: int


_SESSION = select(group_sessions).where(group_sessions.c.room_id == bindparam("room_id"))
_ADVANCE = update_table(group_sessions).where(group_sessions.c.room_id == bindparam("room_id_"))
_ADVANCE = _ADVANCE.values(
    session=bindparam("session_"),
    next_index=bindparam("next_index_"),
    last_position=bindparam("last_position_"),
)
_BETWEEN = select(group_messages.c.position, group_messages.c.ciphertext).where(
    group_messages.c.room_id == bindparam("room_id"),
    group_messages.c.position.between(bindparam("first"), bindparam("last")),
)
_INSERT_MESSAGE = insert(group_messages)
_PRUNE = delete(group_messages).where(
    and_(
        group_messages.c.room_id == bindparam("room_id_"),
        or_(
            group_messages.c.position <= bindparam("position_"),
            group_messages.c.message_index < bindparam("index_"),
        ),
    )
)
_SHARE = select(group_shares.c.peer).where(
    group_shares.c.room_id == bindparam("room_id"), group_shares.c.peer == bindparam("peer")
)
_FORGET_ROOMS = tuple(
    delete(table).where(table.c.room_id.in_(bindparam("rooms", expanding=True)))
    for table in (group_sessions, group_messages, group_shares)
)
_BEYOND = (
    select(inbound_groups.c.session_id)
    .where(inbound_groups.c.peer == bindparam("peer"))
    .order_by(inbound_groups.c.used_in.desc(), inbound_groups.c.session_id)
    .offset(bindparam("kept"))
)
_INBOUND = select(inbound_groups).where(
    inbound_groups.c.peer == bindparam("peer"),
    inbound_groups.c.session_id == bindparam("session_id"),
)
_NOTE_INDEX = (
    update_table(inbound_groups)
    .where(
        inbound_groups.c.peer == bindparam("peer_"),
        inbound_groups.c.session_id == bindparam("session_id_"),
    )
    .values(next_index=bindparam("next_index_"), used_in=bindparam("used_in_"))
)
_END_OTHERS = (
    update_table(inbound_groups)
    .where(
        inbound_groups.c.peer == bindparam("peer_"),
        inbound_groups.c.room_id == bindparam("room_id_"),
        inbound_groups.c.session_id != bindparam("session_id_"),
    )
    .values(session=None)
)


def find_session(view: View, room_id: RoomId) -> GroupSession | None:
    """Our session for a room, which may have to be replaced."""
    row = view.one_or_none(_SESSION, {"room_id": room_id})
    return None if row is None else GroupSession(*row)


def begin_session(work: UnitOfWork, session: GroupSession) -> None:
    """Put a new session in the place of the room's; nobody has its key yet."""
    forget_rooms(work, [session.room_id])
    work.insert(group_sessions, **asdict(session))


def save_messages(
    work: UnitOfWork, session: GroupSession, messages: Sequence[GroupCiphertext]
) -> None:
    """Keep what was encrypted together with the ratchet's state after it."""
    work.execute(_INSERT_MESSAGE, [asdict(message) for message in messages])
    work.execute(
        _ADVANCE,
        {
            "room_id_": session.room_id,
            "session_": session.session,
            "next_index_": session.next_index,
            "last_position_": session.last_position,
        },
    )


def messages_between(view: View, room_id: RoomId, first: int, last: int) -> dict[int, bytes]:
    """What is encrypted already of a room's events from one position to another."""
    rows = view.all(_BETWEEN, {"room_id": room_id, "first": first, "last": last})
    return {row.position: row.ciphertext for row in rows}


def prune_messages(work: UnitOfWork, room_id: RoomId, acknowledged: int, oldest_index: int) -> None:
    """Drop what every peer has up to a position, and whatever is older than an index."""
    where = {"room_id_": room_id, "position_": acknowledged, "index_": oldest_index}
    work.execute(_PRUNE, where)


def is_shared(view: View, room_id: RoomId, peer: ServerName) -> bool:
    """Whether the peer was given the key of the room's session."""
    return view.scalar(_SHARE, {"room_id": room_id, "peer": peer}) is not None


def note_shared(work: UnitOfWork, room_id: RoomId, peer: ServerName) -> None:
    """The key stands in the frame that is sealed in this unit of work."""
    work.insert(group_shares, room_id=room_id, peer=peer)


def forget_shares(work: UnitOfWork, peer: ServerName) -> None:
    """A frame with keys may never have been read: give the peer every key again."""
    work.execute(delete(group_shares).where(group_shares.c.peer == peer))


def forget_rooms(work: UnitOfWork, room_ids: Iterable[str]) -> None:
    """Destroy our sessions for these rooms; the next event begins others."""
    rooms = list(room_ids)
    for forget in _FORGET_ROOMS:
        work.execute(forget, {"rooms": rooms})


def forget_ours(work: UnitOfWork) -> None:
    """Destroy every session of ours; the next event of each room begins another one."""
    for table in (group_sessions, group_messages, group_shares):
        work.execute(delete(table))


def forget_other_runs(work: UnitOfWork, run: bytes) -> None:
    """Destroy the sessions of ours that were begun before the last start."""
    other = select(group_sessions.c.room_id).where(group_sessions.c.run != run)
    forget_rooms(work, [row.room_id for row in work.all(other)])


def forget_peer(work: UnitOfWork, peer: ServerName) -> None:
    """Destroy what the peer shared with us, and every session of ours that it may read."""
    forget_ours(work)
    work.execute(delete(inbound_groups).where(inbound_groups.c.peer == peer))


def forget_everything(work: UnitOfWork) -> None:
    """Destroy every session, ours and theirs."""
    forget_ours(work)
    work.execute(delete(inbound_groups))


def find_inbound(view: View, peer: ServerName, session_id: str) -> InboundGroup | None:
    """A session that this peer shared with us."""
    row = view.one_or_none(_INBOUND, {"peer": peer, "session_id": session_id})
    return None if row is None else InboundGroup(*row)


def accept_inbound(work: UnitOfWork, inbound: InboundGroup) -> None:
    """Keep a session that a peer shared; the peer's others for that room have ended."""
    work.insert(inbound_groups, **asdict(inbound))
    where = {"peer_": inbound.peer, "room_id_": inbound.room_id, "session_id_": inbound.session_id}
    work.execute(_END_OTHERS, where)
    _bound_inbound(work, inbound.peer)


def note_index(work: UnitOfWork, inbound: InboundGroup) -> None:
    """Remember that every index below `next_index` has been used."""
    work.execute(
        _NOTE_INDEX,
        {
            "peer_": inbound.peer,
            "session_id_": inbound.session_id,
            "next_index_": inbound.next_index,
            "used_in_": inbound.used_in,
        },
    )


def count_inbound(view: View, peer: ServerName) -> int:
    """How many sessions of a peer are remembered, ended ones among them."""
    mine = inbound_groups.c.peer == peer
    return view.scalar(select(func.count()).select_from(inbound_groups).where(mine)) or 0


def _bound_inbound(work: UnitOfWork, peer: ServerName) -> None:
    """Drop those that were not used for the longest time."""
    beyond = work.all(_BEYOND, {"peer": peer, "kept": MOST_INBOUND})
    dropped = [row.session_id for row in beyond]
    if dropped:
        work.execute(
            delete(inbound_groups).where(
                inbound_groups.c.peer == peer, inbound_groups.c.session_id.in_(dropped)
            )
        )
