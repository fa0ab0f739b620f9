"""G14: renewed keys reach a peer also when the ratchets that would have told it are lost."""

from pathlib import Path

import pytest

from federation import own_identity
from homeserver.matrix.identifiers import ServerName
from homeserver.storage import channels
from homeserver.testing.chance import SeededEntropy
from homeserver.testing.person import Person
from homeserver.testing.simulated import simulated
from homeserver.testing.world import HOUR, World


def _rotate(person: Person, seed: int = 1) -> None:
    """As `homeserver identity rotate` does, while the server is stopped."""
    server = person.server
    own = own_identity.load(server.directory, server._keyring)
    own = own_identity.renew_event_key(own, SeededEntropy(seed, "rotate"), server.clock.now_ms())
    own_identity.save(own, server.directory, server._keyring)


async def _notices(person: Person) -> list[str]:
    told = await person.server.admin("GET", "/notices")
    return [notice["kind"] for notice in told["notices"]]


async def _both_are_heard(world: World, room_id: str, *people: Person) -> None:
    for person in people:
        await person.say(room_id, f"{person.name} after it")
    await world.pass_time(10 * 60.0)
    for listener in people:
        assert {f"{person.name} after it" for person in people} <= set(
            await listener.texts(room_id)
        )


@pytest.mark.parametrize("who", ["alice", "bob", "both"])
@simulated
async def test_a_restore_and_a_rotation(
    world: World, befriended: list[Person], tmp_path: Path, who: str
) -> None:
    room_id = await world.room(*befriended)
    await world.settle()
    rotated = [person for person in befriended if who in (person.name, "both")]
    for person in rotated:
        await person.server.stop()
        person.server.copy_to(tmp_path / f"copy of {person.name}")
        await person.server.restore(tmp_path / f"copy of {person.name}")
        _rotate(person)
        await person.server.start()
        person.forget_syncs()
    for person in rotated:
        (other,) = (one for one in befriended if one is not person)
        await person.resume(other)
    await _both_are_heard(world, room_id, *befriended)
    for person in befriended:
        told = await _notices(person)
        (other,) = (one for one in befriended if one is not person)
        assert told.count("keys_renewed") == (1 if other in rotated else 0)
        assert not {"alarm", "repair_fails"} & set(told)
    await world.check_healed()


@pytest.mark.parametrize("victim", ["alice", "bob"])
@simulated
async def test_ratchets_lost_before_the_newer_card_came(
    world: World, befriended: list[Person], victim: str
) -> None:
    room_id = await world.room(*befriended)
    person = world.people[victim]
    (other,) = (one for one in befriended if one is not person)
    await other.server.stop()
    await person.server.stop()
    _rotate(person)
    await person.server.start()
    await person.say(room_id, "sealed in what is lost, after the card")
    await other.server.start()
    lost = {"session": None, "previous_session": None, "wants_repair": False, "keys_note": None}
    name = ServerName(person.server.server_name)
    await other.server.built.database.write(lambda work: channels.change_channel(work, name, lost))
    await _both_are_heard(world, room_id, *befriended)
    assert "keys_renewed" in await _notices(other)


@simulated
async def test_keys_that_contradict_in_a_repair_are_an_alarm(
    world: World, befriended: list[Person], tmp_path: Path
) -> None:
    """A rotation, a backup from before it put back, and another rotation: two cards, one number."""
    alice, bob = befriended
    room_id = await world.room(alice, bob)
    await alice.server.stop()
    alice.server.copy_to(tmp_path / "copy")
    _rotate(alice, 1)
    await alice.server.start()
    await world.settle()
    assert "keys_renewed" in await _notices(bob)
    await alice.server.stop()
    await alice.server.restore(tmp_path / "copy")
    _rotate(alice, 2)
    await alice.server.start()
    alice.forget_syncs()
    alice.acknowledged.clear()
    await alice.resume(bob)
    await alice.say(room_id, "with the other keys")
    world.checks_itself = False
    await world.pass_time(HOUR)
    assert "alarm" in await _notices(bob)
    assert "with the other keys" not in await bob.texts(room_id)
