"""G16: a hostile peer cannot exhaust me, and the others do not notice him.

Ceilings are counted, not timed: bytes on the disk, bytes in memory, transactions, questions asked.
"""

import gc
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from homeserver.matrix.identifiers import ServerName
from homeserver.storage import channels
from homeserver.testing import device_secrets
from homeserver.testing.adversaries import HostilePeer
from homeserver.testing.person import Person
from homeserver.testing.simulated import simulated
from homeserver.testing.simulated_server import SimulatedServer
from homeserver.testing.world import HOUR, World

MIB = 2**20


def _on_disk(server: SimulatedServer) -> int:
    return sum(file.stat().st_size for file in Path(server.directory).rglob("*") if file.is_file())


@contextmanager
def _ceilings(victim: SimulatedServer, *, disk: int = 10 * MIB, commits: int) -> Iterator[None]:
    """What the victim may spend while the block runs; SQLite's log alone grows to 4 MiB."""
    disk_before, commits_before = _on_disk(victim), len(victim.boundaries)
    yield
    assert _on_disk(victim) - disk_before < disk
    made = [one for one in victim.boundaries[commits_before:] if one.side == "after"]
    assert len(made) < commits


@contextmanager
def _memory(ceiling: int) -> Iterator[None]:
    """What the whole world may keep in memory of what happens in the block."""
    gc.collect()
    tracemalloc.start()
    yield
    gc.collect()
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < ceiling


async def _trio(world: World) -> tuple[Person, HostilePeer, Person, str, str]:
    """Alice, Bob who is hostile, Carol; a room of three, and one that is Alice's and Carol's."""
    alice, bob, carol = await world.befriended("alice", "bob", "carol")
    shared = await world.room(alice, bob, carol)
    quiet = await world.room(alice, carol)
    world.watch.spared.add("bob")
    return alice, HostilePeer(bob, alice), carol, shared, quiet


async def _are_unharmed(world: World, room_id: str, *people: Person) -> None:
    """What each says now, the others have within a minute."""
    now = world.now
    for person in people:
        await person.say(room_id, f"{person.name} at {now}")
    await world.pass_time(60.0)
    said = {f"{person.name} at {now}" for person in people}
    for person in people:
        assert said <= set(await person.texts(room_id))


@simulated
async def test_a_flood(world: World) -> None:
    alice, bob, carol, _, quiet = await _trio(world)
    with _ceilings(alice.server, commits=1_000), _memory(32 * MIB):
        for _ in range(2):
            await bob.flood(2, each=100)
            await _are_unharmed(world, quiet, alice, carol)


@simulated
async def test_a_flood_beyond_his_rate_waits(world: World) -> None:
    alice, bob, carol, shared, quiet = await _trio(world)
    await alice.grant(bob.person, rate=60)
    before, begun = _received(alice, bob.person), world.now
    await bob.flood(4, each=100)
    await _are_unharmed(world, quiet, alice, carol)
    taken = _received(alice, bob.person) - before
    assert taken > 1
    assert world.now - begun > 100 * (taken - 2)  # a frame has a hundred things, or two hundred
    assert await bob.person.membership(shared) == "join"


def _received(person: Person, sender: Person) -> int:
    """How many frames of somebody this person's server has taken."""
    name = ServerName(sender.server.server_name)
    channel = person.server.built.database.read(lambda view: channels.find_channel(view, name))
    assert channel is not None
    return channel.received


@simulated
async def test_events_of_64_kib(world: World) -> None:
    alice, bob, carol, shared, quiet = await _trio(world)
    with _ceilings(alice.server, commits=400):
        await bob.large_events(shared, 6)
        await _are_unharmed(world, quiet, alice, carol)
    await world.pass_time(HOUR)
    assert sum(len(text) >= 60_000 for text in await alice.texts(shared)) == 6
    await _are_unharmed(world, shared, carol, alice)


@simulated
async def test_a_past_without_end(world: World) -> None:
    alice, bob, carol, shared, quiet = await _trio(world)
    with _ceilings(alice.server, commits=2_000):
        await bob.deep_graph(shared, 1)
        await world.pass_time(30.0)
        await _are_unharmed(world, quiet, alice, carol)
    assert 0 < bob.asked < 600  # a hundred for each time that it is tried
    await _are_unharmed(world, shared, alice, carol)


@simulated
async def test_forged_power(world: World) -> None:
    alice, bob, carol, shared, quiet = await _trio(world)
    before = await alice.state(shared)
    with _ceilings(alice.server, commits=600):
        await bob.forge_auth(shared)
        await world.pass_time(HOUR)
        await _are_unharmed(world, quiet, alice, carol)
    assert await alice.state(shared) == await carol.state(shared) == before
    await _are_unharmed(world, shared, alice, carol)


@simulated
async def test_state_that_conflicts_with_itself(world: World) -> None:
    people = await world.befriended("alice", "bob", "carol")
    alice, person, carol = people
    power = {"users": {person.user_id: 50}}
    shared = await world.room(*people, power_level_content_override=power)
    quiet = await world.room(alice, carol)
    world.watch.spared.add("bob")
    bob = HostilePeer(person, alice)
    with _ceilings(alice.server, commits=600):
        await bob.conflicting_state(shared, 60)
        await world.pass_time(HOUR)
        await _are_unharmed(world, quiet, alice, carol)
    for _ in range(8):  # each of ours joins some of his ends
        await alice.say(shared, "together again")
    await world.pass_time(HOUR)
    state = await alice.state(shared)
    assert ("m.room.topic", "") in state
    assert await carol.state(shared) == state


@simulated
async def test_claiming_every_key(world: World) -> None:
    alice, bob, carol, _, quiet = await _trio(world)
    device_id = alice.client.device_id
    device = (alice.user_id, device_id)
    names = [f"K{number:03}" for number in range(50)]
    await alice.client.request(
        "POST",
        "/_matrix/client/v3/keys/upload",
        {
            "device_keys": device_secrets.device_keys(*device),
            "one_time_keys": device_secrets.one_time_keys(*device, *names),
        },
    )
    await world.settle()
    with _ceilings(alice.server, commits=600):
        await bob.drain_keys(80)
        await _are_unharmed(world, quiet, alice, carol)
    claim = {"one_time_keys": {alice.user_id: {device_id: "signed_curve25519"}}}
    await alice.server.stop()  # whoever claims now, claims from what was left with him
    claimed = await carol.client.request("POST", "/_matrix/client/v3/keys/claim", claim)
    assert claimed["one_time_keys"][alice.user_id][device_id]
    await alice.server.start()
    await world.check_healed()


@pytest.mark.parametrize("faults", [{"bytes_per_second": 20.0}, {"loss": 1.0}], ids=str)
@simulated
async def test_a_reader_who_takes_for_ever(world: World, faults: dict[str, float]) -> None:
    alice, bob, carol, shared, quiet = await _trio(world)
    world.network.one_way("alice", "bob", **faults)
    with _ceilings(alice.server, commits=2_000):
        for number in range(100):
            await alice.say(shared, f"line {number}")
        await _are_unharmed(world, quiet, alice, carol)
    assert len(await carol.texts(shared)) == 100
    world.network.heal()
    await world.check_healed()
    assert len(await bob.person.texts(shared)) == 100
