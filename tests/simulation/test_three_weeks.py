"""A peer that is away for weeks: what can be read is read, what cannot is said, nothing hangs."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from homeserver.testing.person import Person
from homeserver.testing.simulated import simulated
from homeserver.testing.simulated_device import SimulatedDevice
from homeserver.testing.world import DAY, World

pytestmark = pytest.mark.filterwarnings("default:::nio")


class Friends:
    """Alice and Bob in an encrypted room; Bob's tablet has a fallback key."""

    def __init__(self, world: World, directory: Path, stack: AsyncExitStack) -> None:
        self.world = world
        self._directory = directory
        self._stack = stack
        self.said: dict[str, str] = {}
        self.room_id = ""

    async def begin(self, alice: Person, bob: Person) -> None:
        self.alice, self.bob = alice, bob
        self.tablet = await self.device(bob, "tablet")
        self.desk = await self.device(bob, "desk")
        await self.tablet.publish_fallback_key()
        self.phone = await self.device(alice, "phone")
        self.room_id = await self.phone.create_room(bob.user_id)
        await self.world.settle()
        await self.tablet.join(self.room_id)
        await self.world.settle()
        await self.say(self.phone, "before")
        await self.world.settle()
        await self.tablet.catch_up()

    async def device(self, person: Person, name: str) -> SimulatedDevice:
        store = self._directory / name
        store.mkdir()
        device = await SimulatedDevice.log_in(person.server, store)
        self._stack.push_async_callback(device.close)
        return device

    async def say(self, device: SimulatedDevice, text: str) -> None:
        await device.catch_up()
        self.said[await device.say(self.room_id, text)] = text

    async def use_up_the_fallback_key(self, taker: SimulatedDevice) -> None:
        """Somebody takes every key of Bob's tablet until the fallback key comes."""
        for _ in range(200):
            key = await taker.claim(self.bob.user_id, self.tablet.device_id)
            if all(one.get("fallback") for one in key.values()):
                return
        raise AssertionError("the one-time keys have no end")

    async def tablet_reads(self) -> list[str]:
        await self.tablet.catch_up()
        return [text for event_id, text in self.said.items() if event_id in self.tablet.read]

    async def told(self, person: Person) -> list[tuple[str, list[str]]]:
        answer = await person.server.admin("GET", "/notices")
        kinds = ("no_key", "unreadable")
        return [
            (one["kind"], one["content"]["devices"])
            for one in answer["notices"][::-1]
            if one["kind"] in kinds
        ]


@asynccontextmanager
async def friends_of(world: World, people: list[Person], path: Path) -> AsyncIterator[Friends]:
    async with AsyncExitStack() as stack:
        friends = Friends(world, path, stack)
        await friends.begin(*people)
        yield friends


@simulated
async def test_ten_days_away_and_everything_is_read(
    world: World, befriended: list[Person], tmp_path: Path
) -> None:
    async with friends_of(world, befriended, tmp_path) as friends:
        world.partition([friends.alice], [friends.bob])
        await world.pass_time(DAY)
        await friends.use_up_the_fallback_key(friends.desk)
        assert await friends.tablet.needs_fallback_key()  # Alice's server holds the newest
        await friends.tablet.publish_fallback_key()
        await friends.use_up_the_fallback_key(friends.desk)
        assert not await friends.tablet.needs_fallback_key()  # it does not hold this one
        await world.pass_time(8 * DAY)
        await friends.use_up_the_fallback_key(friends.phone)
        laptop = await friends.device(friends.alice, "laptop")
        await friends.say(laptop, "from the laptop")
        await friends.say(friends.phone, "from the phone")
        world.network.heal()
        await world.settle()
        assert await friends.tablet_reads() == ["before", "from the laptop", "from the phone"]
        assert await friends.told(friends.alice) == []


@simulated
async def test_three_weeks_away_and_two_newer_keys(
    world: World, befriended: list[Person], tmp_path: Path
) -> None:
    async with friends_of(world, befriended, tmp_path) as friends:
        world.partition([friends.alice], [friends.bob])
        await world.pass_time(2 * DAY)
        await friends.use_up_the_fallback_key(friends.phone)
        laptop = await friends.device(friends.alice, "laptop")
        await friends.say(laptop, "laptop, day 2")
        for day in (3, 15):
            await world.pass_time(day * DAY)
            await friends.use_up_the_fallback_key(friends.desk)
            assert await friends.tablet.needs_fallback_key()
            await friends.tablet.publish_fallback_key()
        desktop = await friends.device(friends.alice, "desktop")
        await friends.say(desktop, "desktop, day 20")
        await friends.say(friends.phone, "phone, day 20")
        tablet = friends.tablet.device_id
        both = sorted([tablet, friends.desk.device_id])
        assert await friends.told(friends.alice) == [("no_key", both)]

        await world.pass_time(DAY)
        world.network.heal()
        await world.settle()
        # The phone had met the tablet before; the others had no key, or one that is forgotten.
        assert await friends.tablet_reads() == ["before", "phone, day 20"]
        assert await friends.told(friends.alice) == [("no_key", both), ("unreadable", [tablet])]

        await friends.say(friends.phone, "welcome back")
        notebook = await friends.device(friends.alice, "notebook")
        await friends.say(notebook, "from something new")
        await world.settle()
        assert (await friends.tablet_reads())[-2:] == ["welcome back", "from something new"]
