"""Each history ends in the state that the specification demands, whatever comes first."""

import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from homeserver.matrix.events import Event
from homeserver.matrix.identifiers import EventId, ServerName
from homeserver.rooms import appending
from homeserver.rooms.appending import HERE, Origin, Outcome
from homeserver.storage import events, room_state
from homeserver.storage.database import Database
from homeserver.storage.wake_ups import WakeUps
from tests.histories import telling
from tests.histories.telling import FILES, Telling, tellings

PEER = ServerName("peer.test")
ORDERS = 3


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that holds nothing, to be copied: making one takes longer than a history."""
    path = tmp_path_factory.mktemp("empty") / "empty.db"
    with opened(path):
        return path


def test_there_are_enough_and_each_says_why() -> None:
    assert len(FILES) >= 25
    for path in FILES:
        told = telling.read(path)
        assert told["conflict"].endswith(".")
        assert told["why"].endswith(".")
        assert told["spec"].startswith(("rooms/v1", "server-server-api#"))
        assert told["demands"] or told["demands_of"]


@pytest.mark.parametrize(("path", "version"), tellings())
def test_by_the_rules_alone(path: Path, version: str) -> None:
    story = telling.telling(path, version)
    assert story.rejected == rejected_by(story)
    check_demands(story, story.final)


@pytest.mark.parametrize(("path", "version"), tellings())
async def test_through_the_door_in_any_order(
    path: Path, version: str, tmp_path: Path, empty: Path
) -> None:
    story = telling.telling(path, version)
    states = []
    for number in range(ORDERS):
        with opened(Path(shutil.copy(empty, tmp_path / f"{number}.db"))) as database:
            order = arrival(story, random.Random(number))
            states.append(await play(database, story, order))
            check_demands(story, states[-1])
    assert all(state == story.final for state in states)


async def play(
    database: Database, story: Telling, order: list[Event]
) -> dict[tuple[str, str], EventId]:
    """Let the events arrive, and one that refers to all ends; the room's state then."""
    create, *others = order
    await database.write(lambda work: appending.append(work, create, HERE))
    for event in others:
        origin = Origin(PEER, state_before=story.claims.get(event.event_id))
        appended = await database.write(
            lambda work, event=event, origin=origin: appending.append(work, event, origin)  # type: ignore[misc]
        )
        is_rejected = appended.outcome is Outcome.REJECTED
        assert is_rejected == (event.event_id in story.rejected), event
        again = await database.write(
            lambda work, event=event, origin=origin: appending.append(work, event, origin)  # type: ignore[misc]
        )
        assert again.outcome is Outcome.KNOWN
    closing = story.closing(story.told.get("closed_by", telling.ALICE))
    appended = await database.write(lambda work: appending.append(work, closing, Origin(PEER)))
    assert appended.outcome is Outcome.ACCEPTED
    assert appended.room.extremities == (closing.event_id,)
    kept = database.read(lambda view: events.load_events(view, list(story.events)))
    assert {one for one in kept if kept[one].is_rejected} == story.rejected
    return dict(database.read(lambda view: room_state.current_state(view, story.room_id)))


def arrival(story: Telling, chance: random.Random) -> list[Event]:
    """Some order in which causes come before effects."""
    ordered: list[Event] = []
    waiting = list(story.events.values())
    while waiting:
        here = {event.event_id for event in ordered}
        ready = [
            event
            for event in waiting
            if here.issuperset(
                one for one in (*event.prev_events, *event.auth_events) if one in story.events
            )
            and here.issuperset(story.claims.get(event.event_id, {}).values())
        ]
        event = chance.choice(ready)
        waiting.remove(event)
        ordered.append(event)
    return ordered


def check_demands(story: Telling, state: dict[tuple[str, str], EventId]) -> None:
    names = {event.event_id: name for name, event in story.named.items()}
    demanded = story.demanded
    found = {key: names.get(state[key]) if key in state else None for key in demanded}
    assert found == {key: names[one] if one else None for key, one in demanded.items()}


def rejected_by(story: Telling) -> set[EventId]:
    return {
        story.named[name].event_id
        for name in story.told.get("rejected", []) + of_version(story, "rejected_of")
    }


def of_version(story: Telling, name: str) -> list[str]:
    found: list[str] = story.told.get(name, {}).get(story.version.id, [])
    return found


@contextmanager
def opened(path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{path}", WakeUps(), inline=True)
    try:
        yield database
    finally:
        database.close()
