"""G11: whoever was cut off is not in the room, in anything that the owner's clients see."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from homeserver import errors
from homeserver.testing.client import Refused
from homeserver.testing.fast_ratchets import FastRatchets
from homeserver.testing.person import Person
from homeserver.testing.simulated import simulated
from homeserver.testing.world import World
from tests.simulation import looking

_V3 = "/_matrix/client/v3"
_V1 = "/_matrix/client/v1"


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
async def test_one_sync_shows_that_he_left_every_shared_room(
    world: World, three: list[Person]
) -> None:
    alice, bob, carol = three
    shared = [await world.room(alice, bob, carol), await world.room(alice, bob)]
    await looking.catch_up(alice)
    await alice.revoke(bob)
    answer = await alice.sync()
    for room_id in shared:
        (departure,) = looking.timeline(answer, room_id)
        assert departure["sender"] == departure["state_key"] == bob.user_id
        assert departure["content"] == {"membership": "leave"}
        assert departure["unsigned"]["prev_content"]["membership"] == "join"
        summary = answer["rooms"]["join"][room_id]["summary"]
        assert summary["m.joined_member_count"] == len(await looking.joined(alice, room_id))
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
    await looking.catch_up(alice)
    await alice.revoke(bob)
    (departure,) = looking.timeline(await alice.sync(), room_id)
    here = {alice.user_id, carol.user_id}
    assert await looking.joined(alice, room_id) == here
    assert await looking.membership(alice, room_id, bob) == "leave"
    members = (await looking.get(alice, room_id, "members", membership="join"))["chunk"]
    assert {one["state_key"] for one in members} == here
    whole = {one["event_id"] for one in await looking.get(alice, room_id, "state")}
    assert departure["event_id"] in whole
    assert (await looking.get(alice, room_id, f"event/{departure['event_id']}"))["content"] == {
        "membership": "leave"
    }
    around = await looking.get(alice, room_id, f"context/{departure['event_id']}", limit="4")
    assert around["events_before"][0]["event_id"] == before
    timeline = await alice.timeline(room_id)
    assert timeline[-1]["event_id"] == departure["event_id"]
    alice.forget_syncs()
    anew = (await alice.sync())["rooms"]["join"][room_id]
    assert anew["summary"]["m.joined_member_count"] == len(here)
    assert looking.changes(anew["timeline"]["events"], bob)[-1] == "leave"


@simulated
async def test_what_he_says_goes_on_in_the_graph_and_is_not_seen(
    world: World, three: list[Person]
) -> None:
    alice, bob, carol = three
    room_id = await world.room(alice, bob, carol)
    await bob.say(room_id, "before")
    await world.settle()
    await alice.revoke(bob)
    await looking.catch_up(alice)
    unheard = await bob.say(room_id, "unheard")
    await world.settle()
    answer = await carol.say(room_id, "what bob says")
    await world.settle()
    assert await alice.texts(room_id) == ["before", "what bob says"]
    (shown,) = looking.timeline(await alice.sync(), room_id)
    assert shown["event_id"] == answer
    for path in (f"event/{unheard}", f"context/{unheard}"):
        with pytest.raises(Refused) as refusal:
            await looking.get(alice, room_id, path)
        assert refusal.value.status == 404
    assert unheard in {one["event_id"] for one in await carol.timeline(room_id)}
    await alice.say(room_id, "the graph goes on")
    await world.settle()
    assert (await carol.texts(room_id))[-1] == "the graph goes on"


@simulated
async def test_neither_his_profile_nor_his_presence_is_told(
    world: World, three: list[Person]
) -> None:
    alice, bob, carol = three
    room_id = await world.room(alice, bob, carol)
    await bob.grant(alice, presence=True)
    status = f"{_V3}/presence/{quote(bob.user_id)}/status"
    profile = f"{_V3}/profile/{quote(bob.user_id)}"
    here = {"presence": "online", "status_msg": "words of bob"}
    await bob.client.request("PUT", status, here)
    await world.settle()
    assert (await alice.client.request("GET", status))["status_msg"] == "words of bob"
    await alice.revoke(bob)
    await looking.catch_up(alice)
    await bob.client.request("PUT", f"{profile}/displayname", {"displayname": "words of bob"})
    await world.settle()
    await carol.say(room_id, "carol refers to it")
    await world.settle()
    for path in (profile, f"{profile}/displayname", status):
        with pytest.raises(Refused) as refusal:
            await alice.client.request("GET", path)
        assert refusal.value.status == 404


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
    await looking.catch_up(alice)
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
    shown = {one["type"]: one for one in looking.timeline(answer, room_id)}
    assert shown["m.room.topic"]["content"] == {}
    assert shown["m.room.power_levels"]["content"]["users_default"] == 7
    assert "words" not in shown["m.room.power_levels"]["content"]
    assert shown["m.room.encryption"]["content"]["extra"] == 1
    assert shown["m.room.redaction"]["redacts"] == taken_back
    assert shown["m.room.redaction"]["event_id"] == redaction["event_id"]
    assert await looking.get(alice, room_id, "state/m.room.topic/") == {}
    gone = await looking.get(alice, room_id, f"event/{taken_back}")
    assert gone["content"] == {}
    alice.forget_syncs()
    everything = [await alice.sync(), await alice.timeline(room_id), gone]
    everything.append(await looking.get(alice, room_id, "state"))
    assert "words of bob" not in str(everything)
    await carol.set_state(room_id, "m.room.name", "", {"name": "still one room"})
    await world.settle()
    assert await looking.get(alice, room_id, "state/m.room.name/") == {"name": "still one room"}


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
    await looking.catch_up(alice)
    kick = f"{_V3}/rooms/{quote(room_id)}/kick"
    await bob.client.request("POST", kick, {"user_id": dave.user_id, "reason": "words"})
    await world.settle()
    await carol.say(room_id, "carol refers to it")
    await world.settle()
    removal = looking.timeline(await alice.sync(), room_id)[0]
    assert removal["state_key"] == dave.user_id
    assert removal["content"] == {"membership": "leave"}
    assert await looking.joined(alice, room_id) == {alice.user_id, carol.user_id}


@simulated
async def test_counts_threads_and_edits_leave_him_out(world: World, three: list[Person]) -> None:
    alice, bob, carol = three
    room_id = await world.room(alice, bob, carol)
    root = await alice.say(room_id, "root")
    await world.settle()
    await alice.revoke(bob)
    await looking.catch_up(alice)
    thread = {"rel_type": "m.thread", "event_id": root}
    for person in (bob, carol):
        said = {"msgtype": "m.text", "body": f"{person.name} on it", "m.relates_to": thread}
        await person.client.send(room_id, "m.room.message", said)
        await world.settle()
    await carol.say(room_id, "carol refers to all of it")
    await world.settle()
    bundled = (await looking.get(alice, room_id, f"event/{root}"))["unsigned"]["m.relations"]
    assert bundled["m.thread"]["count"] == 1
    assert bundled["m.thread"]["latest_event"]["sender"] == carol.user_id
    path = f"{_V1}/rooms/{quote(room_id)}/relations/{quote(root)}"
    chunk = (await alice.client.request("GET", path))["chunk"]
    assert [one["sender"] for one in chunk] == [carol.user_id]
    room = (await alice.sync())["rooms"]["join"][room_id]
    assert room["unread_notifications"]["notification_count"] == 2


@simulated
async def test_neither_spaces_nor_lists_nor_search_tell_what_he_set(
    world: World, three: list[Person]
) -> None:
    alice, bob, carol = three
    listed = await world.room(alice)
    space = await world.room(alice, bob, carol, creation_content={"type": "m.space"})
    levels = {"users": {bob.user_id: 90}, "events": {"m.space.child": 0}}
    await alice.set_state(space, "m.room.power_levels", "", levels)
    await world.settle()
    await alice.revoke(bob)
    await looking.catch_up(alice)
    child = {"via": ["words.example"], "order": "words"}
    await bob.set_state(space, "m.space.child", listed, child)
    await bob.set_state(space, "m.room.topic", "", {"topic": "words of his"})
    await bob.set_state(space, "m.room.name", "", {"name": "words of his"})
    await world.settle()
    said = await carol.say(space, "words of hers")
    await world.settle()
    tree = await alice.client.request("GET", f"{_V1}/rooms/{quote(space)}/hierarchy")
    assert [one["room_id"] for one in tree["rooms"]] == [space]
    assert "words" not in str(tree)
    filters = {"spaces": [space]}, {"room_name_like": "words"}, {"room_types": ["m.space"]}
    asked = {
        str(number): {"ranges": [[0, 9]], "timeline_limit": 0, "filters": one}
        for number, one in enumerate(filters)
    }
    path = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"
    lists = (await alice.client.request("POST", path, {"lists": asked}))["lists"]
    assert [lists[str(number)]["count"] for number in range(3)] == [0, 0, 1]
    wanted = {"room_events": {"search_term": "words of"}}
    answer = await alice.client.request("POST", f"{_V3}/search", {"search_categories": wanted})
    results = answer["search_categories"]["room_events"]["results"]
    assert [one["result"]["event_id"] for one in results] == [said]


@simulated
async def test_no_peer_hears_of_what_stands_in_for_his_membership(
    world: World, three: list[Person]
) -> None:
    alice, bob, carol = three
    room_id = await world.room(alice, bob, carol)
    await looking.catch_up(alice)
    last = {"room_id": room_id, "ts": 2**52, "dir": "b"}
    before = await looking.asked(carol, alice, "timestamp_to_event", last)
    await world.pass_time(100)
    await alice.revoke(bob)
    (departure,) = looking.timeline(await alice.sync(), room_id)
    assert await looking.asked(carol, alice, "timestamp_to_event", last) == before
    stand_in = {"room_id": room_id, "event_id": departure["event_id"]}
    for operation in ("state_ids", "state", "event_auth"):
        with pytest.raises(errors.PeerRefused):
            await looking.asked(carol, alice, operation, stand_in)
    back = {"room_id": room_id, "v": [departure["event_id"]], "limit": 5}
    assert (await looking.asked(carol, alice, "backfill", back))["pdus"] == []


@simulated
async def test_peers_are_told_of_a_room_as_it_is(world: World, three: list[Person]) -> None:
    alice, bob, carol = three
    room_id = await world.room(bob, alice, carol)
    await bob.set_state(room_id, "m.room.topic", "", {"topic": "Bob's words"})
    await bob.set_state(room_id, "m.room.join_rules", "", {"join_rule": "public"})
    await world.settle()
    listed = f"{_V3}/directory/list/room/{quote(room_id)}"
    await alice.client.request("PUT", listed, {"visibility": "public"})
    await alice.revoke(bob)
    (published,) = (await looking.asked(carol, alice, "publicRooms", {}))["chunk"]
    tree = await looking.asked(carol, alice, "hierarchy", {"room_id": room_id})
    for told in (published, tree["room"]):
        assert told["num_joined_members"] == 3
        assert told["topic"] == "Bob's words"
    (shown,) = (await alice.client.request("GET", f"{_V3}/publicRooms"))["chunk"]
    assert shown["num_joined_members"] == 2
