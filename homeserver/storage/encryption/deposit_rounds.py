"""What was deposited with a peer, and which deposits may be trusted after a backup came back.

A server that was restored does not remember which one-time keys it has handed out. It asks each
peer for a new round: keys that were in no deposit before.
"""

from sqlalchemy import Column, String, Table, bindparam, delete, select

from homeserver.matrix.identifiers import ServerName
from homeserver.storage.tables import metadata
from homeserver.storage.unit_of_work import UnitOfWork, View

deposit_rounds = Table(
    "deposit_rounds",
    metadata,
    Column("peer", String, primary_key=True),
    Column("asked", String),  # the round that we asked the peer for
    Column("given", String),  # the round that the peer asked us for
    Column("deposited", String),  # a digest of what we have left with the peer
)

_OF_PEER = deposit_rounds.c.peer == bindparam("peer")
_ASKED = select(deposit_rounds.c.asked).where(_OF_PEER)
_GIVEN = select(deposit_rounds.c.given).where(_OF_PEER)
_DEPOSITED = select(deposit_rounds.c.deposited).where(_OF_PEER)


def asked_round(view: View, peer: ServerName) -> str | None:
    """The round whose keys of a peer we may hand out; None for any."""
    found: str | None = view.scalar(_ASKED, {"peer": peer})
    return found


def given_round(view: View, peer: ServerName) -> str | None:
    """The round that a peer asked for; it stands in every deposit for it."""
    found: str | None = view.scalar(_GIVEN, {"peer": peer})
    return found


def ask_round(work: UnitOfWork, peer: ServerName, name: str) -> None:
    """From now on only keys of this round count."""
    work.upsert(deposit_rounds, {"peer": peer, "asked": name}, ("asked",))


def give_round(work: UnitOfWork, peer: ServerName, name: str) -> None:
    """Name this round in deposits for the peer."""
    work.upsert(deposit_rounds, {"peer": peer, "given": name}, ("given",))


def deposited(view: View, peer: ServerName) -> str | None:
    """The digest of our newest deposit with the peer."""
    found: str | None = view.scalar(_DEPOSITED, {"peer": peer})
    return found


def note_deposited(work: UnitOfWork, peer: ServerName, digest: str) -> None:
    """A deposit is on its way to the peer."""
    work.upsert(deposit_rounds, {"peer": peer, "deposited": digest}, ("deposited",))


def forget_rounds(work: UnitOfWork, peer: ServerName) -> None:
    """Part of revoking a peer."""
    work.execute(delete(deposit_rounds).where(deposit_rounds.c.peer == peer))
