"""An invitation that was declined on another device, or taken back, is one nowhere any more."""

from typing import Any

import pytest

from tests.sync.alice import ALICE, BOB, Alice, keys
from tests.sync.sliding import Slider, windowed


async def end_of_invitation(alice: Alice, how: str, **parameters: Any) -> Any:
    """What an incremental answer says of a room to which an invitation ended."""
    room_id = await alice.be_invited()
    since = (await alice.sync())["next_batch"]
    await (alice.reject(room_id) if how == "rejected" else alice.be_uninvited(room_id))
    answer = await alice.sync(since, **parameters)
    assert list(answer["rooms"]) == ["leave"]
    assert "rooms" not in await alice.sync(answer["next_batch"])
    return answer["rooms"]["leave"][room_id]


@pytest.mark.parametrize(("how", "sender"), [("rejected", ALICE), ("revoked", BOB)])
async def test_a_device_is_told_the_event_that_ended_it(
    alice: Alice, how: str, sender: str
) -> None:
    left = await end_of_invitation(alice, how)
    [departure] = left["timeline"]["events"]
    assert (departure["type"], departure["state_key"]) == ("m.room.member", ALICE)
    assert (departure["sender"], departure["content"]) == (sender, {"membership": "leave"})
    assert left["state"]["events"] == []
    everything = await alice.sync(filter={"room": {"include_leave": True}})
    [told] = everything["rooms"]["leave"].values()
    assert [one["event_id"] for one in told["timeline"]["events"]] == [departure["event_id"]]


async def test_the_end_of_an_invitation_stands_in_the_state_where_the_timeline_is_filtered(
    alice: Alice,
) -> None:
    wanted = {"room": {"timeline": {"types": ["m.room.message"]}}}
    left = await end_of_invitation(alice, "rejected", filter=wanted)
    assert left["timeline"]["events"] == []
    assert keys(left["state"]["events"]) == {("m.room.member", ALICE)}


async def test_an_invitation_back_into_a_room_that_was_left_ends_like_any_other(
    alice: Alice,
) -> None:
    room_id = await alice.create(version_id="11")
    await alice.member(room_id, BOB, "join")
    await alice.set(room_id, "m.room.power_levels", users={BOB: 100, ALICE: 50})
    since = (await alice.sync())["next_batch"]
    await alice.member(room_id, ALICE, "leave")
    assert await alice.be_invited(room_id=room_id) == room_id
    await alice.be_uninvited(room_id)
    timeline = (await alice.sync(since))["rooms"]["leave"][room_id]["timeline"]["events"]
    assert [one["sender"] for one in timeline] == [ALICE, BOB]


@pytest.mark.parametrize("how", ["rejected", "revoked"])
@pytest.mark.parametrize("limit", [0, 1])
async def test_a_sliding_device_is_told_the_event_that_ended_it(
    alice: Alice, how: str, limit: int
) -> None:
    room_id = await alice.be_invited()
    slider, lists = Slider(alice), windowed([0, 9], limit=limit)
    assert "invite_state" in (await slider.slide(lists))["rooms"][room_id]
    await (alice.reject(room_id) if how == "rejected" else alice.be_uninvited(room_id))
    room = (await slider.slide(lists))["rooms"][room_id]
    [departure] = room["required_state"]
    assert (departure["state_key"], departure["content"]) == (ALICE, {"membership": "leave"})
    assert [one["event_id"] for one in room.get("timeline", [])] == [departure["event_id"]][:limit]
    assert (await slider.slide(lists))["rooms"] == {}


@pytest.mark.parametrize("how", ["rejected", "revoked"])
async def test_in_the_accepted_form_the_end_of_an_invitation_is_stripped_state(
    alice: Alice, how: str
) -> None:
    room_id = await alice.be_invited()
    slider, lists = Slider(alice, is_stable=True), windowed([0, 9], required_state={})
    assert (await slider.slide(lists))["rooms"][room_id]["membership"] == "invite"
    await (alice.reject(room_id) if how == "rejected" else alice.be_uninvited(room_id))
    room = (await slider.slide(lists))["rooms"][room_id]
    assert room["membership"] == "leave"
    told = {one["type"]: one["content"] for one in room["stripped_state"]}
    assert told == {"m.room.name": {"name": "B"}, "m.room.member": {"membership": "leave"}}
    assert not {"timeline", "required_state", "joined_count"} & room.keys()
    assert (await slider.slide(lists))["rooms"] == {}
