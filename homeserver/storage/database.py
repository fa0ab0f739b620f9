"""Open SQLite or PostgreSQL: one thread that writes, one connection for point reads, one for scans.

Operations that wait for the writer share one commit (group commit). SQLite runs in WAL with
`synchronous=FULL`: what was acknowledged survives a power cut, and a ratchet never goes back.
Exactly one connection writes and checkpoints, which also keeps clear of the WAL-reset bug of
SQLite before 3.51.3.
"""

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, exc, select
from sqlalchemy.pool import NullPool

from homeserver import errors
from homeserver.storage import prepared, tables, upgrading
from homeserver.storage.unit_of_work import UnitOfWork, View
from homeserver.storage.wake_ups import WakeUps

T = TypeVar("T")

_GROUP_SIZE = 50
_QUEUE_LIMIT = 5_000
_PATIENCE = "busy_timeout=10000"
_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    _PATIENCE,
    "temp_store=MEMORY",
    # What is deleted is gone from the file, not only from its tables; nothing is left to be found.
    "secure_delete=ON",
    # Counts where the file is made: then it can become smaller again.
    "auto_vacuum=INCREMENTAL",
)


class DatabaseDamaged(errors.HomeserverError):
    """The database failed its integrity check. Restore a backup."""


class Overloaded(errors.LimitExceeded):
    """The server has too much to write at the moment. Try again in a second."""


@dataclass(slots=True)
class _Waiting:
    operation: Callable[[UnitOfWork], Any]
    future: "asyncio.Future[Any]"


@dataclass(slots=True)
class _Outcome:
    future: "asyncio.Future[Any]"
    result: Any = None
    error: BaseException | None = None


@dataclass(slots=True)
class _Committed:
    """What the event loop must do after a commit: answer, wake, call."""

    outcomes: list[_Outcome]
    topics: set[str]
    afterwards: list[Callable[[], None]]


class Database:
    """The server's one database.

    `url` as SQLAlchemy spells it. With `inline=True` operations run on the caller's thread, so
    that a simulation's seed decides every order.
    """

    def __init__(self, url: str, wake_ups: WakeUps, *, inline: bool = False) -> None:
        self.wake_ups = wake_ups
        self._engine = self._open_engine(url)
        self._was_running = _prepare(self._engine)
        self._writing = self._engine.connect()
        self._reading = self._engine.connect()
        self._scanning: Connection | None = None
        self._position = _load_position(self._writing)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._scanner = ThreadPoolExecutor(1, thread_name_prefix="database-scan")
        self._inline = inline
        self._writer = threading.Thread(target=self._write_forever, name="database-write")
        if not inline:
            self._writer.daemon = True
            self._writer.start()

    @property
    def position(self) -> int:
        """The newest committed position; everything up to it is visible to reads."""
        return self._position

    @property
    def had_unclean_stop(self) -> bool:
        """Whether the last server to use this database ended without closing it."""
        return self._was_running

    async def write(self, operation: Callable[[UnitOfWork], T]) -> T:
        """Run an operation in a transaction on the writer and return what it returned.

        The operation may run twice (when another one of its group fails), so it must have no
        effects outside its unit of work.
        """
        self._loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = self._loop.create_future()
        if self._inline:
            self._tell(self._run_group([_Waiting(operation, future)]))
        elif self._queue.qsize() >= _QUEUE_LIMIT:
            raise Overloaded(1_000)
        else:
            self._queue.put(_Waiting(operation, future))
        result: T = await future
        return result

    def read(self, operation: Callable[[View], T]) -> T:
        """Run point reads here and now, on the event loop's thread."""
        return operation(View(self._reading))

    async def scan(self, operation: Callable[[View], T]) -> T:
        """Run long reads on the reader thread, all of them on one snapshot."""
        if self._inline:
            return self._scan(operation)
        return await asyncio.get_running_loop().run_in_executor(
            self._scanner, self._scan, operation
        )

    def close(self) -> None:
        """Finish what is queued, mark the stop as clean, and let go of the files."""
        if self._writer.is_alive():
            self._queue.put(None)
            self._writer.join()
        self._scanner.shutdown()
        for connection in (self._reading, self._scanning):
            if connection is not None:
                connection.close()
        with contextlib.suppress(exc.OperationalError):  # a full disk: checked at the next start
            _mark_running(self._writing, is_running=False)
        self._writing.close()
        self._engine.dispose()

    def _open_engine(self, url: str) -> Engine:
        return _engine(url)

    def _scan(self, operation: Callable[[View], T]) -> T:
        if self._scanning is None:
            self._scanning = self._engine.connect()
        self._scanning.exec_driver_sql(
            "BEGIN"
            if self._engine.dialect.name == "sqlite"
            else "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
        )
        try:
            return operation(View(self._scanning))
        finally:
            self._scanning.exec_driver_sql("COMMIT")

    def _write_forever(self) -> None:
        waiting = self._queue.get()
        while waiting is not None:
            group, waiting_next = self._collect(waiting)
            committed = self._run_group(group)
            loop = self._loop
            if loop is not None and not loop.is_closed():
                loop.call_soon_threadsafe(self._tell, committed)
            if waiting_next is _STOP:
                return
            waiting = self._queue.get()

    def _collect(self, first: _Waiting) -> tuple[list[_Waiting], object]:
        """Everything that waits now, up to the size of a group; and whether to stop after it."""
        group = [first]
        while len(group) < _GROUP_SIZE:
            try:
                waiting = self._queue.get_nowait()
            except queue.Empty:
                break
            if waiting is None:
                return group, _STOP
            group.append(waiting)
        return group, None

    def _run_group(self, group: list[_Waiting]) -> _Committed:
        try:
            return self._commit(group)
        except Exception as error:  # noqa: BLE001 - whatever it is belongs to its caller
            if len(group) == 1:
                return _Committed([_Outcome(group[0].future, error=_named(error))], set(), [])
        alone = [self._run_group([waiting]) for waiting in group]
        return _Committed(
            [outcome for one in alone for outcome in one.outcomes],
            set().union(*(one.topics for one in alone)),
            [call for one in alone for call in one.afterwards],
        )

    def _commit(self, group: list[_Waiting]) -> _Committed:
        work = UnitOfWork(self._writing, self._position)
        prepared.plainly(self._writing, "BEGIN IMMEDIATE" if work.dialect == "sqlite" else "BEGIN")
        try:
            outcomes = [_Outcome(one.future, one.operation(work)) for one in group]
            if work.position != self._position:
                work.upsert(tables.counters, {"name": "position", "value": work.position})
            prepared.plainly(self._writing, "COMMIT")
        except BaseException:
            with contextlib.suppress(exc.OperationalError):  # SQLite did it, if the disk is full
                self._writing.exec_driver_sql("ROLLBACK")
            raise
        if work.has_given_back:
            _empty_log(self._writing)
        for call in work.upon_commit:
            call()
        self._position = work.position
        return _Committed(outcomes, work.topics, work.afterwards)

    def _tell(self, committed: _Committed) -> None:
        for call in committed.afterwards:
            call()
        for outcome in committed.outcomes:
            if outcome.future.done():
                continue
            if outcome.error is not None:
                outcome.future.set_exception(outcome.error)
            else:
                outcome.future.set_result(outcome.result)
        self.wake_ups.tell(committed.topics)


_STOP = object()


def is_passing(error: Exception) -> bool:
    """Whether the machine failed and not the work: a disk that is full or ill, a server away.

    The same work may succeed later, and must not be given up.
    """
    if isinstance(error, exc.OperationalError):
        return getattr(error.orig, "sqlite_errorcode", None) != sqlite3.SQLITE_ERROR
    return isinstance(error, OSError | MemoryError | errors.StorageFull | Overloaded)


def _named(error: Exception) -> Exception:
    """A full disk in words; any other error as it is."""
    cause = error.orig if isinstance(error, exc.DBAPIError) else None
    codes = getattr(cause, "sqlite_errorcode", None), getattr(cause, "sqlstate", None)
    return errors.StorageFull() if sqlite3.SQLITE_FULL in codes or "53100" in codes else error


def _engine(url: str) -> Engine:
    engine = create_engine(
        url,
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",  # transactions are begun and ended by hand, above
        connect_args={"check_same_thread": False} if url.startswith("sqlite") else {},
        insertmanyvalues_page_size=500,
        hide_parameters=True,  # what an error holds may be logged
    )
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _set_pragmas)
    else:
        event.listen(engine, "connect", _keep_nul_out)
    return engine


def _set_pragmas(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _keep_nul_out(connection: Any, _record: Any) -> None:
    """PostgreSQL's text holds no NUL, but a peer's event may: U+FFFD stands for it in columns.

    The event itself is kept as bytes, as it came.
    """
    from psycopg.types.string import StrDumperUnknown

    class TextDumper(StrDumperUnknown):
        def dump(self, obj: str) -> Any:
            return super().dump(obj.replace("\0", "\ufffd"))

    connection.adapters.register_dumper(str, TextDumper)


def _prepare(engine: Engine) -> bool:
    """Bring the schema up to date; after an unclean stop check the database first."""
    upgrading.upgrade(engine)
    with engine.connect() as connection:
        was_running = bool(
            connection.scalar(
                select(tables.counters.c.value).where(tables.counters.c.name == "running")
            )
        )
        if was_running and engine.dialect.name == "sqlite":
            verdict = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
            if verdict != "ok":
                raise DatabaseDamaged
        _mark_running(connection, is_running=True)
    return was_running


def _empty_log(connection: Connection) -> None:
    """Let nothing of what was deleted stand in the log; not while somebody reads: then later."""
    connection.exec_driver_sql("PRAGMA busy_timeout=0")
    connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").all()
    connection.exec_driver_sql(f"PRAGMA {_PATIENCE}")


def _mark_running(connection: Connection, *, is_running: bool) -> None:
    statement = tables.upsert(tables.counters, connection.dialect.name, ("name", "value"), None)
    connection.execute(statement, {"name": "running", "value": int(is_running)})


def _load_position(connection: Connection) -> int:
    return (
        connection.scalar(
            select(tables.counters.c.value).where(tables.counters.c.name == "position")
        )
        or 0
    )
