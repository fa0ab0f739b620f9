"""Unread events are counted by the push rules, once each, from where the owner has read."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from homeserver.ephemeral.reading import Read
from homeserver.matrix import push_rules
from homeserver.matrix.identifiers import RoomId
from homeserver.push import Counts, PushRules, UnreadCounts
from homeserver.push.rules import Place
from homeserver.storage.newest import load_newest
from tests.rooms.servers import Server, running


class Pair:
    """Alice and Bob in a room, and what Alice's client would show."""

    def __init__(self, alice: Server, bob: Server, room_id: RoomId) -> None:
        self.alice, self.bob, self.room_id = alice, bob, room_id
        self.unread = UnreadCounts()
        self.rules = PushRules(alice.database)
        self.read_up_to = alice.database.position

    async def bob_says(self, body: str, **content: object) -> None:
        await self.bob.say(self.room_id, body, **content)
        await self.alice.hear_all(self.bob, self.room_id)

    def counts(self) -> Counts:
        return self.alice.database.read(
            lambda view: (
                self.unread.count(
                    view,
                    self.alice.user,
                    self.room_id,
                    Read(self.read_up_to),
                    self.alice.database.position,
                    load_newest(view).account_data,
                ).total
            )
        )

    def read(self) -> None:
        self.read_up_to = self.alice.database.position


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    async with running(tmp_path, "alice", "bob") as (alice, bob):
        room_id = await alice.create(invite=(bob.user,))
        await bob.take_in_items(alice)
        await bob.membership.join(bob.requester, room_id, [], {})
        await alice.hear_all(bob, room_id)
        yield Pair(alice, bob, room_id)


async def test_messages_of_others_count_until_they_are_read(pair: Pair) -> None:
    assert pair.counts() == Counts(0, 0)
    await pair.bob_says("one")
    assert pair.counts() == Counts(1, 0)
    await pair.bob_says("two")
    assert pair.counts() == Counts(2, 0)
    pair.read()
    assert pair.counts() == Counts(0, 0)
    await pair.bob_says("three")
    assert pair.counts() == Counts(1, 0)


async def test_a_mention_is_loud(pair: Pair) -> None:
    await pair.bob_says("look", **{"m.mentions": {"user_ids": [pair.alice.user]}})
    assert pair.counts() == Counts(1, 1)


async def test_whoever_answers_has_read(pair: Pair) -> None:
    await pair.bob_says("one")
    await pair.alice.say(pair.room_id, "answer")
    assert pair.counts() == Counts(0, 0)
    await pair.bob_says("two")
    assert pair.counts() == Counts(1, 0)


async def test_a_silenced_room_counts_nothing_from_then_on_and_before(pair: Pair) -> None:
    await pair.bob_says("one")
    assert pair.counts() == Counts(1, 0)
    await pair.rules.put(pair.alice.requester, "room", pair.room_id, {"actions": []}, Place())
    await pair.bob_says("two")
    assert pair.counts() == Counts(0, 0)


async def test_a_restart_counts_the_same(pair: Pair) -> None:
    await pair.bob_says("one")
    before = pair.counts()
    pair.unread = UnreadCounts()
    assert pair.counts() == before == Counts(1, 0)


async def test_each_event_is_judged_once(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    judged = []
    real = push_rules.evaluate

    def counting(event: object, *more: object) -> object:
        judged.append(event)
        return real(event, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(push_rules, "evaluate", counting)
    for number in range(3):
        await pair.bob_says(str(number))
        pair.counts()
        pair.counts()
    assert len(judged) == 3


async def test_an_unknown_room_counts_nothing(pair: Pair) -> None:
    pair.room_id = RoomId("!nowhere:alice.test")
    assert pair.counts() == Counts(0, 0)
