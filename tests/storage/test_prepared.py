"""Statements that are used again are prepared, and tell the same as they did the first time."""

import sqlite3
from collections.abc import Sequence
from functools import partial

import pytest
from sqlalchemy import bindparam, delete, exc, func, insert, select, update

from homeserver.matrix.identifiers import ServerName
from homeserver.storage import prepared
from homeserver.storage.database import Database
from homeserver.storage.frames import outbox_items
from homeserver.storage.notices import notices
from homeserver.storage.prepared import Prepared
from homeserver.storage.unit_of_work import UnitOfWork, View

BOB = ServerName("bob.example")
NOTICE = {"at": 1, "kind": "request", "node_id": "a", "content": b"\x00\xff", "is_told": True}


def _fill(work: UnitOfWork) -> None:
    for number in range(4):
        work.insert(notices, **NOTICE | {"at": number, "is_told": number % 2 == 0})


async def test_every_use_of_a_statement_finds_the_same(database: Database) -> None:
    await database.write(_fill)
    one = select(notices).where(notices.c.at == bindparam("at"))
    fixed = select(func.count()).where(notices.c.at.in_([1, 2, 7]))
    for _ in range(4):
        row = database.read(lambda view: view.one_or_none(one, {"at": 2}))
        assert row is not None
        assert row.is_told is True
        assert row.event_id is None
        assert row._asdict() == dict(row._mapping)
        assert (row.at, row.kind, row.content) == (2, "request", b"\x00\xff")
        assert database.read(lambda view: view.one_or_none(one, {"at": 9})) is None
        assert database.read(lambda view: view.scalar(fixed)) == 2


@pytest.mark.parametrize("ats", [[], [1], [3, 1], [0, 1, 2, 3, 4, 5]])
async def test_a_list_may_have_another_length_each_time(
    database: Database, ats: Sequence[int]
) -> None:
    await database.write(_fill)
    statement = (
        select(notices.c.at)
        .where(notices.c.at.in_(bindparam("ats", expanding=True)), notices.c.kind == "request")
        .order_by(notices.c.at)
    )

    def found(view: View, wanted: Sequence[int]) -> list[int]:
        return [row.at for row in view.all(statement, {"ats": wanted})]

    for wanted in (ats, [2], ats, [0, 3], ats):
        expected = sorted(at for at in wanted if at < 4)
        assert database.read(partial(found, wanted=wanted)) == expected


async def test_a_list_of_too_many_lengths_is_still_found(database: Database) -> None:
    await database.write(_fill)
    statement = select(func.count()).where(notices.c.at.in_(bindparam("ats", expanding=True)))

    def count(view: View, length: int) -> int:
        found: int = view.scalar(statement, {"ats": list(range(length))})
        return found

    for length in range(100):
        assert database.read(partial(count, length=length)) == min(length, 4)


async def test_it_is_known_how_many_rows_were_changed(database: Database) -> None:
    await database.write(_fill)
    told = update(notices).where(notices.c.at > bindparam("at_")).values(is_told=True)
    gone = delete(notices).where(notices.c.at == bindparam("at_"))

    def operation(work: UnitOfWork) -> None:
        assert [work.execute(told, {"at_": at}).rowcount for at in (0, 1, 2, 3)] == [3, 2, 1, 0]
        several = [{"at_": 0}, {"at_": 1}]
        assert work.execute(gone, {"at_": 3}).rowcount == 1
        assert work.execute(gone, {"at_": 3}).rowcount == 0
        assert work.execute(gone, several).rowcount == 2
        assert work.delete(notices, at=2) == 1
        assert work.scalar(select(func.count()).select_from(notices)) == 0

    await database.write(operation)


async def test_rows_are_numbered_and_changed_by_their_columns(database: Database) -> None:
    def operation(work: UnitOfWork) -> None:
        numbers = [work.insert_numbered(notices, **NOTICE) for _ in range(3)]
        assert numbers == sorted(set(numbers))
        for number in numbers:
            work.change(notices, {"number": number, "kind": "request"}, {"kind": f"k{number}"})
            work.change(notices, {"number": number, "kind": "request"}, {"kind": "never"})
        kinds = [row.kind for row in work.all(select(notices).order_by(notices.c.number))]
        assert kinds == [f"k{number}" for number in numbers]

    await database.write(operation)


async def test_a_statement_with_other_parameters_is_not_confused(database: Database) -> None:
    """The columns of an insert are those of its parameters."""
    statement = insert(notices)

    def operation(work: UnitOfWork) -> None:
        for values in (NOTICE, NOTICE, NOTICE | {"event_id": "$e"}, NOTICE):
            work.execute(statement, values)
        found = work.all(select(notices.c.event_id).order_by(notices.c.number))
        assert [row.event_id for row in found] == [None, None, "$e", None]

    await database.write(operation)


async def test_what_sqlite_refuses_is_named_without_the_values(database: Database) -> None:
    if database.read(lambda view: view.dialect) != "sqlite":
        pytest.skip("PostgreSQL's driver is not called directly")
    statement = insert(outbox_items)
    secret = {"peer": BOB, "lane": "control", "kind": "k", "body": b"secret", "number": 7}

    def operation(work: UnitOfWork) -> None:
        work.execute(statement, secret)
        work.execute(delete(outbox_items))
        work.execute(statement, secret)
        work.execute(statement, secret)

    with pytest.raises(exc.IntegrityError) as refused:
        await database.write(operation)
    assert isinstance(refused.value.orig, sqlite3.IntegrityError)
    assert "secret" not in str(refused.value)
    assert database.read(lambda view: view.all(select(outbox_items))) == []


async def test_only_what_is_used_again_is_prepared(database: Database) -> None:
    if database.read(lambda view: view.dialect) != "sqlite":
        pytest.skip("PostgreSQL's driver is not called directly")
    statement = select(notices).where(notices.c.at == bindparam("at"))
    dialect = database._engine.dialect
    assert prepared.find(statement, {"at": 1}, dialect) is None
    assert isinstance(prepared.find(statement, {"at": 1}, dialect), Prepared)
    assert prepared.find(statement, {"at": 1, "kind": "other"}, dialect) is None
