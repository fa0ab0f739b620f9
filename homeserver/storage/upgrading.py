"""Bring a database's schema up to date, or refuse one that is ahead of this program.

An empty database gets every table at once; an older one the migrations it lacks. Alembic costs a
tenth of a second and 6 MiB to import, so it is imported only where there is something to migrate.
"""

import contextlib
import importlib.resources
import re
from collections.abc import Iterator
from importlib.resources.abc import Traversable
from typing import Any

from sqlalchemy import Column, Connection, Engine, MetaData, String, Table, insert, inspect, select

from homeserver import errors
from homeserver.storage.schema import metadata

# Alembic's own table, declared here so that asking for the revision does not need Alembic.
_versions = Table(
    "alembic_version", MetaData(), Column("version_num", String(32), primary_key=True)
)


class DatabaseTooNew(errors.HomeserverError):
    """The database was written by a newer version of this program."""


def upgrade(engine: Engine) -> None:
    """Make the schema what this program expects, in one transaction. Raises DatabaseTooNew."""
    known = known_revisions()
    with engine.connect() as connection:
        if known and current_revision(connection) == known[-1]:
            return
        with _transaction(connection):
            _bring_up_to_date(connection, known)


def known_revisions() -> list[str]:
    """The revisions this program has migrations for, oldest first: their files' numbers."""
    files = (_scripts() / "versions").iterdir()
    matches = (re.fullmatch(r"([0-9]{4})_\w+\.py", file.name) for file in files)
    return sorted(match[1] for match in matches if match)


def current_revision(connection: Connection) -> str | None:
    """The revision of a database; None for an empty one."""
    if not inspect(connection).has_table(_versions.name):
        return None
    revision: str | None = connection.scalar(select(_versions.c.version_num))
    return revision


def migrate(connection: Connection) -> None:
    """Run every migration that a database lacks. The caller holds the transaction."""
    from alembic import command

    command.upgrade(alembic_config(connection), "head")


def alembic_config(connection: Connection) -> Any:
    """What Alembic needs to know; env.py takes the connection from it."""
    from alembic.config import Config

    configuration = Config()
    configuration.set_main_option("script_location", str(_scripts()).replace("%", "%%"))
    configuration.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    configuration.attributes["connection"] = connection
    return configuration


def _scripts() -> Traversable:
    return importlib.resources.files("migrations")


def _bring_up_to_date(connection: Connection, known: list[str]) -> None:
    revision = current_revision(connection)
    if revision is None:
        _create(connection, known)
    elif revision not in known:
        raise DatabaseTooNew(
            f"The database has schema {revision}; this program knows them up to "
            f"{known[-1] if known else 'none'}. Install the newer version again, or restore a "
            "backup from before it."
        )
    else:
        migrate(connection)


def _create(connection: Connection, known: list[str]) -> None:
    """Every table as it is now. A test compares this with what the migrations make."""
    metadata.create_all(connection)
    if known:
        _versions.create(connection, checkfirst=True)
        connection.execute(insert(_versions), {"version_num": known[-1]})


@contextlib.contextmanager
def _transaction(connection: Connection) -> Iterator[None]:
    """Begun and ended by hand, as everywhere in storage: the engine commits automatically."""
    is_sqlite = connection.dialect.name == "sqlite"
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_sqlite else "BEGIN")
    try:
        yield
    except BaseException:
        connection.exec_driver_sql("ROLLBACK")
        raise
    connection.exec_driver_sql("COMMIT")
