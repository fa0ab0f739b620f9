"""What two owners do to their rooms while clients watch, and what these must have seen."""

import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from homeserver.testing.client import Refused
from homeserver.testing.person import Person
from homeserver.testing.world import HOUR, World
from tests.simulation import watching
from tests.simulation.watching import Accepted, Classic, Sliding, Watcher

_FORBIDDEN = 403
# An invitation or a join goes to the other server, which may be cut off at the moment.
_OUT_OF_REACH = (404, 502, 504)
_MOST_ROOMS = 12


class SyncStory:
    """Two owners, their rooms, and the clients that watch them.

    Of each owner two clients are always there, and two look now and then. Whoever made a room
    stays in it; the other leaves, is removed, is invited and comes back.
    """

    def __init__(self, world: World, people: list[Person], rooms: list[str], seed: int) -> None:
        self.world, self.people = world, people
        self.owners = dict.fromkeys(rooms, people[0])
        self.chance = random.Random(f"sync/{seed}")
        self.said: dict[str, list[tuple[Person, str]]] = {}
        self.poked: dict[str, list[int]] = {person.user_id: [] for person in people}
        self.done: set[str] = set()
        alice, bob = people
        self.steady: list[Watcher] = [Classic(alice), Accepted(alice), Classic(bob), Sliding(bob)]
        self.now_and_then: list[Watcher] = [
            *(Classic(alice), Sliding(alice)),
            *(Classic(bob), Accepted(bob)),
        ]

    @property
    def rooms(self) -> list[str]:
        return list(self.owners)

    @property
    def watchers(self) -> list[Watcher]:
        return self.steady + self.now_and_then

    async def begin(self, devices: AsyncExitStack) -> None:
        """Everybody sees what there is so far, also what has to be fetched from the other.

        From then on pages may end at a hole that nobody fills at the moment: the world's own checks
        wait for the end.
        """
        self.world.checks_itself = False
        for watcher in self.watchers:
            await devices.enter_async_context(watcher)
            await watcher.look_at_all()

    async def act(self, number: int) -> None:
        """One thing happens; who is always there looks."""
        actions: list[tuple[int, Callable[[int], Awaitable[object]]]] = [
            (60, self._say),
            (8, self._edit),
            (8, self._redact),
            (8, self._rename),
            (6, self._read),
            (6, self._poke),
            (3, self._leave),
            (3, self._kick),
            (8, self._invite),
            (10, self._join),
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
            if refused.status not in (_FORBIDDEN, *_OUT_OF_REACH):
                raise
        for watcher in self.steady:
            await watcher.look()
        for watcher in self.now_and_then:
            if self.chance.random() < 0.02:
                await watcher.look()

    async def compare(self) -> int:
        """Everybody looks until they have seen all; return how many events that makes."""
        self.world.network.heal()
        await self.world.settle()
        for room_id in self.rooms:
            await self._reunite(room_id)
        await self.world.pass_time(HOUR)  # until nobody waits to ask the other again
        await self.world.check()
        await self._compare_states()
        count = 0
        for watcher in self.watchers:
            await watcher.look_at_all()
            count += await self._compare_events(watcher)
            self._compare_messages(watcher)
        self._compare_receipts()
        return count

    async def _compare_states(self) -> None:
        """Both servers agree on every room; not on what somebody said who was removed meanwhile."""
        first, second = self.people
        for room_id in self.rooms:
            assert await first.state(room_id) == await second.state(room_id)

    async def _compare_events(self, watcher: Watcher) -> int:
        count = 0
        for room_id in await watcher.person.joined_rooms():
            if room_id in self.owners:
                told = await watching.told_by_pages(watcher.person, room_id)
                assert watcher.seen.get(room_id, []) == told
                assert len(set(told)) == len(told)
                count += len(told)
        return count

    def _compare_messages(self, watcher: Watcher) -> None:
        """Each device has had each message once, those of one sender in order."""
        for sender, numbers in self.poked.items():
            assert [number for by, number in watcher.pokes if by == sender] == numbers

    def _compare_receipts(self) -> None:
        """Devices of one owner know the same. Sliding sync leaves out what is far from sight."""
        for person in self.people:
            several = [one for one in self.watchers if one.person is person]
            first, *others = (one.read for one in several if isinstance(one, Classic))
            assert all(other == first for other in others)
            assert all(one.read.items() <= first.items() for one in several)

    async def _reunite(self, room_id: str) -> None:
        owner, guest = self.owners[room_id], self._guest(room_id)
        if await guest.membership(room_id) != "join":
            if await self._standing(room_id) != "invite":
                await owner.moderate("invite", room_id, guest)
            await self.world.settle()
            await guest.join(room_id, 10)
            await self.world.settle()

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

    async def _read(self, _: int) -> None:
        person, room_id = self._somewhere()
        if self.said.get(room_id):
            await watching.read_up_to(person, room_id, self.said[room_id][-1][1])

    async def _poke(self, number: int) -> None:
        person = self.chance.choice(self.people)
        await watching.poke(person, self.people, number)
        self.poked[person.user_id].append(number)

    async def _leave(self, _: int) -> None:
        room_id = await self._room_where_the_guest("join")
        if room_id is not None:
            await self._guest(room_id).leave_room(room_id)
            self.done.add("leave")

    async def _kick(self, _: int) -> None:
        room_id = await self._room_where_the_guest("join")
        if room_id is not None:
            await self.owners[room_id].moderate("kick", room_id, self._guest(room_id))
            self.done.add("kick")

    async def _invite(self, _: int) -> None:
        room_id = await self._room_where_the_guest("leave", None)
        if room_id is not None:
            await self.owners[room_id].moderate("invite", room_id, self._guest(room_id))
            self.done.add("invite")

    async def _join(self, _: int) -> None:
        room_id = await self._room_where_the_guest("invite")
        if room_id is not None:
            await self._guest(room_id).join(room_id)
            self.done.add("join")

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
        if len(self.owners) < _MOST_ROOMS:
            person = self.chance.choice(self.people)
            self.owners[await person.create_room(name=f"room {number}")] = person

    def _guest(self, room_id: str) -> Person:
        first, second = self.people
        return second if self.owners[room_id] is first else first

    async def _standing(self, room_id: str) -> str | None:
        """What the guest is, as the owner's server has it."""
        return await watching.membership(self.owners[room_id], room_id, self._guest(room_id))

    async def _room_where_the_guest(self, *wanted: str | None) -> str | None:
        found = [one for one in self.rooms if await self._standing(one) in wanted]
        return self.chance.choice(found) if found else None

    def _somewhere(self) -> tuple[Person, str]:
        return self.chance.choice(self.people), self.chance.choice(self.rooms)
