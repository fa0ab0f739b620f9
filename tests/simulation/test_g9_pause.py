"""G9: pause moves nothing and loses nothing."""

from typing import Any
from urllib.parse import quote

import pytest

from homeserver.testing.network import Passage
from homeserver.testing.person import Person
from homeserver.testing.simulated import simulated
from homeserver.testing.world import DAY, HOUR, World

_V3 = "/_matrix/client/v3"


def _moved(world: World, since: float) -> list[Passage]:
    """What carried anything: a refusal, and a request that is refused, carry nothing."""
    later = [one for one in world.network.passages if one.at > since]
    from_alice = [one for one in later if one.source == "alice" and one.fate != "refused"]
    answered = [one for one in later if one.kind == "answer" and one.fate == "arrived"]
    return from_alice + answered


@simulated
async def test_a_pause_moves_nothing_and_loses_nothing(
    world: World, befriended: list[Person]
) -> None:
    alice, bob = befriended
    room_id = await world.room(alice, bob)
    members = len([one for one in await alice.timeline(room_id) if "membership" in one["content"]])
    await alice.pause(bob)
    begun = world.now
    for number in range(4):
        await alice.say(room_id, f"alice {number}")
        await bob.say(room_id, f"bob {number}")
        await world.pass_time(HOUR)
    await alice.server.restart()
    await world.pass_time(DAY)
    assert _moved(world, begun) == []
    assert not [text for text in await alice.texts(room_id) if text.startswith("bob")]
    await alice.resume(bob)
    await world.check_healed()
    assert len(await alice.texts(room_id)) == len(await bob.texts(room_id)) == 8
    for person in befriended:
        events = await person.timeline(room_id)
        assert len([one for one in events if "membership" in one["content"]]) == members


async def _nothing_moves(world: World, alice: Person, bob: Person, where: str) -> None:
    """Alice pauses one, or everything: not a byte is taken either way, and nothing is lost."""
    room_id = await world.room(alice, bob)
    await alice.server.admin("POST", f"{where}/pause")
    await world.pass_time(1.0)  # what Bob asked before is refused now
    begun = world.now
    for person in (alice, bob):
        await person.say(room_id, f"{person.name} meanwhile")
    await world.pass_time(HOUR)
    assert _moved(world, begun) == []
    later = [one for one in world.network.passages if one.at > begun]
    assert {one.source for one in later if one.kind == "request"} == {"bob"}
    assert {one.fate for one in later if one.kind == "answer"} == {"refused"}
    assert "bob meanwhile" not in await alice.texts(room_id)
    await alice.server.admin("POST", f"{where}/resume")
    await world.check_healed()
    for person in (alice, bob):
        assert {"alice meanwhile", "bob meanwhile"} <= set(await person.texts(room_id))


@simulated
async def test_a_pause_of_one_refuses_whatever_he_sends(
    world: World, befriended: list[Person]
) -> None:
    alice, bob = befriended
    await _nothing_moves(world, alice, bob, f"/peers/{bob.server.server_name}")


@simulated
async def test_a_pause_of_everything_is_one_of_each(world: World, befriended: list[Person]) -> None:
    alice, bob = befriended
    await _nothing_moves(world, alice, bob, "")


@simulated
async def test_both_pause_and_one_resumes(world: World, befriended: list[Person]) -> None:
    alice, bob = befriended
    room_id = await world.room(alice, bob)
    await alice.pause(bob)
    await bob.pause(alice)
    await alice.say(room_id, "held")
    await alice.resume(bob)
    await world.pass_time(HOUR)
    assert await bob.texts(room_id) == []
    await bob.resume(alice)
    await world.check_healed()
    assert await bob.texts(room_id) == ["held"]


@simulated
async def test_what_resume_frees_flows_at_once(world: World, befriended: list[Person]) -> None:
    alice, bob = befriended
    room_id = await world.room(alice, bob)
    await alice.pause(bob)
    await alice.say(room_id, "held by me")
    await bob.say(room_id, "held by him")
    await world.pass_time(12 * HOUR)  # his pauses between tries are long by now
    await alice.resume(bob)
    await world.pass_time(2.0)
    assert await bob.texts(room_id) == ["held by him", "held by me"]
    assert await alice.texts(room_id) == ["held by me", "held by him"]


@pytest.mark.parametrize("is_everything", [False, True])
@simulated
async def test_of_receipts_and_presence_the_newest_is_kept(
    world: World, befriended: list[Person], *, is_everything: bool
) -> None:
    alice, bob = befriended
    room_id = await world.room(alice, bob)
    await alice.grant(bob, presence=True)
    said = [await bob.say(room_id, f"{number}") for number in range(2)]
    await world.settle()
    place = "" if is_everything else f"/peers/{bob.server.server_name}"
    await alice.server.admin("POST", f"{place}/pause")
    begun = world.now
    for event_id in said:
        receipt = f"{_V3}/rooms/{quote(room_id)}/receipt/m.read/{quote(event_id)}"
        await alice.client.request("POST", receipt, {})
        await _be_there(alice, event_id)
    await world.pass_time(HOUR)
    await alice.server.restart()
    await world.pass_time(60.0)
    assert _moved(world, begun) == []
    await alice.server.admin("POST", f"{place}/resume")
    await world.pass_time(60.0)
    seen: dict[str, Any] = await bob.sync()
    (receipts,) = [
        one["content"]
        for one in seen["rooms"]["join"][room_id]["ephemeral"]["events"]
        if one["type"] == "m.receipt"
    ]
    assert [event_id for event_id in said if alice.user_id in str(receipts.get(event_id))] == [
        said[-1]
    ]
    status = f"{_V3}/presence/{quote(alice.user_id)}/status"
    assert (await bob.client.request("GET", status))["status_msg"] == said[-1]


async def _be_there(person: Person, words: str) -> None:
    path = f"{_V3}/presence/{quote(person.user_id)}/status"
    await person.client.request("PUT", path, {"presence": "online", "status_msg": words})


async def _pause(alice: Person, bob: Person, *, all_at_once: bool) -> None:
    await (alice.server.admin("POST", "/pause") if all_at_once else alice.pause(bob))


async def _resume(alice: Person, bob: Person, *, all_at_once: bool) -> None:
    await (alice.server.admin("POST", "/resume") if all_at_once else alice.resume(bob))


@pytest.mark.parametrize("all_at_once", [False, True], ids=["one", "everything"])
@simulated
async def test_no_byte_is_carried_in_either_direction(
    world: World, befriended: list[Person], all_at_once: bool
) -> None:
    alice, bob = befriended
    room_id = await world.room(alice, bob)
    await _pause(alice, bob, all_at_once=all_at_once)
    await world.pass_time(1.0)  # what Bob asked before is refused now
    begun = world.now
    for person in befriended:
        await person.say(room_id, f"{person.name} meanwhile")
    await world.pass_time(HOUR)
    assert _moved(world, begun) == []
    later = [one for one in world.network.passages if one.at > begun]
    assert {one.source for one in later if one.kind == "request"} == {"bob"}
    assert {one.fate for one in later if one.kind == "answer"} == {"refused"}
    assert "bob meanwhile" not in await alice.texts(room_id)
    await _resume(alice, bob, all_at_once=all_at_once)
    await world.check_healed()
    for person in befriended:
        assert {"alice meanwhile", "bob meanwhile"} <= set(await person.texts(room_id))
