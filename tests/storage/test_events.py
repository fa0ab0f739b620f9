import pytest
from sqlalchemy import exc, text

from homeserver.matrix.identifiers import DeviceId, EventId, RoomId
from homeserver.storage import caches, events, gaps, relations
from homeserver.storage.database import Database
from homeserver.storage.events import Point, StoredEvent
from homeserver.storage.relations import Relation, RelationsPage
from homeserver.storage.unit_of_work import UnitOfWork
from tests.storage.room_events import ALICE, BOB, ROOM, event

PHONE = DeviceId("PHONE")


async def save(database: Database, *several: StoredEvent) -> None:
    def operation(work: UnitOfWork) -> None:
        for stored in several:
            events.save_event(work, stored)

    await database.write(operation)


def live(number: int, **known: object) -> StoredEvent:
    return StoredEvent(event(number), position=number, **known)  # type: ignore[arg-type]


def forget_everything(database: Database) -> None:
    database.read(lambda view: caches._caches.pop(view.database_key, None))


async def test_an_event_comes_back_as_it_was(database: Database) -> None:
    stored = StoredEvent(
        event(1),
        position=1,
        is_ours=True,
        state_before=3,
        state_after=4,
        room_state_after=5,
        transaction=(PHONE, "t"),
    )
    await save(database, stored)
    forget_everything(database)

    assert database.read(lambda view: events.find_event(view, stored.event.event_id)) == stored


async def test_a_redacted_event_comes_back_redacted_with_its_redaction(database: Database) -> None:
    await save(database, live(1), live(2))
    target, redaction = event(1), event(2)

    def redact(work: UnitOfWork) -> None:
        pdu = b'{"auth_events":[],"content":{},"depth":1,"origin_server_ts":1,"prev_events":[],'
        pdu += b'"sender":"@alice:alice.test","type":"m.room.message"}'
        events.replace_with_redacted(work, target.event_id, pdu, redaction.event_id)

    await database.write(redact)

    found = database.read(lambda view: events.find_event(view, target.event_id))
    assert found is not None
    assert found.event.content == {}
    assert found.redaction == redaction


async def test_an_outlier_becomes_live_but_never_the_other_way(database: Database) -> None:
    one = event(1)
    await database.write(lambda work: events.save_outliers(work, [one], frozenset()))
    assert database.read(lambda view: events.load_events(view, [one.event_id]))[
        one.event_id
    ].is_outlier
    await save(database, live(1))
    await database.write(lambda work: events.save_outliers(work, [one], frozenset({one.event_id})))

    found = database.read(lambda view: events.find_event(view, one.event_id))
    assert found is not None
    assert (found.position, found.is_rejected) == (1, False)


async def test_the_timeline_ends_at_its_limit_and_at_gaps(database: Database) -> None:
    await save(database, *(live(number) for number in range(1, 8)))

    def since(after: int, until: int, limit: int) -> tuple[list[int | None], bool]:
        found = database.read(lambda view: events.timeline_since(view, ROOM, after, until, limit))
        return [one.position for one in found.events], found.has_more

    assert since(0, 7, 10) == ([1, 2, 3, 4, 5, 6, 7], False)
    assert since(2, 6, 10) == ([3, 4, 5, 6], False)
    assert since(0, 7, 2) == ([6, 7], True)
    assert since(7, 7, 2) == ([], False)
    await save(database, StoredEvent(event(8), position=8, follows_gap=True), live(9))
    assert since(0, 9, 10) == ([8, 9], True)
    assert since(8, 9, 10) == ([9], False)


async def test_fetched_history_stands_directly_before_its_gap(database: Database) -> None:
    await save(database, live(1), live(5))
    old = [
        StoredEvent(event(2), position=5, rank=-2),
        StoredEvent(event(3), position=5, rank=-1),
    ]
    await save(database, *old)

    def before(point: Point, limit: int) -> list[int]:
        found = database.read(lambda view: events.timeline_before(view, ROOM, point, limit))
        return [one.event.depth for one in found]

    def after(point: Point) -> list[int]:
        found = database.read(lambda view: events.timeline_after(view, ROOM, point, 10))
        return [one.event.depth for one in found]

    assert before(Point(5), 10) == [5, 3, 2, 1]
    assert before(Point(5, -1), 10) == [3, 2, 1]
    assert before(Point(5, -3), 10) == [1]
    assert after(Point(1)) == [2, 3, 5]
    assert after(Point(5, -2)) == [3, 5]
    found = database.read(lambda view: events.timeline_since(view, ROOM, 0, 5, 10))
    assert [one.event.depth for one in found.events] == [1, 5]
    assert database.read(lambda view: gaps.next_rank_before(view, ROOM, 5)) == -3
    assert database.read(lambda view: gaps.next_rank_before(view, ROOM, 1)) == -1


async def test_changed_rooms_are_those_with_live_events(database: Database) -> None:
    other = RoomId("!other:alice.test")
    await save(
        database,
        live(1),
        StoredEvent(event(2, room_id=other), position=2),
        StoredEvent(event(3, room_id=other)),
    )

    def changed(after: int, until: int) -> set[RoomId]:
        return database.read(lambda view: events.changed_rooms(view, after, until))

    assert changed(0, 9) == {ROOM, other}
    assert changed(1, 9) == {other}
    assert changed(2, 9) == set()


async def test_a_transaction_belongs_to_device_and_room(database: Database) -> None:
    stored = live(1, transaction=(PHONE, "t"))
    await save(database, stored)

    def find(device: str, txn: str, room_id: RoomId) -> list[StoredEvent]:
        return database.read(
            lambda view: events.sent_in_transaction(view, DeviceId(device), txn, room_id)
        )

    assert find("PHONE", "t", ROOM) == [stored]
    assert find("LAPTOP", "t", ROOM) == []
    assert find("PHONE", "u", ROOM) == []
    assert find("PHONE", "t", RoomId("!other:x")) == []


async def test_more_ids_than_a_statement_takes(database: Database) -> None:
    await save(database, *(live(number) for number in range(1, 4)))
    ids = [EventId(f"${number}") for number in range(2_500)] + [event(2).event_id]
    forget_everything(database)

    assert list(database.read(lambda view: events.load_events(view, ids))) == [event(2).event_id]
    assert list(database.read(lambda view: events.load_bodies(view, ids))) == [event(2).event_id]


async def test_gaps_are_known_until_they_are_closed(database: Database) -> None:
    await save(database, live(3), live(5))
    missing = EventId("$missing")

    def note(work: UnitOfWork) -> None:
        gaps.save_gaps(work, ROOM, event(3).event_id, [missing])
        gaps.save_gaps(work, ROOM, event(5).event_id, [missing])
        gaps.save_gaps(work, ROOM, event(5).event_id, [missing])

    await database.write(note)

    assert database.read(lambda view: gaps.is_missing(view, missing))
    places = database.read(lambda view: gaps.positions_waiting_for(view, [missing]))
    assert places == {missing: 3}
    found = database.read(lambda view: gaps.gaps_of(view, ROOM, 10))
    assert [gap.before for gap in found] == [Point(5), Point(3)]
    await database.write(lambda work: gaps.close_gaps(work, missing))
    assert not database.read(lambda view: gaps.is_missing(view, missing))


async def test_relations_are_paged_and_counted(database: Database) -> None:
    root, ids = event(1), [event(number).event_id for number in (2, 3, 4)]
    await save(database, live(1), live(2), live(3), live(4))

    def relate(work: UnitOfWork) -> None:
        for number, event_id in enumerate(ids):
            sender = ALICE if number else BOB
            relation = Relation(
                event_id, root.event_id, "m.thread", "m.room.message", sender, None, number
            )
            relations.save_relation(work, relation)

    await database.write(relate)

    def page(start: Point | None, limit: int, *, is_backwards: bool) -> list[EventId]:
        wanted = RelationsPage("m.thread", None, start, None, limit, is_backwards, 1)
        found = database.read(
            lambda view: relations.related_events(view, ROOM, root.event_id, wanted)
        )
        return [one.event.event_id for one in found]

    assert page(None, 2, is_backwards=True) == [ids[2], ids[1]]
    assert page(Point(3, -1), 2, is_backwards=True) == [ids[0]]
    assert page(Point(2), 5, is_backwards=False) == [ids[1], ids[2]]
    summaries = database.read(lambda view: relations.thread_summaries(view, [root.event_id], ALICE))
    summary = summaries[root.event_id]
    assert (summary.count, summary.latest, summary.has_reader) == (3, ids[2], True)


async def test_a_nul_in_a_text_is_no_obstacle(database: Database) -> None:
    await save(database, live(1), live(2))
    target = event(1).event_id
    relation = Relation(event(2).event_id, target, "m.annotation", "x\0", ALICE, "\0", 2)
    await database.write(lambda work: relations.save_relation(work, relation))

    assert database.read(
        lambda view: (
            relations.is_annotated(view, target, ALICE, "x\0", "\0")
            and not relations.is_annotated(view, target, ALICE, "x", "\0")
        )
    )


async def test_an_error_of_the_driver_is_told_like_every_other(database: Database) -> None:
    await database.write(lambda work: work.execute(text("ALTER TABLE events RENAME TO gone")))

    with pytest.raises(exc.DBAPIError):
        database.read(lambda view: events.load_events(view, (EventId("$1"),)))
