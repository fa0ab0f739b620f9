"""A copy of the database as it is at one moment, made while the server goes on."""

import contextlib
import sqlite3
from pathlib import Path

from homeserver import errors

_SQLITE = "sqlite:///"


class NoFile(errors.HomeserverError):
    """The database is PostgreSQL's: copy it with pg_dump, and the data directory beside it."""


def file_of(url: str) -> Path:
    """The file of a SQLite database. Raises NoFile for any other."""
    if not url.startswith(_SQLITE):
        raise NoFile
    return Path(url.removeprefix(_SQLITE))


def copy_database(url: str, target: Path) -> None:
    """Copy a SQLite database in one read transaction; nothing is written to the original."""
    source = f"{file_of(url).as_uri()}?mode=ro"
    with (
        contextlib.closing(sqlite3.connect(source, uri=True)) as live,
        contextlib.closing(sqlite3.connect(target)) as copy,
    ):
        live.backup(copy)
