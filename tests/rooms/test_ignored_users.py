"""What is read of a room is read without those whom its reader ignores."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import EventId, RoomId
from homeserver.rooms.related import RelationsRequest, ThreadsRequest
from homeserver.rooms.timeline import PageRequest
from homeserver.search import MessageSearch
from homeserver.search.messages import KEYS, Search
from homeserver.storage import account_data
from homeserver.sync.filters import RoomEventFilter
from tests.rooms.servers import Server, running, shared_room

EVERYTHING = RoomEventFilter()


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[tuple[Server, Server]]:
    async with running(tmp_path, "alice", "bob") as (alice, bob):
        yield alice, bob


async def ignore(alice: Server, *others: Server) -> None:
    content: JsonObject = {"ignored_users": {one.user: {} for one in others}}
    await alice.database.write(
        lambda work: account_data.save_account_data(
            work, alice.user, None, "m.ignored_user_list", content
        )
    )


def in_thread(root: EventId) -> Any:
    return {"m.relates_to": {"rel_type": "m.thread", "event_id": root}}


async def talk(alice: Server, bob: Server) -> tuple[RoomId, dict[str, EventId]]:
    """Alice begins two threads, Bob answers in both and Alice in one of them."""
    room_id = await shared_room(alice, bob, power_level_override={"state_default": 0})
    said = {name: await alice.say(room_id, f"root {name}") for name in ("mine", "his")}
    await bob.hear_all(alice, room_id)
    said["bob"] = await bob.say(room_id, "answer of bob", **in_thread(said["his"]))
    said["too"] = await bob.say(room_id, "answer of bob", **in_thread(said["mine"]))
    await bob.set_state(room_id, "m.room.topic", topic="answer set")
    await alice.hear_all(bob, room_id)
    said["alice"] = await alice.say(room_id, "answer of alice", **in_thread(said["mine"]))
    return room_id, said


async def read(alice: Server, room_id: RoomId, said: dict[str, EventId]) -> dict[str, set[str]]:
    """Who is heard, by where one reads."""
    page = await alice.timeline.messages(alice.requester, room_id, PageRequest(50, EVERYTHING))
    around = await alice.timeline.context(alice.requester, room_id, said["his"], 50, EVERYTHING)
    relations = [
        await alice.related.relations(
            alice.requester, room_id, said[name], RelationsRequest(None, None, 50)
        )
        for name in ("mine", "his")
    ]
    search = MessageSearch(alice.database, alice.clock)
    asked = Search("answer", frozenset(KEYS), EVERYTHING, limit=50, by_rank=False)
    found = await search.search(alice.requester, asked)
    several = {
        "page": page["chunk"],
        "context": around["events_before"] + around["events_after"],
        "relations": [event for one in relations for event in one["chunk"]],
        "search": [one["result"] for one in found["results"]],
    }
    return {
        where: {event["sender"] for event in events if "state_key" not in event}
        for where, events in several.items()
    }


async def test_nobody_who_is_ignored_is_heard_anywhere(two: tuple[Server, Server]) -> None:
    alice, bob = two
    room_id, said = await talk(alice, bob)
    everybody = await read(alice, room_id, said)
    assert set(map(frozenset, everybody.values())) == {frozenset({alice.user, bob.user})}
    await ignore(alice, bob)
    assert await read(alice, room_id, said) == {where: {alice.user} for where in everybody}
    # What he set of the room is found, and what he said where its ID is named.
    topic = await alice.timeline.messages(
        alice.requester, room_id, PageRequest(50, RoomEventFilter(types=("m.room.topic",)))
    )
    assert [one["sender"] for one in topic["chunk"]] == [bob.user]
    named = alice.timeline.event(alice.requester, room_id, said["bob"])
    assert named["content"]["body"] == "answer of bob"


async def test_threads_are_those_that_somebody_else_wrote_in(two: tuple[Server, Server]) -> None:
    alice, bob = two
    room_id, said = await talk(alice, bob)

    async def threads() -> dict[str, int]:
        answer = await alice.related.threads(alice.requester, room_id, ThreadsRequest(10))
        return {
            one["event_id"]: one["unsigned"]["m.relations"]["m.thread"]["count"]
            for one in answer["chunk"]
        }

    async def related() -> set[str]:
        wanted = RoomEventFilter(related_by_rel_types=("m.thread",))
        page = await alice.timeline.messages(alice.requester, room_id, PageRequest(50, wanted))
        return {one["event_id"] for one in page["chunk"]}

    assert await threads() == {said["mine"]: 2, said["his"]: 1}
    assert await related() == {said["mine"], said["his"]}
    await ignore(alice, bob)
    assert await threads() == {said["mine"]: 1}
    assert await related() == {said["mine"]}


async def test_nobody_ignores_themselves(two: tuple[Server, Server]) -> None:
    alice, bob = two
    room_id, said = await talk(alice, bob)
    await ignore(alice, alice)
    assert (await read(alice, room_id, said))["page"] == {alice.user, bob.user}
