"""G20: every edit of what a peer may do applies with the next frame."""

from urllib.parse import quote

import pytest

from homeserver.testing.client import Refused
from homeserver.testing.person import Person
from homeserver.testing.simulated import simulated
from homeserver.testing.world import World
from tests.simulation.test_the_wire_sees_grants import wish_while_the_introducer_sleeps

_V3 = "/_matrix/client/v3"


@simulated
async def test_messages(world: World, befriended: list[Person]) -> None:
    alice, bob = befriended
    room_id = await world.room(alice, bob)
    for number, is_granted in enumerate((True, False, True, False)):
        await alice.grant(bob, messages=is_granted)
        await bob.say(room_id, f"{number} {is_granted}")
        await world.settle()
        seen = await alice.texts(room_id)
        assert (f"{number} {is_granted}" in seen) == is_granted
    await alice.say(room_id, "but you hear me")
    await world.settle()
    assert (await bob.texts(room_id))[-1] == "but you hear me"


@simulated
async def test_words_that_were_not_granted_stay_out_when_somebody_refers_to_them(
    world: World,
) -> None:
    alice, bob, carol = await world.befriended("alice", "bob", "carol")
    room_id = await world.room(alice, bob, carol)
    await alice.grant(bob, messages=False)
    await bob.say(room_id, "not for alice")
    await world.settle()
    await carol.say(room_id, "after bob")
    await world.settle()
    assert await alice.texts(room_id) == ["after bob"]


@simulated
async def test_room_invites(world: World, befriended: list[Person]) -> None:
    alice, bob = befriended
    await alice.grant(bob, room_invites=False)
    await bob.create_room(alice)
    await world.settle()
    assert "invite" not in (await alice.sync()).get("rooms", {})
    await alice.grant(bob, room_invites=True)
    room_id = await bob.create_room(alice)
    await world.settle()
    alice.forget_syncs()
    assert list((await alice.sync())["rooms"]["invite"]) == [room_id]


@pytest.mark.parametrize("kind", ["typing", "receipts"])
@simulated
async def test_what_belongs_to_a_moment(world: World, befriended: list[Person], kind: str) -> None:
    alice, bob = befriended
    room_id = await world.room(alice, bob)
    event_id = await alice.say(room_id, "read me")
    await world.settle()
    await alice.grant(bob, **{kind: False})
    await _act(bob, kind, room_id, event_id)
    await world.settle()
    assert not await _shown(alice, room_id)
    await alice.grant(bob, **{kind: True})
    later = await alice.say(room_id, "and me")
    await world.settle()
    await _act(bob, kind, room_id, later)
    await world.pass_time(1.0)
    assert bob.user_id in str(await _shown(alice, room_id))


async def _act(person: Person, kind: str, room_id: str, event_id: str) -> None:
    room = f"{_V3}/rooms/{quote(room_id)}"
    if kind == "typing":
        body = {"typing": True, "timeout": 30_000}
        await person.client.request("PUT", f"{room}/typing/{quote(person.user_id)}", body)
    else:
        await person.client.request("POST", f"{room}/receipt/m.read/{quote(event_id)}", {})


async def _shown(person: Person, room_id: str) -> list[object]:
    """The ephemeral events about others that a sync brings."""
    room = (await person.sync()).get("rooms", {}).get("join", {}).get(room_id, {})
    events = room.get("ephemeral", {}).get("events", [])
    return [one for one in events if "@bob" in str(one)]


@simulated
async def test_media(world: World, befriended: list[Person]) -> None:
    alice, bob = befriended
    await world.room(alice, bob)
    small, large = await _upload(bob, 1_000), await _upload(bob, 5_000)
    await alice.grant(bob, media_max_bytes=2_000)
    assert len(await alice.client.download(small)) == 1_000
    with pytest.raises(Refused):
        await alice.client.download(large)
    await alice.grant(bob, media_max_bytes=10_000)
    assert len(await alice.client.download(large)) == 5_000


async def _upload(person: Person, size: int) -> str:
    return await person.client.upload(bytes(size), "application/octet-stream")


@simulated
async def test_an_edit_holds_in_its_own_direction_only(
    world: World, befriended: list[Person]
) -> None:
    alice, bob = befriended
    for one, other in ((alice, bob), (bob, alice)):
        room_id = await world.room(one, other)
        await one.grant(other, messages=False)
        await other.say(room_id, f"{one.name} does not want to hear this")
        await one.say(room_id, f"{one.name} may still speak")
        await world.settle()
        assert f"{one.name} does not want to hear this" not in await one.texts(room_id)
        assert f"{one.name} may still speak" in await other.texts(room_id)
        await one.grant(other, messages=True)


@simulated
async def test_presence(world: World, befriended: list[Person]) -> None:
    alice, bob = befriended
    await world.room(alice, bob)
    for text, is_granted in (("first", False), ("second", True), ("third", False)):
        await alice.grant(bob, presence=is_granted)
        await bob.grant(alice, presence=not is_granted)
        for person in (alice, bob):
            await _set_presence(person, text)
        await world.settle()
        assert (await _presence(bob, alice) == text) == is_granted
        assert (await _presence(alice, bob) == text) != is_granted


@simulated
async def test_what_waits_during_a_pause_obeys_an_edit(
    world: World, befriended: list[Person]
) -> None:
    alice, bob = befriended
    await world.room(alice, bob)
    await alice.grant(bob, presence=True)
    await alice.pause(bob)
    await _set_presence(alice, "still granted")
    await alice.grant(bob, presence=False)
    await alice.resume(bob)
    await world.settle()
    assert await _presence(bob, alice) != "still granted"


async def _set_presence(person: Person, text: str) -> None:
    path = f"{_V3}/presence/{quote(person.user_id)}/status"
    await person.client.request("PUT", path, {"presence": "online", "status_msg": text})


async def _presence(person: Person, other: Person) -> str | None:
    path = f"{_V3}/presence/{quote(other.user_id)}/status"
    try:
        answer = await person.client.request("GET", path)
    except Refused:
        return None
    text: str | None = answer.get("status_msg")
    return text


@simulated
async def test_profile(world: World, befriended: list[Person]) -> None:
    alice, bob = befriended
    profile = f"{_V3}/profile/{quote(alice.user_id)}"
    await alice.client.request("PUT", f"{profile}/displayname", {"displayname": "Alice A."})
    picture = {"avatar_url": f"mxc://{alice.server.server_name}/picture"}
    await alice.client.request("PUT", f"{profile}/avatar_url", picture)
    name = {"displayname": "Alice A."}
    told = {"all": name | picture, "name": name, "none": None}
    for choice in ("none", "all", "name", "none", "all"):
        shown = told[choice]
        await alice.grant(bob, profile=choice)
        await world.settle()  # his server keeps what it was told until it hears of the edit
        try:
            seen = await bob.client.request("GET", profile)
        except Refused:
            seen = None
        assert (seen is None) == (shown is None)
        if seen is not None and shown is not None:
            assert shown.items() <= seen.items()
            assert choice == "all" or "avatar_url" not in seen


@simulated
async def test_the_end_of_a_connection_for_a_while(world: World, befriended: list[Person]) -> None:
    alice, bob = befriended
    room_id = await world.room(alice, bob)
    soon = alice.server.clock.now_ms() + 600_000
    await alice.grant(bob, expires_at=soon)
    await bob.say(room_id, "in time")
    await world.settle()
    await world.pass_time(900.0)
    assert await alice.standing(bob) == "paused"
    await bob.say(room_id, "too late")
    await world.pass_time(60.0)
    assert await alice.texts(room_id) == ["in time"]
    await alice.grant(bob, expires_at=None)
    await alice.resume(bob)
    await world.settle()
    assert await alice.texts(room_id) == ["in time", "too late"]


@simulated
async def test_a_note_never_leaves(world: World, befriended: list[Person]) -> None:
    alice, bob = befriended
    await alice.grant(bob, note="met at the fair")
    await world.settle()
    told = await bob.peer(alice)
    assert told is not None
    assert "note" not in told["grants_received"]
    assert "fair" not in str(told)


@simulated
async def test_invitations_wait_for_no_grant_that_was_taken_back(
    world: World, befriended: list[Person]
) -> None:
    alice, bob = befriended
    for one, other in ((alice, bob), (bob, alice)):
        for is_granted in (False, True, False):
            await one.grant(other, room_invites=is_granted)
            room_id = await other.create_room(one)
            await world.settle()
            one.forget_syncs()
            invited = (await one.sync()).get("rooms", {}).get("invite", {})
            assert (room_id in invited) == is_granted


@simulated
async def test_a_wish_that_waits_for_an_introducer_is_called_off(world: World) -> None:
    alice, bob, carol = await wish_while_the_introducer_sleeps(world)
    await alice.grant(bob, introduce=False)
    await bob.server.start()
    await world.settle()
    assert "introduced by us" not in [one["step"] for one in await bob.audit()]
    assert await alice.standing(carol) == "none"
    await alice.grant(bob, introduce=True)
    await world.settle()
    assert await alice.standing(carol) == await carol.standing(alice) == "active"


@simulated
async def test_nothing_of_a_file_passes_that_is_larger_than_is_taken(
    world: World, befriended: list[Person]
) -> None:
    alice, bob = befriended
    file = await bob.client.upload(bytes(100_000), "application/octet-stream")
    await alice.grant(bob, media_max_bytes=99_999)
    await world.settle()
    before = len(world.network.passages)
    with pytest.raises(Refused):
        await alice.client.download(file)
    sizes = [one.size for one in world.network.passages[before:] if one.source == "bob"]
    assert sizes
    assert sum(sizes) < 99_999
