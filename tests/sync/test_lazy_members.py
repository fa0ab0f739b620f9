"""Clients that want to know those members who speak, and each of them once."""

from homeserver.matrix.canonical_json import JsonObject
from homeserver.rooms.drafting import Intent
from tests.sync.alice import ALICE, BOB, CAROL, Alice, keys
from tests.sync.sliding import Slider, places, windowed


async def test_a_lazy_client_gets_the_members_who_speak(alice: Alice) -> None:
    room_id = await alice.create()
    await alice.member(room_id, BOB, "join")
    await alice.member(room_id, CAROL, "join")
    await alice.set(room_id, "m.room.name", name="Garden")
    await alice.bob_says(room_id, "hello")
    lazy = {"room": {"state": {"lazy_load_members": True}, "timeline": {"limit": 1}}}

    answer = await alice.sync(filter=lazy)
    members = {
        key
        for kind, key in keys(answer["rooms"]["join"][room_id]["state"]["events"])
        if kind == "m.room.member"
    }
    assert members == {ALICE, BOB}

    async def told(since: str, wanted: JsonObject = lazy) -> set[tuple[str, str]]:
        room = (await alice.sync(since, filter=wanted))["rooms"]["join"][room_id]
        return keys(room["state"]["events"])

    await alice.bob_says(room_id, "again")
    since = answer["next_batch"]
    assert await told(since) == set()
    redundant = {"lazy_load_members": True, "include_redundant_members": True}
    assert await told(since, {"room": {"state": redundant}}) == {("m.room.member", BOB)}
    # Carol was not needed before; an answer that may have been lost is given again.
    await alice.happen(room_id, Intent(CAROL, "m.room.message", {"body": "me too"}))
    assert await told(since) == await told(since) == {("m.room.member", CAROL)}
    since = (await alice.sync(since, filter=lazy))["next_batch"]
    await alice.happen(room_id, Intent(CAROL, "m.room.message", {"body": "still here"}))
    assert await told(since) == set()
    # A client that begins anew has forgotten them, as the server has when it restarts.
    await alice.bob_says(room_id, "and I")
    since = (await alice.sync(filter=lazy))["next_batch"]
    await alice.happen(room_id, Intent(CAROL, "m.room.message", {"body": "here too"}))
    assert await told(since) == {("m.room.member", CAROL)}


async def test_a_lazy_client_hears_of_members_that_changed_in_a_gap(alice: Alice) -> None:
    room_id = await alice.create()
    lazy = {"room": {"state": {"lazy_load_members": True}, "timeline": {"limit": 1}}}
    since = (await alice.sync(filter=lazy))["next_batch"]
    await alice.member(room_id, BOB, "join")
    await alice.say(room_id, "hello")
    room = (await alice.sync(since, filter=lazy))["rooms"]["join"][room_id]
    assert ("m.room.member", BOB) in keys(room["state"]["events"])
    assert room["summary"]["m.joined_member_count"] == 2
    assert room["summary"]["m.heroes"] == [BOB]


async def test_members_who_speak_are_told_once_and_again_after_a_gap(alice: Alice) -> None:
    room_id = await alice.create()
    await alice.member(room_id, BOB, "join")
    slider, lazy = (
        Slider(alice),
        windowed([0, 9], limit=2, required_state=[["m.room.member", "$LAZY"]]),
    )
    await slider.slide(lazy)
    bob = {("m.room.member", BOB)}
    await alice.bob_says(room_id, "hello")
    assert places((await slider.slide(lazy))["rooms"][room_id]) == set()
    for text in ("a", "b", "c"):
        await alice.bob_says(room_id, text)
    # Asked for once more, because the answer was lost.
    assert places((await slider.ask(lazy))["rooms"][room_id]) == bob
    assert places((await slider.slide(lazy))["rooms"][room_id]) == bob
    await alice.bob_says(room_id, "d")
    assert places((await slider.slide(lazy))["rooms"][room_id]) == set()
    await alice.member(room_id, BOB, "join", displayname="Bob")
    await alice.bob_says(room_id, "e")
    assert places((await slider.slide(lazy))["rooms"][room_id]) == bob
