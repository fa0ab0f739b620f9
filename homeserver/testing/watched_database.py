"""A database that runs inline and stops at every commit, so that a server can crash exactly there.

A *boundary* is the moment before or after one commit. Crashing before it loses the transaction;
crashing after it keeps the transaction, but nobody is ever told.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from homeserver.storage.database import Database
from homeserver.storage.unit_of_work import UnitOfWork
from homeserver.storage.wake_ups import WakeUps
from homeserver.testing.disk import Disk

Side = Literal["before", "after", "at"]


@dataclass(frozen=True, slots=True)
class Boundary:
    """One place where a server may crash: the commit's number in its run, its side, its work.

    A named crash point is `at` its name, after so many commits.
    """

    number: int
    side: Side
    work: str

    def __str__(self) -> str:
        if self.side == "at":
            return f"at {self.work}, after commit {self.number}"
        return f"{self.side} commit {self.number} ({self.work})"


# Told of every boundary; True to crash there.
Watch = Callable[[Boundary], bool]


class WatchedDatabase(Database):
    """A `Database` on virtual time, without threads and without waiting for the disk."""

    def __init__(self, url: str, wake_ups: WakeUps, watch: Watch, disk: Disk) -> None:
        super().__init__(url, wake_ups, inline=True)
        self._disk = disk
        for connection in (self._writing, self._reading):
            connection.exec_driver_sql("PRAGMA synchronous=OFF")
        self._watch = watch
        self._is_dead = False
        self.commits = 0

    async def write(self, operation: Callable[[UnitOfWork], Any]) -> Any:
        """Write, as quickly as the disk does. Whoever goes away meanwhile stops nothing."""
        try:
            await self._disk.wait()
        except asyncio.CancelledError:
            with contextlib.suppress(Exception):
                await super().write(operation)
            raise
        return await super().write(operation)

    def die(self) -> None:
        """From now on nothing that is asked of this database ever happens."""
        self._is_dead = True

    @property
    def changes(self) -> int:
        """How many rows have been written so far; a transaction may write none."""
        count: int = self._writing.connection.dbapi_connection.total_changes  # type: ignore[union-attr]
        return count

    def drop(self) -> None:
        """Let go of the files as a process does that was killed."""
        with contextlib.suppress(Exception):
            self._scanner.shutdown()
        for connection in (self._reading, self._scanning, self._writing):
            if connection is not None:
                connection.close()
        self._engine.dispose()

    def _run_group(self, group: Any) -> Any:
        work = _name(group[0].operation)
        if self._is_dead or self._crashes("before", work):
            return None
        committed = super()._run_group(group)
        self.commits += 1
        return None if self._crashes("after", work) else committed

    def _commit(self, group: Any) -> Any:
        self._disk.check()
        return super()._commit(group)

    def _tell(self, committed: Any) -> None:
        if committed is not None:
            super()._tell(committed)

    def _crashes(self, side: Side, work: str) -> bool:
        number = self.commits + (1 if side == "before" else 0)
        if self._watch(Boundary(number, side, work)):
            self.die()
        return self._is_dead


def _name(operation: Any) -> str:
    """The method that a transaction stands in, such as `channel.Channel._turn`."""
    module = str(getattr(operation, "__module__", "")).rpartition(".")[2]
    name = str(getattr(operation, "__qualname__", type(operation).__name__))
    return f"{module}.{name.partition('.<locals>')[0]}"


def digest_of(connection_url: str) -> str:
    """A digest of every row of every table of a stopped or idle server's SQLite database."""
    import hashlib
    import sqlite3

    digest = hashlib.sha256()
    with contextlib.closing(sqlite3.connect(connection_url)) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        for (table,) in sorted(names.fetchall()):
            rows = connection.execute(f'SELECT * FROM "{table}"').fetchall()  # noqa: S608 - ours
            digest.update(repr((table, sorted(map(repr, rows)))).encode())
    return digest.hexdigest()
