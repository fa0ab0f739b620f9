"""A former peer keeps trying, a third member forwards: nothing comes of either (G7, G10, G12)."""

import contextlib

import pytest

from homeserver.testing.adversaries import FormerPeer, Forwarder, Wire
from homeserver.testing.adversaries.wire import Choice, cross, reorder, substitute
from homeserver.testing.client import Refused
from homeserver.testing.person import Person
from homeserver.testing.simulated import simulated
from homeserver.testing.watched_database import digest_of
from homeserver.testing.world import DAY, HOUR, World


@pytest.mark.parametrize("ending", ["pause", "revoke"])
@simulated
async def test_he_gets_the_one_refusal_for_everything(
    world: World, befriended: list[Person], ending: str
) -> None:
    alice, bob = befriended
    former = FormerPeer(world.network, bob, alice)
    room_id = await world.room(alice, bob)
    await bob.say(room_id, "while we were friends")
    await world.settle()
    await getattr(alice, ending)(bob)
    await world.pass_time(HOUR)  # what Alice's server notes of the past is noted by then
    file = str(alice.server.directory / "homeserver.db")
    before = digest_of(file)
    answers = await former.try_everything()
    assert len(answers) >= 10
    assert set(answers) == {None}
    await world.pass_time(10.0)
    assert digest_of(file) == before
    await bob.say(room_id, "never heard")
    await bob.server.restart()
    await world.pass_time(DAY)
    answers = await former.try_everything()
    assert set(answers) == {None}
    assert await alice.texts(room_id) == ["while we were friends"]


@simulated
async def test_an_old_link_opens_nothing(world: World) -> None:
    alice, bob = await world.persons("alice", "bob")
    link = await alice.invitation()
    await bob.open_link(link)
    await world.settle()
    await alice.revoke(bob)
    await bob.revoke(alice)
    with contextlib.suppress(Refused):  # said at once, or found out when nobody answers
        await bob.open_link(link)
    await world.pass_time(HOUR)
    assert await alice.standing(bob) == "revoked"


@simulated
async def test_what_a_third_member_forwards_is_not_doubled(world: World) -> None:
    people = alice, _, carol = await world.befriended("alice", "bob", "carol")
    room_id = await world.room(*people)
    for person in people:
        await person.say(room_id, f"from {person.name}")
    await world.settle()
    forwarder = Forwarder(carol, alice)
    for _ in range(3):
        assert await forwarder.pass_on(room_id) > 5
    await world.check_healed()
    assert sorted(await alice.texts(room_id)) == ["from alice", "from bob", "from carol"]


@simulated
async def test_what_a_third_member_forwards_of_a_revoked_peer_is_not_shown(world: World) -> None:
    people = alice, bob, carol = await world.befriended("alice", "bob", "carol")
    room_id = await world.room(*people)
    await alice.revoke(bob)
    await world.settle()
    await bob.say(room_id, "can she read this?")
    await world.settle()
    assert "can she read this?" in await carol.texts(room_id)
    await Forwarder(carol, alice).pass_on(room_id)
    await world.pass_time(HOUR)
    assert "can she read this?" not in await alice.texts(room_id)
    await carol.say(room_id, "he said something")
    await world.settle()
    assert "he said something" in await alice.texts(room_id)
    assert "can she read this?" not in await alice.texts(room_id)


@pytest.mark.seeds(2)
@pytest.mark.parametrize("choice", [substitute, reorder, cross])
@simulated
async def test_boxes_of_the_collection_do_nothing(
    world: World, befriended: list[Person], choice: Choice
) -> None:
    alice, bob = befriended
    room_id = await world.room(alice, bob)
    wire = Wire(world.network, world.seed)
    wire.choose = choice
    for number in range(4):
        for person in befriended:
            await person.say(room_id, f"{person.name} {number}")
        await world.pass_time(30.0)
    wire.leave()
    await world.settle()
    await wire.replay_all()  # what he held back arrives after all
    await world.settle()
    files = [str(person.server.directory / "homeserver.db") for person in befriended]
    before = [digest_of(file) for file in files]
    await wire.replay_all()
    await world.settle()
    assert [digest_of(file) for file in files] == before
    await world.check_healed()
    expected = sorted(f"{person.name} {number}" for person in befriended for number in range(4))
    assert sorted(await alice.texts(room_id)) == sorted(await bob.texts(room_id)) == expected
