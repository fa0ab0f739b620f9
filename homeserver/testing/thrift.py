"""What lets a thousand servers fit into one process. Nothing that a server does is left out.

A template database is copied for each server instead of made; every server's SQLite shares the
compiled statements of one engine, reads through the connection that writes, and keeps small caches.
"""

import gc
import resource
import shutil
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from homeserver.storage.database import Database
from homeserver.storage.wake_ups import WakeUps
from homeserver.testing.disk import Disk
from homeserver.testing.watched_database import Side, Watch, WatchedDatabase

# The journal is one of memory: a database takes one file instead of three.
_PRAGMAS = ("cache_size=-100", "journal_mode=MEMORY", "locking_mode=EXCLUSIVE")
_FILE = "homeserver.db"


class Thrift:
    """What the servers of one large world share."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True)
        self._template = directory / _FILE
        self._first: Any = None
        Database(f"sqlite:///{self._template}", WakeUps(), inline=True).close()

    def furnish(self, directory: Path) -> None:
        """Put a database with every table, and nobody in it, into a server's directory."""
        shutil.copyfile(self._template, directory / _FILE)

    def open_database(
        self, url: str, wake_ups: WakeUps, watch: Watch, disk: Disk
    ) -> "ThriftyDatabase":
        """Open a server's database."""
        return ThriftyDatabase(url, wake_ups, watch, disk, self)

    def share(self, engine: Engine) -> Engine:
        """Let an engine use what the first one has compiled."""
        self._first = self._first or engine
        engine.dialect = self._first.dialect
        engine._compiled_cache = self._first._compiled_cache  # noqa: SLF001 - no other way
        return engine


class ThriftyDatabase(WatchedDatabase):
    """A `WatchedDatabase` with one connection and small caches. Nothing crashes at its commits."""

    def __init__(
        self, url: str, wake_ups: WakeUps, watch: Watch, disk: Disk, thrift: Thrift
    ) -> None:
        self._thrift = thrift
        super().__init__(url, wake_ups, watch, disk)
        self._reading.close()
        self._closed, self._reading, self._scanning = self._reading, self._writing, self._writing
        for pragma in _PRAGMAS:
            self._writing.exec_driver_sql(f"PRAGMA {pragma}")

    def close(self) -> None:
        """Let go of the files."""
        self._reading = self._scanning = self._closed
        super().close()

    def _open_engine(self, url: str) -> Engine:
        return self._thrift.share(super()._open_engine(url))

    def _crashes(self, side: Side, work: str) -> bool:
        del side, work
        return self._is_dead


def raise_limits() -> None:
    """Allow as many open files as the system lets us, and look for garbage more rarely."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    gc.set_threshold(100_000, 50, 100)
