"""What all tables share: the metadata, portable column types, and upsert."""

from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Delete,
    Insert,
    Integer,
    MetaData,
    String,
    Table,
    Update,
    bindparam,
    delete,
    select,
    update,
)
from sqlalchemy.dialects.sqlite.dml import Insert as SqliteInsert

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite numbers rows by itself only in a column declared INTEGER.
RowNumber = BigInteger().with_variant(Integer, "sqlite")

# The newest committed position, and whether a server has the database open.
counters = Table(
    "counters",
    metadata,
    Column("name", String, primary_key=True),
    Column("value", BigInteger, nullable=False),
)

COUNTER = select(counters.c.value).where(counters.c.name == bindparam("name"))


@lru_cache(maxsize=512)
def change(table: Table, key: tuple[str, ...], columns: tuple[str, ...]) -> Update:
    """Change columns where the columns of the key, given with `_` behind their names, are so."""
    where = [table.c[name] == bindparam(f"{name}_") for name in key]
    values: dict[str, Any] = {name: bindparam(name) for name in columns}
    return update(table).where(*where).values(values)


@lru_cache(maxsize=512)
def delete_where(table: Table, key: tuple[str, ...]) -> Delete:
    """Delete where these columns are so."""
    return delete(table).where(*(table.c[name] == bindparam(name) for name in key))


@lru_cache(maxsize=512)
def upsert(
    table: Table, dialect: str, columns: tuple[str, ...], changes: tuple[str, ...] | None
) -> Insert:
    """Insert a row, or change the one with the same primary key.

    `changes` names the columns to change then: all that are not the key where None is given; with
    an empty tuple an existing row stays as it is.
    """
    insert: Any = _insert(table, dialect)
    key = [column.name for column in table.primary_key.columns]
    changed = changes if changes is not None else tuple(c for c in columns if c not in key)
    statement: Insert = (
        insert.on_conflict_do_update(
            index_elements=key, set_={name: insert.excluded[name] for name in changed}
        )
        if changed
        else insert.on_conflict_do_nothing(index_elements=key)
    )
    return statement


def _insert(table: Table, dialect: str) -> Insert:
    """An INSERT that knows ON CONFLICT; what one dialect needs is loaded only where it is used."""
    if dialect == "postgresql":
        from sqlalchemy.dialects.postgresql.dml import Insert as PostgresInsert

        return PostgresInsert(table)
    return SqliteInsert(table)
