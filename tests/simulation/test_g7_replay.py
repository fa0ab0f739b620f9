"""G7: a replayed envelope does nothing: not a row of the database is another afterwards."""

import random
from pathlib import Path

from homeserver.matrix.identifiers import ServerName
from homeserver.storage import channels
from homeserver.testing.adversaries import Wire
from homeserver.testing.network import Parcel
from homeserver.testing.person import Person
from homeserver.testing.simulated import simulated
from homeserver.testing.watched_database import digest_of
from homeserver.testing.world import HOUR, World


def _digests(people: list[Person]) -> list[str]:
    return [digest_of(str(person.server.directory / "homeserver.db")) for person in people]


async def _replay_all(world: World, people: list[Person], order: random.Random) -> None:
    await world.settle()
    before = _digests(people)
    recorded = list(world.network.recorded)
    order.shuffle(recorded)
    for one in recorded:
        await world.network.replay(one)
    await world.settle()
    assert _digests(people) == before


async def _chat(world: World, room_id: str, people: list[Person]) -> None:
    for person in people:
        await person.say(room_id, f"{person.name} at {world.now}")
        await world.pass_time(1.0)
    await world.settle()


@simulated
async def test_every_envelope_again(world: World, seed: int) -> None:
    order = random.Random(seed)
    with world.recording():
        people = await world.befriended("alice", "bob")
        room_id = await world.room(*people)
        await _chat(world, room_id, people)
        await _replay_all(world, people, order)
        await _chat(world, room_id, people)
        await _replay_all(world, people, order)
        for person in people:
            await person.server.restart()
        await _replay_all(world, people, order)
        await world.pass_time(HOUR)
        await _chat(world, room_id, people)
        await _replay_all(world, people, order)
    await world.check_healed()


@simulated
async def test_every_envelope_again_while_the_other_is_away(
    world: World, befriended: list[Person]
) -> None:
    alice, bob = befriended
    room_id = await world.room(alice, bob)
    with world.recording():
        await _chat(world, room_id, befriended)
    await alice.server.crash_now()
    for restart in (False, True):
        if restart:
            await bob.server.restart()
        await world.settle()
        before = _digests([bob])
        for one in world.network.recorded:
            await world.network.replay(one)
        await world.settle()
        assert _digests([bob]) == before
    await alice.server.start()
    await world.check_healed()


@simulated
async def test_every_envelope_again_after_the_revoke(
    world: World, befriended: list[Person]
) -> None:
    alice, bob = befriended
    room_id = await world.room(alice, bob)
    with world.recording():
        await _chat(world, room_id, befriended)
        await alice.revoke(bob)
        await world.settle()
    before = _digests([alice])
    to_alice = [one for one in world.network.recorded if one.source == "bob"]
    assert to_alice
    assert [await world.network.replay(one) for one in to_alice] == [None] * len(to_alice)
    assert _digests([alice]) == before


def _answers_to_alice(wire: Wire) -> list[bytes]:
    return [one.box for one in wire.recorded if one.kind == "answer" and one.target == "alice"]


@simulated
async def test_every_answer_in_the_place_of_another(world: World, befriended: list[Person]) -> None:
    alice, bob = befriended
    room_id = await world.room(alice, bob)
    wire = Wire(world.network, world.seed)
    await _chat(world, room_id, befriended)
    old = _answers_to_alice(wire)
    given: list[bytes] = []

    def give_an_old_one(_wire: Wire, parcel: Parcel) -> bytes | None:
        if parcel.kind == "request" or parcel.target != "alice":
            return parcel.box
        given.append(old[len(given) % len(old)])
        return given[-1]

    wire.choose = give_an_old_one
    world.network.one_way("bob", "alice", only_answers=True)  # nothing but answers tells her
    await alice.say(room_id, "is this answered?")
    await world.pass_time(120.0)  # she is shown as away by now
    before, tried = _digests([alice]), len(given)
    await world.pass_time(2.0 * len(old))  # she tries again every second
    assert len(given) >= tried + len(old)
    assert _digests([alice]) == before
    wire.leave()
    world.network.heal()
    await world.check_healed()
    assert (await bob.texts(room_id))[-1] == "is this answered?"


@simulated
async def test_every_envelope_again_after_a_rekey(
    world: World, befriended: list[Person], tmp_path: Path
) -> None:
    """Who is put back to an older copy agrees with the other on keys anew."""
    alice, bob = befriended
    with world.recording():
        room_id = await world.room(alice, bob)
        bob.server.copy_to(tmp_path / "copy")
        epoch = _epoch(alice, bob)
        await _chat(world, room_id, befriended)
        await bob.server.crash_now()
        bob.server.replace_by(tmp_path / "copy")
        await bob.server.start()
        bob.forget_syncs()
        bob.acknowledged.clear()
        await _chat(world, room_id, befriended)
        assert _epoch(alice, bob) > epoch
        await _replay_all(world, befriended, random.Random(world.seed))


@simulated
async def test_every_envelope_again_after_a_restore(
    world: World, befriended: list[Person], tmp_path: Path
) -> None:
    alice, bob = befriended
    with world.recording():
        room_id = await world.room(alice, bob)
        alice.server.copy_to(tmp_path / "copy")
        await _chat(world, room_id, befriended)
        await alice.server.crash_now()
        await alice.server.restore(tmp_path / "copy")
        await alice.server.start()
        alice.forget_syncs()
        alice.acknowledged.clear()
        for is_confirmed in (False, True):
            if is_confirmed:
                await alice.resume(bob)
                await world.pass_time(2 * HOUR)
                await _chat(world, room_id, befriended)
            await _replay_all(world, befriended, random.Random(world.seed))


def _epoch(person: Person, peer: Person) -> int:
    """How often the two have agreed on keys."""
    name = ServerName(peer.server.server_name)
    channel = person.server.built.database.read(lambda view: channels.find_channel(view, name))
    assert channel is not None
    return channel.epoch
