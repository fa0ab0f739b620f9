"""Invitations given, and the handshakes they led to, on both sides.

A handshake's messages are stored before they are sent, so that a repeat is the same bytes.
"""

from dataclasses import asdict, dataclass
from typing import Any

import orjson
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    LargeBinary,
    Row,
    String,
    Table,
    bindparam,
    delete,
    select,
)
from sqlalchemy import update as update_table

from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import ServerName
from homeserver.storage.tables import metadata
from homeserver.storage.unit_of_work import UnitOfWork, View

INVITER, INVITEE = "inviter", "invitee"
KNOCK = "knock"  # an invitation that asks the owner every time, and is not spent

invitations = Table(
    "invitations",
    metadata,
    Column("intake", String, primary_key=True),  # the address, in hex
    Column("secret", LargeBinary, nullable=False),  # sealed
    Column("ticket", String, nullable=False),
    Column("how", String, nullable=False),  # link, scanned, knock, introduced by X
    Column("asks_owner", Boolean, nullable=False),
    Column("expected", String),  # the only node id, or DNS name, that may use it
    Column("room_id", String),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("request_hash", String),  # of the first REQUEST that opened and verified
    Column("is_warned", Boolean, nullable=False),
    Column("grants", LargeBinary),  # what the owner chose for whoever uses it, if not the default
)

handshakes = Table(
    "handshakes",
    metadata,
    Column("key", String, primary_key=True),  # inviter: intake and node; invitee: intake
    Column("role", String, nullable=False),
    Column("state", String, nullable=False),
    Column("intake", String, nullable=False, index=True),
    Column("node_id", String, nullable=False, index=True),
    Column("server_name", String, nullable=False),
    Column("is_repair", Boolean, nullable=False),
    Column("request_hash", String, nullable=False),  # inviter: of each of the node's, newest last
    Column("request", LargeBinary, nullable=False),  # the note as sent or received
    Column("accept", LargeBinary, nullable=False),  # of ACCEPT, note and Olm message; or `wait`
    Column("prove", LargeBinary, nullable=False),  # Olm message of PROVE
    Column("ready", LargeBinary, nullable=False),  # Olm message of READY
    Column("secrets", LargeBinary, nullable=False),  # sealed: door keys, addresses, ratchets
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("room_id", String),  # an introduction's: the connection is for this room
)


@dataclass(frozen=True, slots=True)
class Invitation:
    """One invitation of ours."""

    intake: str
    secret: bytes
    ticket: str
    how: str
    asks_owner: bool
    expected: str | None
    room_id: str | None
    created_at: int
    expires_at: int
    request_hash: str | None = None
    is_warned: bool = False
    grants: JsonObject | None = None


@dataclass(frozen=True, slots=True)
class Handshake:
    """Four messages under way; the empty ones are not made yet."""

    key: str
    role: str
    state: str
    intake: str
    node_id: str
    server_name: str
    is_repair: bool
    request_hash: str
    request: bytes
    accept: bytes
    prove: bytes
    ready: bytes
    secrets: bytes
    created_at: int
    expires_at: int
    room_id: str | None = None


_INVITATIONS = select(invitations).order_by(invitations.c.created_at)
_HANDSHAKES = select(handshakes).order_by(handshakes.c.created_at, handshakes.c.key)
_HANDSHAKES_WITH = _HANDSHAKES.where(handshakes.c.node_id == bindparam("node_id"))
_INVITATION = select(invitations).where(invitations.c.intake == bindparam("intake"))
_HANDSHAKE = select(handshakes).where(handshakes.c.key == bindparam("key"))


def find_invitation(view: View, intake: str) -> Invitation | None:
    """The invitation with this intake address."""
    row = view.one_or_none(_INVITATION, {"intake": intake})
    return None if row is None else _invitation(row)


def load_invitations(view: View) -> list[Invitation]:
    """Every invitation that is remembered, oldest first."""
    return [_invitation(row) for row in view.all(_INVITATIONS)]


def save_invitation(work: UnitOfWork, invitation: Invitation) -> None:
    """Keep a new invitation."""
    chosen = None if invitation.grants is None else orjson.dumps(invitation.grants)
    work.insert(invitations, **asdict(invitation) | {"grants": chosen})


def change_invitation(work: UnitOfWork, intake: str, **changes: Any) -> None:
    """Change some columns of an invitation."""
    work.change(invitations, {"intake": intake}, changes)


def find_handshake(view: View, key: str) -> Handshake | None:
    """One handshake."""
    row = view.one_or_none(_HANDSHAKE, {"key": key})
    return None if row is None else Handshake(*row)


def load_handshakes(view: View) -> list[Handshake]:
    """Every handshake that is remembered, oldest first."""
    return [Handshake(*row) for row in view.all(_HANDSHAKES)]


def handshakes_with(view: View, node_id: str) -> list[Handshake]:
    """The handshakes with one node, oldest first."""
    return [Handshake(*row) for row in view.all(_HANDSHAKES_WITH, {"node_id": node_id})]


def save_handshake(work: UnitOfWork, handshake: Handshake) -> None:
    """Keep a handshake in place of what was stored of it."""
    work.upsert(handshakes, asdict(handshake))


def delete_handshake(work: UnitOfWork, key: str) -> None:
    """Forget one handshake."""
    work.execute(delete(handshakes).where(handshakes.c.key == key))


def void_introductions_by(work: UnitOfWork, introducer: ServerName) -> None:
    """Withdraw what a peer was to pass on to whom it introduces us to."""
    _void_introductions(work, invitations.c.how == introduced_by(introducer))


def void_introductions_to(work: UnitOfWork, node_id: str) -> None:
    """Withdraw what was made for one node to be introduced to us, whoever passes it on."""
    _void_introductions(work, invitations.c.expected == node_id)


def introduced_by(introducer: ServerName) -> str:
    """How an invitation is passed on that a peer brings to whom it introduces us to."""
    return f"introduced by {introducer}"


def _void_introductions(work: UnitOfWork, which: ColumnElement[bool]) -> None:
    this = invitations.c
    statement = update_table(invitations).where(this.room_id.is_not(None), which)
    work.execute(statement.where(this.ticket == "open").values(ticket="void"))


def void_all(work: UnitOfWork) -> None:
    """Withdraw every invitation and forget every handshake: for a restored backup."""
    work.execute(update_table(invitations).values(ticket="void"))
    work.execute(delete(handshakes))


def _invitation(row: Row[Any]) -> Invitation:
    values = row._asdict()
    chosen = values["grants"]
    return Invitation(**values | {"grants": None if chosen is None else orjson.loads(chosen)})
