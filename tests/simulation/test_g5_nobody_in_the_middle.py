"""G5: nobody can sit in the middle of a handshake, not even with the invitation in his hands."""

import pytest

from federation import envelope, invitation_links, own_identity
from homeserver.config import FederationSettings
from homeserver.testing.adversaries import MiddleMan, Wire
from homeserver.testing.adversaries.middle_man import Message, Substitution, every_substitution
from homeserver.testing.adversaries.wire import Choice, cross, reorder, substitute
from homeserver.testing.chance import SeededEntropy
from homeserver.testing.network import Parcel
from homeserver.testing.person import Person
from homeserver.testing.simulated import simulated
from homeserver.testing.virtual_time import START_MS
from homeserver.testing.world import HOUR, World

_SHORT = FederationSettings(handshake_lifetime_days=0.02, invitation_lifetime_days=0.02)


async def _honest_notes(world: World) -> dict[Message, bytes]:
    """The notes of one honest REQUEST and ACCEPT, as one reads them who has the link."""
    alice, bob = await world.persons("carol", "dave")
    link = await alice.invitation()
    read = invitation_links.read(link)
    keys = envelope.door_keys(read.door_key)
    notes: dict[Message, bytes] = {}

    def listen(parcel: Parcel) -> None:
        if parcel.address.hex() == read.intake:
            key = keys.request if parcel.kind == "request" else keys.answer
            message: Message = "REQUEST" if parcel.kind == "request" else "ACCEPT"
            notes[message] = envelope.open_box(key, parcel.box).note

    world.network.watchers.append(listen)
    await bob.open_link(link)
    await world.settle()
    world.network.watchers.remove(listen)
    return notes


async def _is_foiled(world: World, alice: Person, bob: Person, substitution: Substitution) -> None:
    link = await alice.invitation()
    middle = MiddleMan(world.network, link, substitution)
    before = len(await bob.audit())
    await bob.open_link(link)
    await world.pass_time(2 * HOUR)
    middle.leave()
    assert middle.changed, substitution
    standings = [await alice.standing(bob), await bob.standing(alice)]
    if substitution.message == "READY":
        standings.pop(0)  # the inviter has the other's proof, and it was no forgery
    assert "active" not in standings, substitution
    steps = [entry["step"] for entry in (await bob.audit())[before:]]
    assert "expired" in steps, substitution  # the one who accepted is told that it failed


async def _scene(world: World) -> tuple[Person, Person, list[Substitution]]:
    """Two who would like to meet, and all that can be put in the place of what they say."""
    notes = await _honest_notes(world)
    world.watch.spared.add("alice")  # to the wire her answers to Mallory are answers to Bob
    alice = await world.person("alice", settings=_SHORT)
    bob = await world.person("bob", settings=_SHORT)
    mallory, _ = own_identity.create(SeededEntropy(world.seed, "mallory"), START_MS)
    return alice, bob, every_substitution(mallory, notes)


async def _still_meet(world: World, alice: Person, bob: Person) -> None:
    await bob.open_link(await alice.invitation())
    await world.settle()
    assert await alice.standing(bob) == await bob.standing(alice) == "active"


@simulated
async def test_every_key_card_address_and_part_in_turn(world: World) -> None:
    alice, bob, found = await _scene(world)
    assert len(found) > 40
    messages = {one.message for one in found}
    assert messages == {"REQUEST", "ACCEPT", "PROVE", "READY"}
    for substitution in found:
        if substitution.message != "READY":
            await _is_foiled(world, alice, bob, substitution)
    (last,) = [one for one in found if one.message == "READY"]
    await _is_foiled(world, alice, bob, last)
    await _still_meet(world, alice, bob)


async def every_part_that_is_of_olm(world: World) -> None:
    """The same, as far as it depends on the library of the ratchets: test_vodozemac tells it."""
    alice, bob, found = await _scene(world)
    keys = ("olm_key", "one_time_key", "the Olm message", "its bytes")
    of_olm = [one for one in found if one.what.startswith(keys)]
    assert [one.message for one in of_olm[-4:]] == ["ACCEPT", "ACCEPT", "PROVE", "READY"]
    for substitution in of_olm:
        await _is_foiled(world, alice, bob, substitution)
    await _still_meet(world, alice, bob)


@pytest.mark.seeds(2)
@pytest.mark.parametrize("choice", [substitute, reorder, cross])
@simulated
async def test_a_wire_without_keys_delays_and_nothing_else(world: World, choice: Choice) -> None:
    alice, bob = await world.persons("alice", "bob")
    wire = Wire(world.network, world.seed)
    wire.choose = choice
    await bob.open_link(await alice.invitation())
    await world.pass_time(HOUR)
    wire.leave()
    await world.settle()
    assert await alice.standing(bob) == await bob.standing(alice) == "active"
    wire = Wire(world.network, world.seed)
    wire.choose = choice
    room_id = await alice.create_room(bob)
    await world.pass_time(HOUR)
    await bob.join(room_id, 10)
    for number in range(4):
        await alice.say(room_id, f"alice {number}")
        await bob.say(room_id, f"bob {number}")
        await world.pass_time(60.0)
    wire.leave()
    await world.check_healed()
    expected = sorted(f"{name} {number}" for name in ("alice", "bob") for number in range(4))
    for person in (alice, bob):
        assert sorted(await person.texts(room_id)) == expected
