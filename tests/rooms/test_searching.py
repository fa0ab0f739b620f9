"""What a search looks at closely."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from homeserver.rooms.filtering import Wanted
from homeserver.search import MessageSearch
from homeserver.search.messages import KEYS, Search
from homeserver.storage import events
from homeserver.sync.filters import RoomEventFilter
from tests.rooms.servers import Server, running


@pytest.fixture
async def alice(tmp_path: Path) -> AsyncIterator[Server]:
    async with running(tmp_path, "alice") as (server,):
        yield server


async def test_an_event_is_loaded_only_where_its_text_has_the_words(
    alice: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    room_id = await alice.create(name="Kitchen")
    for number in range(20):
        await alice.say(room_id, f"number {number}", note="alice")
    said = await alice.say(room_id, "hello Alice")
    loaded: list[str] = []
    find_event = events.find_event

    def counting(view: Any, event_id: Any) -> Any:
        loaded.append(event_id)
        return find_event(view, event_id)

    wanted: Wanted = RoomEventFilter()
    asked = Search("alice", frozenset(KEYS), wanted, limit=10, by_rank=False)
    search = MessageSearch(alice.database, alice.clock)
    monkeypatch.setattr(events, "find_event", counting)
    # Every event names her as its sender.
    found = await search.search(alice.requester, asked)
    assert [one["result"]["event_id"] for one in found["results"]] == [said]
    assert loaded == [said]
