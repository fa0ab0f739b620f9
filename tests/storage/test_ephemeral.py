"""Receipts and presence as they are kept, and how far each kind of change has come."""

from dataclasses import replace

import pytest

from homeserver.matrix.identifiers import EventId, RoomId, UserId
from homeserver.storage import account_data, ephemeral, newest
from homeserver.storage.database import Database
from homeserver.storage.ephemeral import Presence, Receipt
from homeserver.storage.events import Point
from homeserver.storage.newest import Newest
from homeserver.storage.unit_of_work import UnitOfWork

ALICE, BOB = UserId("@alice:alice.example"), UserId("@bob:bob.example")
ROOM = RoomId("!room:alice.example")
FIRST = Receipt(ROOM, BOB, "m.read", None, EventId("$a"), 1_000, Point(5))


async def save(database: Database, *receipts: Receipt) -> list[bool]:
    return await database.write(
        lambda work: [ephemeral.save_receipt(work, one) for one in receipts]
    )


@pytest.mark.parametrize(
    ("event_id", "read_at", "point", "is_kept"),
    [
        ("$b", 1_001, Point(6), True),
        ("$b", 999, Point(6), True),
        ("$b", 1_001, Point(5, -1), False),
        ("$a", 2_000, Point(5), False),
        ("$b", 1_001, None, True),
        ("$b", 999, None, False),
        ("$a", 2_000, None, False),
    ],
)
async def test_a_receipt_that_is_further_on_takes_the_place_of_another(
    database: Database, event_id: str, read_at: int, point: Point | None, is_kept: bool
) -> None:
    await save(database, FIRST)
    second = replace(FIRST, event_id=EventId(event_id), read_at=read_at, point=point)
    assert await save(database, second) == [is_kept]
    kept = database.read(lambda view: ephemeral.receipts_of_user(view, ROOM, BOB))
    assert kept == [second if is_kept else FIRST]


async def test_receipts_differ_by_user_kind_and_thread(database: Database) -> None:
    several = [
        FIRST,
        replace(FIRST, user_id=ALICE),
        replace(FIRST, kind="m.read.private"),
        replace(FIRST, thread_id="main"),
        replace(FIRST, room_id=RoomId("!other:alice.example")),
    ]
    assert await save(database, *several) == [True] * 5
    everything = database.read(lambda view: ephemeral.receipts_since(view, 0, 5))
    assert everything == several
    assert database.read(lambda view: ephemeral.receipts_since(view, 1, 3)) == several[1:3]
    assert database.read(lambda view: ephemeral.receipts_of_rooms(view, [ROOM])) == several[:4]
    assert database.read(lambda view: ephemeral.receipts_of_rooms(view, [])) == []


async def test_the_newest_presence_counts(database: Database) -> None:
    here = Presence(BOB, "online", "hi", 1_000, is_currently_active=True)
    gone = Presence(BOB, "offline", None, 2_000, is_currently_active=False)
    for one in (here, gone):
        await database.write(lambda work, one=one: ephemeral.save_presence(work, [one]))  # type: ignore[misc]
    assert database.read(lambda view: ephemeral.find_presence(view, BOB)) == gone
    assert database.read(lambda view: ephemeral.presence_since(view, 0, 2)) == [gone]
    assert database.read(lambda view: ephemeral.presence_since(view, 2, 9)) == []
    assert database.read(lambda view: ephemeral.find_presence(view, ALICE)) is None


async def test_how_far_each_kind_of_change_has_come(database: Database) -> None:
    assert database.read(newest.load_newest) == Newest(0, 0, 0, 0)

    def change(work: UnitOfWork) -> None:
        account_data.save_account_data(work, ALICE, None, "m.direct", {})
        ephemeral.save_receipt(work, FIRST)
        ephemeral.save_presence(work, [Presence(BOB, "online", None, 1, is_currently_active=True)])

    await database.write(change)
    assert database.read(newest.load_newest) == Newest(1, 2, 3, 0)
