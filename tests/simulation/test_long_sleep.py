"""A device that slept through more room keys than an answer carries reads everything."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from homeserver.storage.encryption import to_device
from homeserver.testing.person import Person
from homeserver.testing.simulated import simulated
from homeserver.testing.simulated_device import SimulatedDevice
from homeserver.testing.world import World

pytestmark = pytest.mark.filterwarnings("default:::nio")

_ROOMS = 7


@simulated
async def test_every_key_comes_before_its_event(
    world: World, befriended: list[Person], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(to_device, "_READ_AT_ONCE", 2)
    monkeypatch.setattr(to_device, "_PAGE_BYTES", 1)
    async with AsyncExitStack() as stack:
        devices = []
        for person in befriended:
            (store := tmp_path / f"store of {person.name}").mkdir()
            device = await SimulatedDevice.log_in(person.server, store)
            stack.push_async_callback(device.close)
            devices.append(device)
        alice, bob = devices
        rooms = [await alice.create_room(bob.user_id) for _ in range(_ROOMS)]
        await world.settle()
        for room_id in rooms:
            await bob.join(room_id)
        await world.settle()
        await alice.catch_up()
        said = [await alice.say(room_id, "while you slept") for room_id in rooms]
        await world.settle()
        await bob.catch_up()
        assert bob.read.keys() >= set(said)
