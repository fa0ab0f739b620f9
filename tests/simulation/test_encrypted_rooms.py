"""Encrypted rooms while servers come and go: whoever is entitled reads, and nobody else."""

import random
from pathlib import Path

import pytest

from homeserver.testing.person import Person
from homeserver.testing.simulated import simulated
from homeserver.testing.world import HOUR, World
from tests.simulation.entitled import DEVICES, Crowd

pytestmark = pytest.mark.filterwarnings("default:::nio")

# How much is said with `--seeds`, and without.
_THOROUGH, _QUICK = 2_000, 60


@pytest.fixture
def messages(pytestconfig: pytest.Config) -> int:
    return _THOROUGH if pytestconfig.getoption("--seeds") else _QUICK


async def do_something(crowd: Crowd, person: Person) -> None:
    """One thing that happens in somebody's life."""
    fate = crowd.chance.random()
    if not person.server.is_running:
        if fate < 0.4:
            await person.server.start()
    elif fate < 0.08:
        await person.server.stop()
    elif fate < 0.14:
        await person.server.crash_now()
    elif fate < 0.26:
        await change_devices(crowd, person)
    elif fate < 0.4:
        for device in crowd.devices_of(person):
            await device.catch_up()
    else:
        await crowd.say(person, crowd.chance.randint(1, 8))


async def change_devices(crowd: Crowd, person: Person) -> None:
    if crowd.chance.random() < 0.5 and crowd.added.get(person.name, 0) < 2:
        await crowd.add_device(person)
    elif len(crowd.devices_of(person)) > 1:
        await crowd.remove_device(person)


async def live(crowd: Crowd, messages: int) -> None:
    """Let things happen until enough was said; now and then everybody is there at once."""
    steps = 0
    while len(crowd.ledger) < messages:
        steps += 1
        await do_something(crowd, crowd.chance.choice(crowd.people))
        await crowd.world.pass_time(crowd.chance.choice([0.5, 5.0, 60.0, 3 * HOUR]))
        if steps % 25 == 0:
            await crowd.settle()
            for person in crowd.people:
                while len(crowd.devices_of(person)) < DEVICES:
                    await crowd.add_device(person)
            await crowd.settle()


@pytest.mark.seeds(1)
@simulated
async def test_who_is_entitled_reads_and_nobody_else(
    world: World, seed: int, messages: int, tmp_path: Path
) -> None:
    people = await world.befriended("alice", "bob", "carol")
    crowd = Crowd(world, tmp_path, people, random.Random(seed))
    try:
        await crowd.begin()
        await live(crowd, messages)
        await crowd.settle()
        await crowd.check()
    finally:
        await crowd.close()
