"""G15: after `homeserver restore` no key is used twice, and nobody who was revoked comes back."""

from pathlib import Path
from typing import Any

from homeserver.testing.person import Person
from homeserver.testing.simulated import simulated
from homeserver.testing.world import HOUR, World

_UPLOAD = "/_matrix/client/v3/keys/upload"


async def _put_back(world: World, person: Person, copy: Path) -> None:
    await person.server.crash_now()
    await person.server.restore(copy)
    await person.server.start()
    person.forget_syncs()
    person.acknowledged.clear()
    await world.settle()


@simulated
async def test_nothing_passes_before_the_owner_has_confirmed_a_connection(
    world: World, befriended: list[Person], tmp_path: Path
) -> None:
    alice, bob = befriended
    room_id = await world.room(alice, bob)
    await alice.say(room_id, "before")
    await world.settle()
    alice.server.copy_to(tmp_path / "copy")
    await alice.say(room_id, "forgotten")
    await world.settle()
    await _put_back(world, alice, tmp_path / "copy")
    assert await alice.standing(bob) == "paused"
    await bob.say(room_id, "are you there?")
    await world.pass_time(HOUR)
    assert "are you there?" not in await alice.texts(room_id)
    await alice.resume(bob)
    await world.pass_time(2 * HOUR)
    await alice.say(room_id, "yes")
    await world.settle()
    for person in befriended:
        assert (await person.texts(room_id))[-2:] == ["are you there?", "yes"]


@simulated
async def test_nobody_revoked_since_the_backup_comes_back_unasked(
    world: World, befriended: list[Person], tmp_path: Path
) -> None:
    alice, bob = befriended
    room_id = await world.room(alice, bob)
    await world.settle()
    alice.server.copy_to(tmp_path / "copy")
    await alice.revoke(bob)
    await world.settle()
    await _put_back(world, alice, tmp_path / "copy")
    assert await alice.standing(bob) == "paused"
    await bob.say(room_id, "still friends?")
    await world.pass_time(24 * HOUR)
    assert "still friends?" not in await alice.texts(room_id)
    await alice.revoke(bob)
    assert await alice.standing(bob) == "revoked"


@simulated
async def test_a_link_of_the_time_before_the_backup_is_void(
    world: World, befriended: list[Person], tmp_path: Path
) -> None:
    alice, _ = befriended
    carol = await world.person("carol")
    link = await alice.invitation()
    alice.server.copy_to(tmp_path / "copy")
    await _put_back(world, alice, tmp_path / "copy")
    await carol.open_link(link)
    await world.pass_time(HOUR)
    assert await alice.standing(carol) == "none"
    assert await carol.standing(alice) != "active"


@simulated
async def test_one_time_keys_of_the_time_before_the_backup_are_handed_out_no_more(
    world: World, befriended: list[Person], tmp_path: Path
) -> None:
    alice, _ = befriended
    keys: dict[str, Any] = {f"curve25519:AAAA{number}": "a" * 43 for number in range(5)}
    uploaded = await alice.client.request("POST", _UPLOAD, {"one_time_keys": keys})
    assert uploaded["one_time_key_counts"]["curve25519"] == 5
    alice.server.copy_to(tmp_path / "copy")
    await _put_back(world, alice, tmp_path / "copy")
    counted = await alice.client.request("POST", _UPLOAD, {})
    assert counted["one_time_key_counts"].get("curve25519", 0) == 0


@simulated
async def test_a_client_with_a_token_from_after_the_backup_misses_nothing_said_since(
    world: World, befriended: list[Person], tmp_path: Path
) -> None:
    alice, bob = befriended
    room_id = await world.room(alice, bob)
    alice.server.copy_to(tmp_path / "copy")
    for number in range(30):
        await alice.say(room_id, f"forgotten {number}")
    await alice.sync()
    since = alice.client.since
    await _put_back(world, alice, tmp_path / "copy")
    alice.client.since = since
    await alice.resume(bob)
    await world.pass_time(2 * HOUR)
    said = await alice.say(room_id, "after")
    answer = await alice.client.sync()
    events = answer["rooms"]["join"][room_id]["timeline"]["events"]
    assert said in [event["event_id"] for event in events]
