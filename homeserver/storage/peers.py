"""Peers: who they are, what stands between us, what they may send us.

A peer that was revoked, blocked or declined keeps its row as a tombstone for ever.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import orjson
from sqlalchemy import (
    BigInteger,
    Column,
    LargeBinary,
    Row,
    String,
    Table,
    bindparam,
    select,
)

from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import RoomId, ServerName
from homeserver.storage import tables
from homeserver.storage.tables import metadata
from homeserver.storage.unit_of_work import UnitOfWork, View

peers = Table(
    "peers",
    metadata,
    Column("server_name", String, primary_key=True),
    Column("node_id", String, nullable=False, unique=True),
    Column("standing", String, nullable=False),
    Column("standing_before", String, nullable=False),  # what an expired handshake falls back to
    Column("name", String, nullable=False),  # what they call themselves
    Column("proof", LargeBinary, nullable=False),  # inception, successions, card
    Column("grants", LargeBinary, nullable=False),  # what we let them do
    Column("granted", LargeBinary, nullable=False),  # what they said they let us do
    Column("inviter", String, nullable=False),  # the node whose invitation made the connection
    Column("how", String, nullable=False),  # scanned, link, introduced by X, knock
    Column("room_id", String),  # introduced, in this room first: see `meetings` for all it carries
    Column("paused_because", String),
    Column("alarm", String),  # set: no traffic until the owner has decided
    Column("connected_at", BigInteger),
    Column("heard_at", BigInteger),
)

ACTIVE, PAUSED = "active", "paused"
# The standings of peers whose owners and ours agreed.
CONNECTED = (ACTIVE, PAUSED)
_EVERYTHING_PAUSED = "federation_paused"
# A grant that is not a yes or no is refused by these values.
_REFUSALS = (False, 0, "no", "none", None)
# What a peer tells beside its grants: false while its owner takes no invitations at all.
TAKES_INVITES = "takes_invites"
# The grant that every active connection has.
CONNECTION = "connection"
# What a connection made for rooms is about, whatever else its grants say.
OF_ROOMS = frozenset({CONNECTION, "messages", "media", "typing", "receipts", "route"})


@dataclass(frozen=True, slots=True)
class Peer:
    """Another person's server."""

    server_name: ServerName
    node_id: str
    standing: str
    standing_before: str
    name: str
    proof: JsonObject
    grants: JsonObject
    granted: JsonObject
    inviter: str
    how: str
    room_id: RoomId | None = None
    paused_because: str | None = None
    alarm: str | None = None
    connected_at: int | None = None
    heard_at: int | None = None

    def may(self, grant: str) -> bool:
        """Whether the peer is active and has this grant."""
        return self.standing == ACTIVE and self.alarm is None and self.is_granted(grant)

    def is_granted(self, grant: str) -> bool:
        """Whether the peer has this grant, if only for when a pause is over."""
        if self.room_id is not None and grant not in OF_ROOMS:
            return False
        return self.standing in CONNECTED and permits(self.grants, grant)


_JSON = ("proof", "grants", "granted")
_ONE = select(peers).where(peers.c.server_name == bindparam("server_name"))
_BY_NODE = select(peers).where(peers.c.node_id == bindparam("node_id"))
_STANDING = select(peers.c.standing, peers.c.alarm).where(
    peers.c.server_name == bindparam("server_name")
)
_ALL = select(peers).order_by(peers.c.connected_at, peers.c.server_name)
_CONNECTED = select(peers.c.server_name).where(peers.c.standing.in_(CONNECTED))


def permits(grants: Mapping[str, Any], grant: str) -> bool:
    """Whether these grants hold one: a size, a choice or a yes. `media` is its largest size."""
    if grant == CONNECTION:
        return True
    value = grants.get("media_max_bytes" if grant == "media" else grant)
    return value not in _REFUSALS


def find_peer(view: View, server_name: ServerName) -> Peer | None:
    """One peer, whatever its standing."""
    row = view.one_or_none(_ONE, {"server_name": server_name})
    return None if row is None else _peer(row)


def find_node(view: View, node_id: str) -> Peer | None:
    """The peer with this node id."""
    row = view.one_or_none(_BY_NODE, {"node_id": node_id})
    return None if row is None else _peer(row)


def load_peers(view: View) -> list[Peer]:
    """Every peer and tombstone, oldest connection first."""
    rows = view.all(_ALL)
    return [_peer(row) for row in rows]


def save_peer(work: UnitOfWork, peer: Peer) -> None:
    """Keep a peer in place of what was known about it."""
    values = asdict(peer)
    work.upsert(peers, values | {name: orjson.dumps(values[name]) for name in _JSON})


def change_peer(work: UnitOfWork, server_name: ServerName, **changes: Any) -> None:
    """Change some columns of one peer."""
    values = {
        name: orjson.dumps(value) if name in _JSON else value for name, value in changes.items()
    }
    work.change(peers, {"server_name": server_name}, values)


def delete_peer(work: UnitOfWork, server_name: ServerName) -> None:
    """Forget somebody with whom nothing came about."""
    work.delete(peers, server_name=server_name)


def connected_servers(view: View) -> frozenset[ServerName]:
    """The servers whose owners and ours agreed: active, or paused for a while."""
    return frozenset(ServerName(row[0]) for row in view.all(_CONNECTED))


def may(view: View, server_name: ServerName, grant: str) -> bool:
    """Whether a peer may do something now. Every edit counts from the next question on."""
    peer = find_peer(view, server_name)
    return peer is not None and peer.may(grant)


def is_granted(view: View, server_name: ServerName, grant: str) -> bool:
    """Whether what needs a grant may wait for a peer: a pause holds it, and loses nothing."""
    peer = find_peer(view, server_name)
    return peer is not None and peer.is_granted(grant)


def is_active(view: View, server_name: ServerName) -> bool:
    """Whether anything at all is exchanged with a peer now."""
    row = view.one_or_none(_STANDING, {"server_name": server_name})
    return row is not None and row[0] == ACTIVE and row[1] is None


def is_everything_paused(view: View) -> bool:
    """Whether the owner paused the whole server."""
    return bool(view.scalar(tables.COUNTER, {"name": _EVERYTHING_PAUSED}))


def pause_everything(work: UnitOfWork, *, is_paused: bool) -> None:
    """Pause or resume the whole server; peers paused singly stay as they are."""
    work.upsert(tables.counters, {"name": _EVERYTHING_PAUSED, "value": int(is_paused)})


def _peer(row: Row[Any]) -> Peer:
    """The columns stand in the order of the fields."""
    values: list[Any] = list(row)
    values[5:8] = orjson.loads(values[5]), _grants(values[6]), _grants(values[7])
    return Peer(*values)


@lru_cache(maxsize=256)
def _grants(raw: bytes) -> JsonObject:
    """Most peers have the same ones, and every frame asks for them. Nobody may change these."""
    grants: JsonObject = orjson.loads(raw)
    return grants
