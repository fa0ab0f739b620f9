"""One transaction: what it reads and writes, the positions it takes, whom it wakes afterwards."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol

from sqlalchemy import Connection, Dialect, Executable, Insert, Row, Select, Table, exc, insert

from homeserver.storage import prepared, tables


class Ran(Protocol):
    """What a statement has done."""

    @property
    def rowcount(self) -> int:
        """How many rows it changed."""
        ...


@lru_cache(maxsize=128)
def _spelled(
    statement: Select[Any], dialect: Dialect
) -> tuple[str, tuple[str, ...] | None, Mapping[str, Any]]:
    """A statement's text, the names of its parameters if it counts them, and those with values."""
    compiled = statement.compile(dialect=dialect)
    names = tuple(compiled.positiontup or ()) if compiled.positional else None
    return str(compiled), names, compiled.params


class View:
    """Reads. Every storage query takes one as its first argument."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._driver = prepared.driver_of(connection)

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._connection.dialect.name

    @property
    def database_key(self) -> Hashable:
        """The database this reads: what its immutable rows are remembered under."""
        return self._connection.engine

    def execute(
        self,
        statement: Executable,
        parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    ) -> Ran:
        """Run one statement that writes; a sequence of parameters runs it once for each."""
        known = self._find(statement, parameters)
        if known is None or self._driver is None:
            return self._connection.execute(statement, parameters)
        return known.change(self._driver, parameters)

    def all(
        self, statement: Executable, parameters: Mapping[str, Any] | None = None
    ) -> Sequence[Row[*tuple[Any, ...]]]:
        """Every row."""
        known = self._find(statement, parameters)
        if known is None or self._driver is None:
            return self._connection.execute(statement, parameters).all()
        return known.all(self._driver, parameters)

    def raw(
        self, statement: Select[Any], parameters: Mapping[str, Any] | None = None
    ) -> list[tuple[Any, ...]]:
        """Every row as the driver gives it, flags as 0 and 1 perhaps.

        For prebuilt statements that are run very often, or give thousands of rows: nothing stands
        between them and the driver. Every parameter is given; texts and integers only.
        """
        dialect = self._connection.dialect
        text, names, constants = _spelled(statement, dialect)
        given = {**constants, **(parameters or {})}
        values = given if names is None else [given[name] for name in names]
        cursor = self._connection.connection.cursor()
        try:
            cursor.execute(text, values)
            return list(cursor.fetchall())
        except dialect.loaded_dbapi.Error as error:
            raise exc.DBAPIError.instance(text, None, error, dialect.loaded_dbapi.Error) from error
        finally:
            cursor.close()

    def one_or_none(
        self, statement: Executable, parameters: Mapping[str, Any] | None = None
    ) -> Row[*tuple[Any, ...]] | None:
        """The first row, if there is one."""
        known = self._find(statement, parameters)
        if known is None or self._driver is None:
            return self._connection.execute(statement, parameters).first()
        return known.first(self._driver, parameters)

    def scalar(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> Any:
        """The first column of the first row, or None."""
        row = self.one_or_none(statement, parameters)
        return None if row is None else row[0]

    def _find(
        self,
        statement: Executable,
        parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None,
    ) -> prepared.Prepared | None:
        if self._driver is None:
            return None
        return prepared.find(statement, parameters, self._connection.dialect)


class UnitOfWork(View):
    """One transaction on the one writer. Never leaves the operation it was given to."""

    def __init__(self, connection: Connection, position: int) -> None:
        super().__init__(connection)
        self.position = position
        self.topics: set[str] = set()
        self.afterwards: list[Callable[[], None]] = []
        self.upon_commit: list[Callable[[], None]] = []
        self.has_given_back = False

    def next_position(self) -> int:
        """Number a change that a sync must show. Positions become visible in their order."""
        self.position += 1
        return self.position

    def skip_positions(self, count: int) -> None:
        """Leave out positions that this database may have given in a life it forgot."""
        self.position += count

    def wake(self, topic: str) -> None:
        """Wake the topic's listeners once this is committed."""
        self.topics.add(topic)

    def after_commit(self, call: Callable[[], None]) -> None:
        """Call this on the event loop once committed; not at all if it rolls back.

        For what lives in memory only, such as a cache that has to forget something.
        """
        self.afterwards.append(call)

    def give_back_space(self) -> None:
        """Give the file system what deleted rows took; what they said is nowhere after that."""
        if self.dialect == "sqlite":
            freed = self._connection.exec_driver_sql("PRAGMA incremental_vacuum")
            if freed.returns_rows:
                freed.all()
            self.has_given_back = True

    def at_commit(self, call: Callable[[], None]) -> None:
        """Call this on the writer's thread once committed, before any read sees the new position.

        For what is remembered of the database and has to be as new as the position that is read.
        """
        self.upon_commit.append(call)

    def insert(self, table: Table, **values: Any) -> None:
        """Add one row."""
        self.execute(_insert(table, tuple(values)), values)

    def insert_numbered(self, table: Table, **values: Any) -> int:
        """Add one row to a table that numbers its rows; the row's number."""
        added = self._connection.execute(_insert(table, tuple(values)), values)
        key = added.inserted_primary_key
        if key is None:
            raise ValueError(f"{table.name} has no number")
        return int(key[0])

    def insert_many(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add several rows of the same columns in one statement."""
        if rows:
            self.execute(_insert(table, tuple(rows[0])), rows)

    def change(self, table: Table, key: Mapping[str, Any], changes: Mapping[str, Any]) -> None:
        """Change columns of the rows that have these values in other columns."""
        values = dict(changes) | {f"{name}_": value for name, value in key.items()}
        self.execute(tables.change(table, tuple(key), tuple(changes)), values)

    def delete(self, table: Table, **key: Any) -> int:
        """Delete the rows that have these values in these columns; how many there were."""
        return self.execute(tables.delete_where(table, tuple(key)), key).rowcount

    def upsert(
        self, table: Table, values: Mapping[str, Any], changes: Sequence[str] | None = None
    ) -> None:
        """Add a row or change the one with its primary key; see `tables.upsert`."""
        self.upsert_many(table, [values], changes)

    def upsert_many(
        self,
        table: Table,
        rows: Sequence[Mapping[str, Any]],
        changes: Sequence[str] | None = None,
    ) -> None:
        """`upsert` for several rows of the same columns."""
        if not rows:
            return
        statement = tables.upsert(
            table, self.dialect, tuple(rows[0]), None if changes is None else tuple(changes)
        )
        self.execute(statement, rows if len(rows) > 1 else rows[0])


@lru_cache(maxsize=512)
def _insert(table: Table, _columns: tuple[str, ...]) -> Insert:
    """One statement for each set of columns, so that it is prepared once."""
    return insert(table)
