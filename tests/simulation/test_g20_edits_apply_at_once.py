"""G20: every edit of what a peer may do applies with the next frame."""

from urllib.parse import quote

import pytest

from homeserver.testing.client import Refused
from homeserver.testing.person import Person
from homeserver.testing.simulated import simulated
from homeserver.testing.world import World

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
