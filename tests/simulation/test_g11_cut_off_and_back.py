"""G11: what a device may not send yet, who comes after a revoke, and the way back."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from homeserver.config import FederationSettings
from homeserver.testing.client import Refused
from homeserver.testing.fast_ratchets import FastRatchets
from homeserver.testing.person import Person
from homeserver.testing.simulated import simulated
from homeserver.testing.simulated_server import PASSWORD
from homeserver.testing.world import World
from tests.simulation import looking

_V3 = "/_matrix/client/v3"
_UNSTABLE = "/_matrix/client/unstable"
_SLIDING = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"
_CIPHERTEXT = {"algorithm": "m.megolm.v1.aes-sha2", "session_id": "x", "ciphertext": "y"}


@pytest.fixture
def world(tmp_path: Path, seed: int) -> Iterator[World]:
    """What happens to rooms is the same whatever encrypts the way between the servers."""
    made = World(tmp_path, seed, ratchets=FastRatchets(seed))
    made.checks_itself = False  # it would sync in the place of these clients
    yield made
    made.close()


@pytest.fixture
def three(world: World) -> list[Person]:
    return world.run(world.befriended("alice", "bob", "carol"))


@simulated
async def test_a_device_that_does_not_know_yet_is_asked_to_write_it_again(
    world: World, three: list[Person]
) -> None:
    alice, bob, carol = three
    room_id = await world.room(alice, bob, carol)
    of_two = await world.room(alice, bob)
    await looking.catch_up(alice)
    async with alice.server.client() as phone:
        await phone.log_in(alice.name, PASSWORD)
        await phone.sync()
        await alice.revoke(bob)
        await alice.server.restart()
        for client in (alice.client, phone):
            for of_them in (room_id, of_two):  # Carol may be invited into the other one later
                with pytest.raises(Refused) as refusal:
                    await client.send(of_them, "m.room.encrypted", _CIPHERTEXT)
                assert (refusal.value.status, refusal.value.errcode) == (403, "M_FORBIDDEN")
                assert "write it again" in str(refusal.value)
        await alice.say(room_id, "in the clear")
        await alice.sync()  # the answer is on its way, the device may not have it
        with pytest.raises(Refused):
            await alice.client.send(room_id, "m.room.encrypted", _CIPHERTEXT)
        await alice.sync()
        await alice.client.send(room_id, "m.room.encrypted", _CIPHERTEXT)
        with pytest.raises(Refused):
            await phone.send(room_id, "m.room.encrypted", _CIPHERTEXT)
    async with alice.server.client() as tablet:
        await tablet.log_in(alice.name, PASSWORD)
        await tablet.send(room_id, "m.room.encrypted", _CIPHERTEXT)
    await world.settle()
    assert await carol.texts(room_id) == ["in the clear"]


@simulated
async def test_nor_is_it_sent_later_what_was_encrypted_before_the_device_knew(
    world: World, three: list[Person]
) -> None:
    alice, bob, carol = three
    room_id = await world.room(alice, bob, carol)
    await looking.catch_up(alice)

    async def send_later(event_type: str, txn: str) -> str:
        path = f"{_V3}/rooms/{quote(room_id)}/send/{event_type}/{txn}"
        later = {"org.matrix.msc4140.delay": "30000"}
        content = _CIPHERTEXT | {"body": txn, "msgtype": "m.text"}
        answer = await alice.client.request("PUT", path, content, parameters=later)
        return str(answer["delay_id"])

    delay_id = await send_later("m.room.encrypted", "before")
    await send_later("m.room.message", "in the clear")
    await alice.revoke(bob)
    with pytest.raises(Refused) as refusal:
        await send_later("m.room.encrypted", "while it does not know")
    assert (refusal.value.status, refusal.value.errcode) == (403, "M_FORBIDDEN")
    await looking.catch_up(alice)
    path = f"{_UNSTABLE}/org.matrix.msc4140/delayed_events/{delay_id}/send"
    with pytest.raises(Refused) as called_off:
        await alice.client.request("POST", path, {})
    assert called_off.value.status == 409
    await send_later("m.room.encrypted", "after")
    await world.pass_time(60.0)
    await world.settle()
    said = [one["content"] for one in await carol.timeline(room_id) if "body" in one["content"]]
    assert sorted(one["body"] for one in said) == ["after", "in the clear"]


@simulated
async def test_with_sliding_sync_a_device_knows_of_a_room_once_it_was_told_of_it(
    world: World, three: list[Person]
) -> None:
    alice, bob, carol = three
    room_id = await world.room(alice, bob, carol)
    pos: dict[str, str] = {}
    wish = {"lists": {"all": {"ranges": [[0, 20]], "timeline_limit": 5, "required_state": []}}}

    async def slide() -> dict[str, Any]:
        answer = await alice.client.request("POST", _SLIDING, wish, pos)
        pos["pos"] = answer["pos"]
        return dict(answer["rooms"].get(room_id, {}))

    await slide()
    await slide()
    await alice.revoke(bob)
    with pytest.raises(Refused):
        await alice.client.send(room_id, "m.room.encrypted", _CIPHERTEXT)
    room = await slide()
    assert [one["content"] for one in room["timeline"]] == [{"membership": "leave"}]
    assert room["joined_count"] == 2
    with pytest.raises(Refused):
        await alice.client.send(room_id, "m.room.encrypted", _CIPHERTEXT)
    await slide()
    await alice.client.send(room_id, "m.room.encrypted", _CIPHERTEXT)


@simulated
async def test_after_a_new_consent_he_is_back_and_what_he_said_is_history(
    world: World, three: list[Person]
) -> None:
    alice, bob, carol = three
    room_id = await world.room(alice, bob, carol)
    await looking.catch_up(alice)
    await alice.revoke(bob)
    await looking.catch_up(alice)
    await bob.say(room_id, "said meanwhile")
    await world.settle()
    await carol.say(room_id, "carol refers to it")
    await world.settle()
    await looking.catch_up(alice)
    await bob.revoke(alice)
    await world.connect(alice, bob)
    answer = await alice.sync()
    assert looking.changes(looking.timeline(answer, room_id), bob) == ["join"]
    returned = next(
        one for one in looking.timeline(answer, room_id) if one["type"] == "m.room.member"
    )
    assert returned["unsigned"]["prev_content"]["membership"] == "leave"
    assert returned["content"].get("displayname") == (
        await looking.get(carol, room_id, f"state/m.room.member/{quote(bob.user_id)}")
    ).get("displayname")
    assert bob.user_id in answer["device_lists"]["changed"]
    assert answer["rooms"]["join"][room_id]["summary"]["m.joined_member_count"] == len(three)
    assert await looking.joined(alice, room_id) == {one.user_id for one in three}
    assert "said meanwhile" in await alice.texts(room_id)
    await alice.client.send(room_id, "m.room.encrypted", _CIPHERTEXT)
    for person in three:
        await person.say(room_id, f"{person.name} is here")
    await world.check_healed()
    for person in three:
        heard = set(await person.texts(room_id))
        assert {f"{one.name} is here" for one in three} <= heard


@simulated
async def test_who_comes_into_a_room_after_he_was_cut_off_is_not_there(
    world: World, three: list[Person]
) -> None:
    alice, bob, carol = three
    await alice.revoke(bob)
    room_id = await world.room(carol, alice)
    await looking.catch_up(alice)
    await carol.moderate("invite", room_id, bob)
    await world.settle()
    await bob.join(room_id, 5)
    await bob.say(room_id, "is anybody here?")
    await world.settle()
    await carol.say(room_id, "carol is")
    await world.settle()
    assert await looking.joined(alice, room_id) == {alice.user_id, carol.user_id}
    assert await looking.membership(alice, room_id, bob) is None
    assert await alice.texts(room_id) == ["carol is"]
    assert bob.user_id not in str(await alice.sync())


@simulated
async def test_who_is_in_a_room_that_the_owner_joins_later_is_not_there(world: World) -> None:
    settings = FederationSettings(strangers_in_rooms="accept")
    alice = await world.person("alice", settings=settings)
    bob, carol = await world.persons("bob", "carol")
    for one, other in ((alice, bob), (alice, carol), (bob, carol)):
        await world.connect(one, other)
    await alice.revoke(bob)
    room_id = await world.room(carol, bob)
    await bob.say(room_id, "before alice came")
    await carol.say(room_id, "welcome")
    await world.settle()
    await carol.moderate("invite", room_id, alice)
    await world.settle()
    await alice.join(room_id, 5)
    await world.settle()
    assert await looking.joined(alice, room_id) == {alice.user_id, carol.user_id}
    assert await looking.membership(alice, room_id, bob) is None
    assert "before alice came" not in await alice.texts(room_id)
    alice.forget_syncs()
    assert bob.user_id not in str((await alice.sync())["rooms"]["join"][room_id]["timeline"])


@simulated
async def test_the_blocked_are_hidden_in_the_same_way(world: World, three: list[Person]) -> None:
    alice, bob, carol = three
    room_id = await world.room(alice, bob, carol)
    await looking.catch_up(alice)
    await alice.server.admin("POST", f"/peers/{bob.server.server_name}/block")
    assert looking.changes(looking.timeline(await alice.sync(), room_id), bob) == ["leave"]
    await bob.say(room_id, "unheard")
    await world.settle()
    await carol.say(room_id, "heard")
    await world.settle()
    assert await alice.texts(room_id) == ["heard"]


@simulated
async def test_no_peer_ever_hears_of_what_stands_in_for_a_departure(
    world: World, three: list[Person]
) -> None:
    alice, bob, carol = three
    room_id = await world.room(alice, bob, carol)
    await looking.catch_up(alice)
    await alice.revoke(bob)
    (departure,) = looking.timeline(await alice.sync(), room_id)
    receipt = f"{_V3}/rooms/{quote(room_id)}/receipt/m.read/{quote(departure['event_id'])}"
    await alice.client.request("POST", receipt, {})
    await alice.say(room_id, "hello carol")
    await world.settle()
    assert await looking.membership(carol, room_id, bob) == "join"
    assert looking.changes(await carol.timeline(room_id), bob) == ["invite", "join"]
    carol.forget_syncs()
    assert departure["event_id"] not in str(await carol.sync())
