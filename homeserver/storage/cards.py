"""Proofs of identity of servers that we share rooms with and are not connected to.

Members of a room hand them on. What our own peers proved stands in `peers`.
"""

from collections.abc import Collection

from sqlalchemy import BigInteger, Column, LargeBinary, String, Table, bindparam, select

from homeserver.matrix import canonical_json
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import ServerName
from homeserver.storage.tables import metadata
from homeserver.storage.unit_of_work import UnitOfWork, View

known_cards = Table(
    "known_cards",
    metadata,
    Column("server_name", String, primary_key=True),
    Column("proof", LargeBinary, nullable=False),  # inception, successions, card
    Column("learned_at", BigInteger, nullable=False),
)

_FIND = select(known_cards.c.server_name, known_cards.c.proof).where(
    known_cards.c.server_name.in_(bindparam("servers", expanding=True))
)


def find_cards(view: View, servers: Collection[ServerName]) -> dict[ServerName, JsonObject]:
    """The proofs of these servers, as far as they were handed on to us."""
    if not servers:
        return {}
    rows = view.all(_FIND, {"servers": sorted(servers)})
    return {row.server_name: canonical_json.decode(row.proof) for row in rows}


def save_card(work: UnitOfWork, server: ServerName, proof: JsonObject, learned_at: int) -> None:
    """Keep a server's proof in place of the one it continues."""
    work.upsert(
        known_cards,
        {
            "server_name": server,
            "proof": canonical_json.encode(proof),
            "learned_at": learned_at,
        },
    )


def delete_card(work: UnitOfWork, server: ServerName) -> None:
    """It is a peer's now: what peers prove stands with them."""
    work.delete(known_cards, server_name=server)
