"""The aliases of this server: which room each of them leads to."""

from dataclasses import asdict, dataclass

from sqlalchemy import Column, String, Table, delete, insert, select, update

from homeserver.matrix.identifiers import RoomAlias, RoomId, UserId
from homeserver.storage.tables import metadata
from homeserver.storage.unit_of_work import UnitOfWork, View

room_aliases = Table(
    "room_aliases",
    metadata,
    Column("alias", String, primary_key=True),
    Column("room_id", String, nullable=False, index=True),
    Column("creator", String, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Alias:
    """A room alias of this server."""

    alias: RoomAlias
    room_id: RoomId
    creator: UserId


def save_alias(work: UnitOfWork, alias: Alias) -> None:
    """Keep an alias of this server."""
    work.execute(insert(room_aliases), asdict(alias))


def find_alias(view: View, alias: RoomAlias) -> Alias | None:
    """An alias of this server."""
    row = view.one_or_none(select(room_aliases).where(room_aliases.c.alias == alias))
    return Alias(**row._mapping) if row is not None else None  # noqa: SLF001 - public in SQLAlchemy


def aliases_of(view: View, room_id: RoomId) -> list[RoomAlias]:
    """A room's aliases on this server."""
    statement = select(room_aliases.c.alias).where(room_aliases.c.room_id == room_id)
    return [row.alias for row in view.all(statement.order_by(room_aliases.c.alias))]


def move_aliases(work: UnitOfWork, before: RoomId, after: RoomId) -> list[RoomAlias]:
    """Let every alias of one room lead to another; returns them."""
    moved = aliases_of(work, before)
    statement = update(room_aliases).where(room_aliases.c.room_id == before)
    work.execute(statement.values(room_id=after))
    return moved


def delete_alias(work: UnitOfWork, alias: RoomAlias) -> None:
    """Let go of an alias."""
    work.execute(delete(room_aliases).where(room_aliases.c.alias == alias))
