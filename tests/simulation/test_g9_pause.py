"""G9: pause moves nothing and loses nothing."""

from homeserver.testing.network import Passage
from homeserver.testing.person import Person
from homeserver.testing.simulated import simulated
from homeserver.testing.world import DAY, HOUR, World


def _moved(world: World, since: float) -> list[Passage]:
    """What carried anything: a refusal, and a request that is refused, carry nothing."""
    later = [one for one in world.network.passages if one.at > since]
    from_alice = [one for one in later if one.source == "alice" and one.fate != "refused"]
    answered = [one for one in later if one.kind == "answer" and one.fate == "arrived"]
    return from_alice + answered


@simulated
async def test_a_pause_moves_nothing_and_loses_nothing(
    world: World, befriended: list[Person]
) -> None:
    alice, bob = befriended
    room_id = await world.room(alice, bob)
    members = len([one for one in await alice.timeline(room_id) if "membership" in one["content"]])
    await alice.pause(bob)
    begun = world.now
    for number in range(4):
        await alice.say(room_id, f"alice {number}")
        await bob.say(room_id, f"bob {number}")
        await world.pass_time(HOUR)
    await alice.server.restart()
    await world.pass_time(DAY)
    assert _moved(world, begun) == []
    assert not [text for text in await alice.texts(room_id) if text.startswith("bob")]
    await alice.resume(bob)
    await world.check_healed()
    assert len(await alice.texts(room_id)) == len(await bob.texts(room_id)) == 8
    for person in befriended:
        events = await person.timeline(room_id)
        assert len([one for one in events if "membership" in one["content"]]) == members


@simulated
async def test_both_pause_and_one_resumes(world: World, befriended: list[Person]) -> None:
    alice, bob = befriended
    room_id = await world.room(alice, bob)
    await alice.pause(bob)
    await bob.pause(alice)
    await alice.say(room_id, "held")
    await alice.resume(bob)
    await world.pass_time(HOUR)
    assert await bob.texts(room_id) == []
    await bob.resume(alice)
    await world.check_healed()
    assert await bob.texts(room_id) == ["held"]


@simulated
async def test_what_resume_frees_flows_at_once(world: World, befriended: list[Person]) -> None:
    alice, bob = befriended
    room_id = await world.room(alice, bob)
    await alice.pause(bob)
    await alice.say(room_id, "held by me")
    await bob.say(room_id, "held by him")
    await world.pass_time(12 * HOUR)  # his pauses between tries are long by now
    await alice.resume(bob)
    await world.pass_time(2.0)
    assert await bob.texts(room_id) == ["held by him", "held by me"]
    assert await alice.texts(room_id) == ["held by me", "held by him"]
