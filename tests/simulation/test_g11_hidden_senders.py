"""G11: whoever was cut off is not in the room, in anything that the owner's clients see."""

from typing import Any
from urllib.parse import quote

import pytest

from homeserver.config import FederationSettings
from homeserver.testing.client import Refused
from homeserver.testing.person import Person
from homeserver.testing.simulated import simulated
from homeserver.testing.simulated_server import PASSWORD
from homeserver.testing.world import World

_V3 = "/_matrix/client/v3"
_V1 = "/_matrix/client/v1"
_CIPHERTEXT = {"algorithm": "m.megolm.v1.aes-sha2", "session_id": "x", "ciphertext": "y"}


@pytest.fixture
def three(world: World) -> list[Person]:
    world.checks_itself = False  # it would sync in the place of these clients
    return world.run(world.befriended("alice", "bob", "carol"))


async def _get(person: Person, room_id: str, path: str, **parameters: str) -> Any:
    room = f"{_V3}/rooms/{quote(room_id)}/{path}"
    return await person.client.request("GET", room, parameters=parameters)


async def _joined(person: Person, room_id: str) -> set[str]:
    return set((await _get(person, room_id, "joined_members"))["joined"])


async def _membership(person: Person, room_id: str, other: Person) -> str | None:
    try:
        path = f"state/m.room.member/{quote(other.user_id)}"
        return str((await _get(person, room_id, path))["membership"])
    except Refused:
        return None


async def _catch_up(person: Person) -> None:
    """Sync until nothing new comes: the device has then said that it had the last answer."""
    for _ in range(3):
        await person.sync()


def _timeline(answer: dict[str, Any], room_id: str) -> list[dict[str, Any]]:
    return list(answer["rooms"]["join"][room_id]["timeline"]["events"])


def _changes(events: list[dict[str, Any]], other: Person) -> list[str]:
    return [
        one["content"]["membership"]
        for one in events
        if one["type"] == "m.room.member" and one["state_key"] == other.user_id
    ]


@simulated
async def test_one_sync_shows_that_he_left_every_shared_room(
    world: World, three: list[Person]
) -> None:
    alice, bob, carol = three
    shared = [await world.room(alice, bob, carol), await world.room(alice, bob)]
    await _catch_up(alice)
    await alice.revoke(bob)
    answer = await alice.sync()
    for room_id in shared:
        (departure,) = _timeline(answer, room_id)
        assert departure["sender"] == departure["state_key"] == bob.user_id
        assert departure["content"] == {"membership": "leave"}
        assert departure["unsigned"]["prev_content"]["membership"] == "join"
        summary = answer["rooms"]["join"][room_id]["summary"]
        assert summary["m.joined_member_count"] == len(await _joined(alice, room_id))
    assert answer["device_lists"]["left"] == [bob.user_id]
    assert "changed" not in answer["device_lists"]
    again = (await alice.sync()).get("rooms", {}).get("join", {})
    assert not set(shared) & set(again)


@simulated
async def test_every_way_to_look_says_the_same(world: World, three: list[Person]) -> None:
    alice, bob, carol = three
    room_id = await world.room(alice, bob, carol)
    before = await bob.say(room_id, "before")
    await world.settle()
    await _catch_up(alice)
    await alice.revoke(bob)
    (departure,) = _timeline(await alice.sync(), room_id)
    here = {alice.user_id, carol.user_id}
    assert await _joined(alice, room_id) == here
    assert await _membership(alice, room_id, bob) == "leave"
    members = (await _get(alice, room_id, "members", membership="join"))["chunk"]
    assert {one["state_key"] for one in members} == here
    whole = {one["event_id"] for one in await _get(alice, room_id, "state")}
    assert departure["event_id"] in whole
    assert (await _get(alice, room_id, f"event/{departure['event_id']}"))["content"] == {
        "membership": "leave"
    }
    around = await _get(alice, room_id, f"context/{departure['event_id']}", limit="4")
    assert around["events_before"][0]["event_id"] == before
    timeline = await alice.timeline(room_id)
    assert timeline[-1]["event_id"] == departure["event_id"]
    alice.forget_syncs()
    anew = (await alice.sync())["rooms"]["join"][room_id]
    assert anew["summary"]["m.joined_member_count"] == len(here)
    assert _changes(anew["timeline"]["events"], bob)[-1] == "leave"


@simulated
async def test_what_he_says_goes_on_in_the_graph_and_is_not_seen(
    world: World, three: list[Person]
) -> None:
    alice, bob, carol = three
    room_id = await world.room(alice, bob, carol)
    await bob.say(room_id, "before")
    await world.settle()
    await alice.revoke(bob)
    await _catch_up(alice)
    unheard = await bob.say(room_id, "unheard")
    await world.settle()
    answer = await carol.say(room_id, "what bob says")
    await world.settle()
    assert await alice.texts(room_id) == ["before", "what bob says"]
    (shown,) = _timeline(await alice.sync(), room_id)
    assert shown["event_id"] == answer
    for path in (f"event/{unheard}", f"context/{unheard}"):
        with pytest.raises(Refused) as refusal:
            await _get(alice, room_id, path)
        assert refusal.value.status == 404
    assert unheard in {one["event_id"] for one in await carol.timeline(room_id)}
    await alice.say(room_id, "the graph goes on")
    await world.settle()
    assert (await carol.texts(room_id))[-1] == "the graph goes on"


@simulated
async def test_of_his_state_only_power_is_seen_and_his_redactions_apply(
    world: World, three: list[Person]
) -> None:
    alice, bob, carol = three
    levels = {"users": {alice.user_id: 100, bob.user_id: 90}, "events": {"m.room.name": 0}}
    room_id = await world.room(alice, bob, carol, room_version="11")
    await alice.set_state(room_id, "m.room.power_levels", "", levels)
    taken_back = await carol.say(room_id, "taken back by bob")
    await world.settle()
    await alice.revoke(bob)
    await _catch_up(alice)
    await bob.set_state(room_id, "m.room.topic", "", {"topic": "words of bob"})
    await bob.set_state(
        room_id, "m.room.power_levels", "", levels | {"users_default": 7, "words": "of bob"}
    )
    await bob.set_state(
        room_id, "m.room.encryption", "", {"algorithm": "m.megolm.v1.aes-sha2", "extra": 1}
    )
    path = f"{_V3}/rooms/{quote(room_id)}/redact/{quote(taken_back)}/1"
    redaction = await bob.client.request("PUT", path, {"reason": "words of bob"})
    await world.settle()
    await carol.say(room_id, "carol refers to it")
    await world.settle()
    answer = await alice.sync()
    shown = {one["type"]: one for one in _timeline(answer, room_id)}
    assert shown["m.room.topic"]["content"] == {}
    assert shown["m.room.power_levels"]["content"]["users_default"] == 7
    assert "words" not in shown["m.room.power_levels"]["content"]
    assert shown["m.room.encryption"]["content"]["extra"] == 1
    assert shown["m.room.redaction"]["redacts"] == taken_back
    assert shown["m.room.redaction"]["event_id"] == redaction["event_id"]
    assert await _get(alice, room_id, "state/m.room.topic/") == {}
    gone = await _get(alice, room_id, f"event/{taken_back}")
    assert gone["content"] == {}
    alice.forget_syncs()
    everything = [await alice.sync(), await alice.timeline(room_id), gone]
    everything.append(await _get(alice, room_id, "state"))
    assert "words of bob" not in str(everything)
    await carol.set_state(room_id, "m.room.name", "", {"name": "still one room"})
    await world.settle()
    assert await _get(alice, room_id, "state/m.room.name/") == {"name": "still one room"}


@simulated
async def test_whom_he_removes_is_gone_without_a_word_of_his(
    world: World, three: list[Person]
) -> None:
    alice, bob, carol = three
    room_id = await world.room(bob, alice, carol)
    dave = await world.person("dave")
    for one in three:
        await world.connect(one, dave)
    await bob.moderate("invite", room_id, dave)
    await world.settle()
    await dave.join(room_id, 5)
    await world.settle()
    await alice.revoke(bob)
    await _catch_up(alice)
    kick = f"{_V3}/rooms/{quote(room_id)}/kick"
    await bob.client.request("POST", kick, {"user_id": dave.user_id, "reason": "words"})
    await world.settle()
    await carol.say(room_id, "carol refers to it")
    await world.settle()
    removal = _timeline(await alice.sync(), room_id)[0]
    assert removal["state_key"] == dave.user_id
    assert removal["content"] == {"membership": "leave"}
    assert await _joined(alice, room_id) == {alice.user_id, carol.user_id}


@simulated
async def test_a_device_that_does_not_know_yet_is_asked_to_write_it_again(
    world: World, three: list[Person]
) -> None:
    alice, bob, carol = three
    room_id = await world.room(alice, bob, carol)
    of_two = await world.room(alice, bob)
    await _catch_up(alice)
    async with alice.server.client() as phone:
        await phone.log_in(alice.name, PASSWORD)
        await phone.sync()
        await alice.revoke(bob)
        await alice.server.restart()
        for client in (alice.client, phone):
            with pytest.raises(Refused) as refusal:
                await client.send(room_id, "m.room.encrypted", _CIPHERTEXT)
            assert (refusal.value.status, refusal.value.errcode) == (403, "M_FORBIDDEN")
            assert "write it again" in str(refusal.value)
        await alice.client.send(of_two, "m.room.encrypted", _CIPHERTEXT)
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
async def test_after_a_new_consent_he_is_back_and_what_he_said_is_history(
    world: World, three: list[Person]
) -> None:
    alice, bob, carol = three
    room_id = await world.room(alice, bob, carol)
    await _catch_up(alice)
    await alice.revoke(bob)
    await _catch_up(alice)
    await bob.say(room_id, "said meanwhile")
    await world.settle()
    await carol.say(room_id, "carol refers to it")
    await world.settle()
    await _catch_up(alice)
    await bob.revoke(alice)
    await world.connect(alice, bob)
    answer = await alice.sync()
    assert _changes(_timeline(answer, room_id), bob) == ["join"]
    returned = next(one for one in _timeline(answer, room_id) if one["type"] == "m.room.member")
    assert returned["unsigned"]["prev_content"]["membership"] == "leave"
    assert returned["content"].get("displayname") == (
        await _get(carol, room_id, f"state/m.room.member/{quote(bob.user_id)}")
    ).get("displayname")
    assert bob.user_id in answer["device_lists"]["changed"]
    assert answer["rooms"]["join"][room_id]["summary"]["m.joined_member_count"] == len(three)
    assert await _joined(alice, room_id) == {one.user_id for one in three}
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
    await _catch_up(alice)
    await carol.moderate("invite", room_id, bob)
    await world.settle()
    await bob.join(room_id, 5)
    await bob.say(room_id, "is anybody here?")
    await world.settle()
    await carol.say(room_id, "carol is")
    await world.settle()
    assert await _joined(alice, room_id) == {alice.user_id, carol.user_id}
    assert await _membership(alice, room_id, bob) is None
    assert await alice.texts(room_id) == ["carol is"]
    assert bob.user_id not in str(await alice.sync())


@simulated
async def test_who_is_in_a_room_that_the_owner_joins_later_is_not_there(world: World) -> None:
    world.checks_itself = False
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
    assert await _joined(alice, room_id) == {alice.user_id, carol.user_id}
    assert await _membership(alice, room_id, bob) is None
    assert "before alice came" not in await alice.texts(room_id)
    alice.forget_syncs()
    assert bob.user_id not in str((await alice.sync())["rooms"]["join"][room_id]["timeline"])


@simulated
async def test_the_blocked_are_hidden_in_the_same_way(world: World, three: list[Person]) -> None:
    alice, bob, carol = three
    room_id = await world.room(alice, bob, carol)
    await _catch_up(alice)
    await alice.server.admin("POST", f"/peers/{bob.server.server_name}/block")
    assert _changes(_timeline(await alice.sync(), room_id), bob) == ["leave"]
    await bob.say(room_id, "unheard")
    await world.settle()
    await carol.say(room_id, "heard")
    await world.settle()
    assert await alice.texts(room_id) == ["heard"]


@simulated
async def test_counts_threads_and_edits_leave_him_out(world: World, three: list[Person]) -> None:
    alice, bob, carol = three
    room_id = await world.room(alice, bob, carol)
    root = await alice.say(room_id, "root")
    await world.settle()
    await alice.revoke(bob)
    await _catch_up(alice)
    thread = {"rel_type": "m.thread", "event_id": root}
    for person in (bob, carol):
        said = {"msgtype": "m.text", "body": f"{person.name} on it", "m.relates_to": thread}
        await person.client.send(room_id, "m.room.message", said)
        await world.settle()
    await carol.say(room_id, "carol refers to all of it")
    await world.settle()
    bundled = (await _get(alice, room_id, f"event/{root}"))["unsigned"]["m.relations"]
    assert bundled["m.thread"]["count"] == 1
    assert bundled["m.thread"]["latest_event"]["sender"] == carol.user_id
    path = f"{_V1}/rooms/{quote(room_id)}/relations/{quote(root)}"
    chunk = (await alice.client.request("GET", path))["chunk"]
    assert [one["sender"] for one in chunk] == [carol.user_id]
    room = (await alice.sync())["rooms"]["join"][room_id]
    assert room["unread_notifications"]["notification_count"] == 2


@simulated
async def test_no_peer_ever_hears_of_what_stands_in_for_a_departure(
    world: World, three: list[Person]
) -> None:
    alice, bob, carol = three
    room_id = await world.room(alice, bob, carol)
    await _catch_up(alice)
    await alice.revoke(bob)
    (departure,) = _timeline(await alice.sync(), room_id)
    receipt = f"{_V3}/rooms/{quote(room_id)}/receipt/m.read/{quote(departure['event_id'])}"
    await alice.client.request("POST", receipt, {})
    await alice.say(room_id, "hello carol")
    await world.settle()
    assert await _membership(carol, room_id, bob) == "join"
    assert _changes(await carol.timeline(room_id), bob) == ["invite", "join"]
    carol.forget_syncs()
    assert departure["event_id"] not in str(await carol.sync())
