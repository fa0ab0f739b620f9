"""Statements that are built once run on SQLite without being looked at again each time.

Compiling a statement gives its SQL, the order of its parameters, and how values are converted. For
a statement that is kept and used again all of that is remembered, and SQLite's own driver is
called; a statement that is built anew for each use goes the ordinary way. Rows are the same.
"""

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from operator import itemgetter
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Boolean, Connection, Executable, LargeBinary, Row, exc
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.engine.result import SimpleResultMetaData
from sqlalchemy.sql import Delete, Insert, Select, Update
from sqlalchemy.sql.compiler import SQLCompiler

Values = Mapping[str, Any]
Rows = Sequence[Row[*tuple[Any, ...]]]
_MOST_SHAPES = 64
# SQLite's driver takes bytes and truth values; to convert them costs more than the row.
_TAKEN_AS_THEY_ARE = (LargeBinary, Boolean)
_Convert = Callable[[Any], Any]
_Arrange = Callable[[Values], tuple[Any, ...]]
_MakeRow = Callable[[Iterable[Any]], Row[*tuple[Any, ...]]]


@dataclass(frozen=True, slots=True)
class Changed:
    """What a statement that writes has done."""

    rowcount: int


@dataclass(frozen=True, slots=True)
class Prepared:
    """One statement's SQL, for parameters of these names; `row` makes a row of what it finds."""

    sql: str
    names: frozenset[str]
    arrange: _Arrange
    row: _MakeRow | None

    def change(
        self, driver: sqlite3.Connection, parameters: Values | Sequence[Values] | None
    ) -> Changed:
        """Run a statement that writes, once or once for each of several."""
        try:
            if parameters is None or isinstance(parameters, Mapping):
                return Changed(driver.execute(self.sql, self.arrange(parameters or {})).rowcount)
            return Changed(driver.executemany(self.sql, map(self.arrange, parameters)).rowcount)
        except sqlite3.Error as error:
            raise _named(self.sql, error) from error

    def first(
        self, driver: sqlite3.Connection, parameters: Values | None
    ) -> Row[*tuple[Any, ...]] | None:
        """The first row that it finds."""
        try:
            found = driver.execute(self.sql, self.arrange(parameters or {})).fetchone()
        except sqlite3.Error as error:
            raise _named(self.sql, error) from error
        return None if found is None or self.row is None else self.row(found)

    def all(self, driver: sqlite3.Connection, parameters: Values | None) -> Rows:
        """Every row that it finds."""
        try:
            found = driver.execute(self.sql, self.arrange(parameters or {})).fetchall()
        except sqlite3.Error as error:
            raise _named(self.sql, error) from error
        return [] if self.row is None else [*map(self.row, found)]


@dataclass(frozen=True, slots=True)
class Expanding:
    """A statement with lists in it (`IN`): its SQL depends on how long they are."""

    compiled: SQLCompiler
    names: frozenset[str]
    lists: tuple[str, ...]  # those that are given; others are the same each time
    row: _MakeRow | None
    shapes: dict[tuple[int, ...], Prepared] = field(default_factory=dict)

    def shaped(self, values: Values) -> Prepared | None:
        """For lists of this length; None if there are too many lengths to remember."""
        lengths = tuple(len(values[name]) for name in self.lists)
        known = self.shapes.get(lengths)
        if known is None and len(self.shapes) < _MOST_SHAPES:
            known = self.shapes[lengths] = self._prepare(values)
        return known

    def _prepare(self, values: Values) -> Prepared:
        state = self.compiled.construct_expanded_state(values, escape_names=False)
        names = state.positiontup or ()
        fixed = {name: state.parameters[name] for name in names if name not in values}
        spread = {name: tuple(state.parameter_expansion[name]) for name in self.lists}
        converts = tuple(
            (name, state.processors[name]) for name in names if name in state.processors
        )
        arrange = partial(_spread_out, _picker(names), fixed, converts, tuple(spread.items()))
        return Prepared(state.statement, self.names, arrange, self.row)


class _Known(Enum):
    """What is known of a statement that is not prepared."""

    SEEN = 1  # once
    UNFIT = 2  # it has something that only SQLAlchemy can do


class _Unfit(Exception):
    """See `_Known.UNFIT`."""


_prepared: WeakKeyDictionary[Executable, Prepared | Expanding | _Known] = WeakKeyDictionary()


def driver_of(connection: Connection) -> sqlite3.Connection | None:
    """SQLite's own connection below this one; None if that is another database."""
    driver = connection.connection.dbapi_connection
    return driver if isinstance(driver, sqlite3.Connection) else None


def plainly(connection: Connection, sql: str) -> None:
    """Run what has no parameters and finds nothing."""
    driver = driver_of(connection)
    if driver is None:
        connection.exec_driver_sql(sql)
        return
    try:
        driver.execute(sql)
    except sqlite3.Error as error:
        raise _named(sql, error) from error


def find(
    statement: Executable, parameters: Values | Sequence[Values] | None, dialect: Dialect
) -> Prepared | None:
    """The statement as it was prepared; None as long as it is not known to be used again."""
    known = _prepared.get(statement)
    if known is None:
        _prepared[statement] = _Known.SEEN
        return None
    if known is _Known.UNFIT:
        return None
    given = _first(parameters)
    if known is _Known.SEEN:
        known = _prepared[statement] = _prepare(statement, given, dialect)
    if isinstance(known, _Known) or known.names != given.keys():
        return None
    return known if isinstance(known, Prepared) else known.shaped(given)


def _first(parameters: Values | Sequence[Values] | None) -> Values:
    if isinstance(parameters, Mapping):
        return parameters
    return parameters[0] if parameters else {}


def _prepare(
    statement: Executable, given: Values, dialect: Dialect
) -> Prepared | Expanding | _Known:
    if not isinstance(statement, Select | Insert | Update | Delete):
        return _Known.UNFIT
    compiled = statement.compile(dialect=dialect, column_keys=sorted(given))
    try:
        _check(compiled)
        row = _row_of(compiled, dialect) if isinstance(statement, Select) else None
        names = frozenset(given)
        if not names <= set(compiled.positiontup or ()):
            return _Known.UNFIT
        if compiled.post_compile_params:
            return Expanding(compiled, names, _lists_of(compiled, names), row)
        return Prepared(compiled.string, names, _arranger(compiled, given), row)
    except _Unfit:
        return _Known.UNFIT


def _check(compiled: SQLCompiler) -> None:
    needs_more = (
        compiled.literal_execute_params,
        compiled.insert_prefetch,
        compiled.update_prefetch,
        (compiled.isinsert or compiled.isupdate or compiled.isdelete)
        and compiled.effective_returning,
        compiled.escaped_bind_names,
    )
    if any(needs_more):
        raise _Unfit


def _lists_of(compiled: SQLCompiler, given: frozenset[str]) -> tuple[str, ...]:
    lists = {bind.key for bind in compiled.post_compile_params}
    return tuple(sorted(lists & given))


def _arranger(compiled: SQLCompiler, given: Values) -> _Arrange:
    """What puts values into the order and the form that the SQL wants."""
    names = compiled.positiontup or []
    fixed = {name: compiled.binds[name] for name in names if name not in given}
    if any(bind.required for bind in fixed.values()):
        raise _Unfit
    constants = {name: bind.effective_value for name, bind in fixed.items()}
    binders = compiled._bind_processors  # noqa: SLF001 - no other way
    converts: dict[str, Any] = {
        name: binders[name]
        for name in names
        if name in binders and not isinstance(compiled.binds[name].type, _TAKEN_AS_THEY_ARE)
    }
    if not constants and not converts:
        return _picker(names)
    return partial(_arranged, _picker(names), constants, tuple(converts.items()))


def _picker(names: Sequence[str]) -> _Arrange:
    if len(names) > 1:
        return itemgetter(*names)
    return lambda values: tuple(values[name] for name in names)


def _arranged(
    pick: _Arrange, constants: Values, converts: Sequence[tuple[str, _Convert]], values: Values
) -> tuple[Any, ...]:
    ready = {**constants, **values}
    for name, convert in converts:
        ready[name] = convert(ready[name])
    return pick(ready)


def _spread_out(
    pick: _Arrange,
    constants: Values,
    converts: Sequence[tuple[str, _Convert]],
    lists: Sequence[tuple[str, Sequence[str]]],
    values: Values,
) -> tuple[Any, ...]:
    ready = {**constants, **values}
    for name, places in lists:
        ready.update(zip(places, values[name], strict=True))
    for name, convert in converts:
        ready[name] = convert(ready[name])
    return pick(ready)


def _row_of(compiled: SQLCompiler, dialect: Dialect) -> _MakeRow:
    columns = compiled._result_columns  # noqa: SLF001 - no other way
    names = [column.keyname for column in columns]
    if len(set(names)) != len(names):
        raise _Unfit
    converts = [
        column.type.dialect_impl(dialect).result_processor(dialect, None) for column in columns
    ]
    parent = SimpleResultMetaData(names, _processors=converts if any(converts) else None)
    used, places = parent._effective_processors, parent._key_to_index  # noqa: SLF001
    return partial(Row, parent, used, places)


def _named(sql: str, error: sqlite3.Error) -> Exception:
    """The error as SQLAlchemy names it, without the values."""
    named = exc.DBAPIError.instance(sql, None, error, sqlite3.Error, hide_parameters=True)
    return named if isinstance(named, Exception) else error
