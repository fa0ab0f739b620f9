"""What is checked without being asked sees what it should, and nothing else."""

from pathlib import Path

import pytest

from homeserver.testing.invariants import Broken
from homeserver.testing.network import Parcel
from homeserver.testing.person import Person
from homeserver.testing.simulated import simulated
from homeserver.testing.world import World


@simulated
async def test_every_two_who_are_connected_are_compared(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Carol is not connected to Alice any more; she still is to Bob."""
    alice, bob, carol = await world.befriended("alice", "bob", "carol")
    await world.room(bob, alice, carol)
    await alice.pause(carol)

    async def another_topic(_room_id: str) -> dict[tuple[str, str], str]:
        return {("m.room.topic", ""): "$other"}

    monkeypatch.setattr(carol, "state", another_topic)
    with pytest.raises(Broken, match="bob and carol differ about"):
        await world.check_healed()


@simulated
async def test_state_that_was_acknowledged_is_missed(
    world: World, befriended: list[Person]
) -> None:
    alice, bob = befriended
    room_id = await world.room(alice, bob)
    await alice.set_state(room_id, "m.room.topic", "", {"topic": "kept"})
    await world.check()
    alice.acknowledged_state[room_id].append("$never")
    with pytest.raises(Broken, match="alice does not have"):
        await world.check()
    alice.acknowledged_state.clear()


@simulated
async def test_what_was_acknowledged_before_a_copy_is_missed_after_it(
    world: World, befriended: list[Person], tmp_path: Path
) -> None:
    alice, bob = befriended
    room_id = await world.room(alice, bob)
    bob.server.copy_to(tmp_path / "copy")
    said = await bob.say(room_id, "after the copy, as a careless one was made")
    acknowledged = bob.what_was_acknowledged()
    await bob.server.crash_now()
    bob.server.replace_by(tmp_path / "copy")
    await bob.server.start()
    bob.go_back_to(acknowledged)
    with pytest.raises(Broken, match="bob does not have"):
        await world.check()
    bob.acknowledged.clear()
    assert said


@simulated
async def test_a_box_is_seen_where_nobody_listens(world: World, befriended: list[Person]) -> None:
    alice, bob = befriended
    seen: list[Parcel] = []
    world.network.watchers.append(seen.append)
    room_id = await world.room(alice, bob)
    await bob.server.stop()
    seen.clear()
    await alice.say(room_id, "into the void")
    await world.pass_time(10.0)
    assert {(one.source, one.target) for one in seen} == {("alice", "bob")}
    await bob.server.start()


@simulated
async def test_a_line_carries_one_byte_after_the_other(
    world: World, befriended: list[Person]
) -> None:
    link = world.network.link("alice", "bob")
    world.network.one_way("alice", "bob", bytes_per_second=100.0, latency_s=0.0)
    assert [link.delay(1_000, world.now) for _ in range(3)] == pytest.approx([10, 20, 30])


@simulated
async def test_a_nat_is_no_fault_that_heals(world: World, befriended: list[Person]) -> None:
    assert befriended
    world.network.put_behind_nat("bob")
    world.network.heal()
    assert not world.network.can_reach("alice", "http://bob.test")
    assert world.network.can_reach("bob", "http://alice.test")
    world.network.put_behind_nat("bob", is_behind=False)
    assert world.network.can_reach("alice", "http://bob.test")
