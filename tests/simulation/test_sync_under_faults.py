"""Whoever syncs always, whoever does now and then, and whoever reads pages see the same.

`make simulate` does it with 10,000 actions; the short form does the same with few.
"""

import random
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from homeserver.testing.client import Refused
from homeserver.testing.person import Person
from homeserver.testing.simulated import simulated
from homeserver.testing.world import HOUR, World
from tests.simulation import watching
from tests.simulation.watching import Classic, Sliding, Watcher

_FEW_ACTIONS = 250
_MANY_ACTIONS = 10_000
_FORBIDDEN = 403


class _Story:
    """What two owners do to their rooms, and the clients that watch them."""

    def __init__(self, world: World, people: list[Person], rooms: list[str], seed: int) -> None:
        self.world, self.people, self.rooms = world, people, rooms
        self.chance = random.Random(f"sync/{seed}")
        self.said: dict[str, list[tuple[Person, str]]] = {}
        self.steady: list[Watcher] = []
        self.now_and_then: list[Watcher] = []
        for person in people:
            self.steady += [Classic(person), Sliding(person, "steady")]
            self.now_and_then += [Classic(person), Sliding(person, "now and then")]

    async def begin(self) -> None:
        """Everybody sees what there is so far, also what has to be fetched from the other."""
        for watcher in self.steady + self.now_and_then:
            await watcher.look_at_all()

    async def act(self, number: int) -> None:
        """One thing happens; who is always there looks."""
        actions: list[tuple[int, Callable[[int], Awaitable[object]]]] = [
            (60, self._say),
            (8, self._edit),
            (8, self._redact),
            (8, self._rename),
            (5, self._pass_time),
            (2, self._cut),
            (2, self._heal),
            (2, self._restart),
            (2, self._crash),
            (1, self._new_room),
        ]
        weights = [weight for weight, _ in actions]
        [(_, action)] = self.chance.choices(actions, weights)
        try:
            await action(number)
        except Refused as refused:
            if refused.status != _FORBIDDEN:
                raise
        for watcher in self.steady:
            await watcher.look()
        for watcher in self.now_and_then:
            if self.chance.random() < 0.02:
                await watcher.look()

    async def compare(self) -> int:
        """Everybody looks until they have seen all; return how many events that makes."""
        self.world.network.heal()
        await self.world.check_healed()
        count = 0
        for watcher in self.steady + self.now_and_then:
            await watcher.look_at_all()
            for room_id in await watcher.person.joined_rooms():
                if room_id in self.rooms:
                    told = await watching.told_by_pages(watcher.person, room_id)
                    assert watcher.seen.get(room_id, []) == told
                    assert len(set(told)) == len(told)
                    count += len(told)
        return count

    async def _say(self, number: int) -> None:
        person, room_id = self._somewhere()
        event_id = await person.say(room_id, f"words {number}")
        self.said.setdefault(room_id, []).append((person, event_id))

    async def _edit(self, number: int) -> None:
        room_id = self.chance.choice(self.rooms)
        if self.said.get(room_id):
            person, event_id = self.chance.choice(self.said[room_id])
            content = {
                "msgtype": "m.text",
                "body": f"* words {number}",
                "m.new_content": {"msgtype": "m.text", "body": f"words {number}"},
                "m.relates_to": {"rel_type": "m.replace", "event_id": event_id},
            }
            await person.client.send(room_id, "m.room.message", content, f"e{number}")

    async def _redact(self, number: int) -> None:
        room_id = self.chance.choice(self.rooms)
        if self.said.get(room_id):
            place = self.chance.randrange(len(self.said[room_id]))
            person, event_id = self.said[room_id].pop(place)
            await watching.redact(person, room_id, event_id, number)

    async def _rename(self, number: int) -> None:
        person, room_id = self._somewhere()
        await person.set_state(room_id, "m.room.name", "", {"name": f"name {number}"})

    async def _pass_time(self, _: int) -> None:
        await self.world.pass_time(self.chance.random() * 60)

    async def _cut(self, _: int) -> None:
        first, second = self.people
        self.world.partition([first], [second])

    async def _heal(self, _: int) -> None:
        self.world.network.heal()

    async def _restart(self, _: int) -> None:
        server = self.chance.choice(self.people).server
        await server.stop()
        await server.start()

    async def _crash(self, _: int) -> None:
        server = self.chance.choice(self.people).server
        await server.crash_now()
        await server.start()

    async def _new_room(self, number: int) -> None:
        if len(self.rooms) < 12:
            person = self.chance.choice(self.people)
            room_id = await person.create_room(name=f"room {number}")
            self.rooms.append(room_id)

    def _somewhere(self) -> tuple[Person, str]:
        return self.chance.choice(self.people), self.chance.choice(self.rooms)


@simulated
async def test_everybody_sees_the_same_events_in_the_same_order(
    world: World, seed: int, pytestconfig: pytest.Config
) -> None:
    is_thorough = pytestconfig.getoption("--seeds") and seed == 1
    world.patience_s = 100 * HOUR
    people = await world.befriended("alice", "bob")
    levels = {one.user_id: 50 for one in people[1:]}
    room = partial(world.room, *people, power_level_content_override={"users": levels})
    story = _Story(world, people, [await room() for _ in range(3)], seed)
    await story.begin()
    for number in range(_MANY_ACTIONS if is_thorough else _FEW_ACTIONS):
        await story.act(number)
    assert await story.compare() > _FEW_ACTIONS


@simulated
async def test_history_before_joining_is_read_on_from_where_the_first_sync_begins(
    world: World,
) -> None:
    alice, bob = await world.befriended("alice", "bob")
    room_id = await alice.create_room(preset="public_chat", invite=[bob.user_id])
    for number in range(4):
        await alice.say(room_id, str(number))
    await world.settle()
    await bob.join(room_id)
    watcher = Classic(bob)
    await watcher.look()
    assert watcher.seen[room_id] == await watching.told_by_pages(alice, room_id)
