"""The channel to each peer: ratchets, sequences, addresses, and the one frame that is in flight.

Ratchets and door keys are stored as their owners sealed them; nothing here opens them.
"""

from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Integer,
    LargeBinary,
    String,
    Table,
    Update,
    bindparam,
    delete,
    select,
)
from sqlalchemy import update as update_table

from homeserver.matrix.identifiers import ServerName
from homeserver.storage import groups, tables
from homeserver.storage.tables import metadata
from homeserver.storage.unit_of_work import UnitOfWork, View

_LIBRARIES = ("python-olm", "vodozemac")

channels = Table(
    "channels",
    metadata,
    Column("peer", String, primary_key=True),
    Column("epoch", BigInteger, nullable=False),  # of the session in use
    Column("highest_epoch", BigInteger, nullable=False),  # either side has named
    Column("account", LargeBinary, nullable=False),
    Column("session", LargeBinary),  # none: lost, repair is under way
    Column("previous_epoch", BigInteger),
    Column("previous_session", LargeBinary),  # still reads, until the new one was read
    Column("their_olm_key", String, nullable=False),
    Column("sent", BigInteger, nullable=False),  # sequence of our newest frame
    Column("acknowledged", BigInteger, nullable=False),  # by the peer
    Column("received", BigInteger, nullable=False),  # sequence of the newest frame taken
    Column("received_since_sent", BigInteger, nullable=False),
    Column("our_address", LargeBinary, nullable=False),
    Column("our_door_key", LargeBinary, nullable=False),
    Column("their_address", LargeBinary, nullable=False),
    Column("their_door_key", LargeBinary, nullable=False),
    Column("routes", LargeBinary, nullable=False),  # theirs, a JSON list
    Column("routes_sequence", BigInteger, nullable=False),
    Column("told_routes", LargeBinary, nullable=False),  # ours, as the peer knows them
    Column("told_sequence", BigInteger, nullable=False),
    Column("told_card", BigInteger, nullable=False),  # sequence of our newest card it knows
    Column("keys_note", LargeBinary),  # `keys`, repeated until answered
    Column("keys_nonce", String),  # what the answer has to repeat
    Column("answer_nonce", String),  # what our next first frame has to repeat
    Column("wants_repair", Boolean, nullable=False),
    Column("is_restored", Boolean, nullable=False),  # an old copy, until the repair is done
    Column("regressions", Integer, nullable=False),  # how often the peer's position went back
    Column("regressed_at", BigInteger),
    Column("session_run", LargeBinary),  # the run of the server that began the session
    Column("receipt", LargeBinary),  # the peer's, which came with its newest frame
    Column("life", LargeBinary),  # random: since when sequences count; our receipts are of one
)

# At most one frame per peer waits for its acknowledgement.
in_flight = Table(
    "in_flight",
    metadata,
    Column("peer", String, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("kind", String, nullable=False),
    Column("sent_at", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),  # to seal it anew after a rekey
    Column("attachment", LargeBinary, nullable=False),
    Column("olm_kind", Integer, nullable=False),
    Column("olm", LargeBinary, nullable=False),
    Column("group_messages", LargeBinary, nullable=False),  # what goes beside the Olm message
    Column(
        "settles", LargeBinary, nullable=False
    ),  # what its acknowledgement takes out of the outbox
)


@dataclass(frozen=True, slots=True)
class Channel:
    """The state of one channel."""

    peer: ServerName
    epoch: int
    highest_epoch: int
    account: bytes
    session: bytes | None
    previous_epoch: int | None
    previous_session: bytes | None
    their_olm_key: str
    sent: int
    acknowledged: int
    received: int
    received_since_sent: int
    our_address: bytes
    our_door_key: bytes
    their_address: bytes
    their_door_key: bytes
    routes: bytes
    routes_sequence: int
    told_routes: bytes
    told_sequence: int
    told_card: int
    keys_note: bytes | None = None
    keys_nonce: str | None = None
    answer_nonce: str | None = None
    wants_repair: bool = False
    is_restored: bool = False
    regressions: int = 0
    regressed_at: int | None = None
    session_run: bytes | None = None
    receipt: bytes | None = None
    life: bytes | None = None


@dataclass(frozen=True, slots=True)
class InFlight:
    """The frame that goes out with every exchange until the peer has acknowledged it."""

    peer: ServerName
    sequence: int
    epoch: int
    kind: str
    sent_at: int
    body: bytes
    attachment: bytes
    olm_kind: int
    olm: bytes
    group_messages: bytes
    settles: bytes


_CHANNEL = select(channels).where(channels.c.peer == bindparam("peer"))
_IN_FLIGHT = select(in_flight).where(in_flight.c.peer == bindparam("peer"))
_HAS_IN_FLIGHT = select(in_flight.c.sequence).where(in_flight.c.peer == bindparam("peer"))
_DELETE_IN_FLIGHT = delete(in_flight).where(in_flight.c.peer == bindparam("peer_"))


def find_channel(view: View, peer: ServerName) -> Channel | None:
    """The channel to a peer, if there is one."""
    row = view.one_or_none(_CHANNEL, {"peer": peer})
    return None if row is None else Channel(*row)


def load_channels(view: View) -> list[Channel]:
    """Every channel."""
    return [Channel(*row) for row in view.all(select(channels).order_by(channels.c.peer))]


def save_channel(work: UnitOfWork, channel: Channel) -> None:
    """Make or replace a channel."""
    work.upsert(channels, asdict(channel))


def change_channel(work: UnitOfWork, peer: ServerName, changes: dict[str, Any]) -> None:
    """Change some columns of one channel."""
    if changes:
        work.execute(_change(tuple(changes)), changes | {"peer_": peer})


@lru_cache(maxsize=256)
def _change(names: tuple[str, ...]) -> Update:
    values: dict[str, Any] = {name: bindparam(name) for name in names}
    return update_table(channels).where(channels.c.peer == bindparam("peer_")).values(values)


def find_in_flight(view: View, peer: ServerName) -> InFlight | None:
    """The frame that waits for its acknowledgement."""
    row = view.one_or_none(_IN_FLIGHT, {"peer": peer})
    return None if row is None else InFlight(*row)


def has_in_flight(view: View, peer: ServerName) -> bool:
    """Whether a frame waits for its acknowledgement."""
    return view.scalar(_HAS_IN_FLIGHT, {"peer": peer}) is not None


def save_in_flight(work: UnitOfWork, frame: InFlight) -> None:
    """Keep a frame until it is acknowledged."""
    work.upsert(in_flight, asdict(frame))


def delete_in_flight(work: UnitOfWork, peer: ServerName) -> None:
    """The frame was acknowledged, or will never be."""
    work.execute(_DELETE_IN_FLIGHT, {"peer_": peer})


def delete_channel(work: UnitOfWork, peer: ServerName) -> None:
    """Destroy everything that could read or write as this connection."""
    delete_in_flight(work, peer)
    groups.forget_peer(work, peer)
    work.execute(delete(channels).where(channels.c.peer == peer))


def take_over_ratchets(work: UnitOfWork, library: str) -> bool:
    """Note which library writes the ratchets from now on; False where it cannot read what is there.

    Each reads what stands before it in the list, and itself.
    """
    column = tables.counters.c
    found = work.scalar(select(column.value).where(column.name == "ratchets")) or 0
    number = _LIBRARIES.index(library)
    if number < found and work.scalar(select(channels.c.peer).limit(1)) is not None:
        return False
    work.upsert(tables.counters, {"name": "ratchets", "value": number})
    return True
