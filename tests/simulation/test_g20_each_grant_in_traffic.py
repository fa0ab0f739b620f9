"""G20, for each grant there is: it is edited while messages are under way, and the next obeys."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import quote

import pytest

from federation.grants import Grants
from homeserver import errors
from homeserver.matrix.identifiers import ServerName
from homeserver.testing.client import Refused
from homeserver.testing.person import Person
from homeserver.testing.simulated import simulated
from homeserver.testing.world import World
from tests.simulation.test_introductions import settings
from tests.simulation.test_invitations_by_client import invited

_V3 = "/_matrix/client/v3"
_LATENCY_S = 0.2

Case = Callable[[World], Awaitable[None]]


async def room_of_two(world: World) -> tuple[Person, Person, str]:
    """Alice and Bob in a room, far enough apart that what they write is on its way for a while."""
    alice, bob = await world.befriended("alice", "bob")
    room_id = await world.room(alice, bob)
    world.network.everywhere(latency_s=_LATENCY_S)
    return alice, bob, room_id


async def edit_in_traffic(
    world: World, alice: Person, bob: Person, room_id: str, **changes: object
) -> None:
    """Alice's edit, while a message of each is on its way to the other."""
    for person in (alice, bob):
        await person.say(room_id, "meanwhile")
    await world.pass_time(_LATENCY_S / 2)
    await alice.grant(bob, **changes)


async def messages(world: World) -> None:
    alice, bob, room_id = await room_of_two(world)
    await bob.say(room_id, "under way")
    await world.pass_time(_LATENCY_S / 2)
    await alice.grant(bob, messages=False)
    await world.settle()
    assert await alice.texts(room_id) == []
    await edit_in_traffic(world, alice, bob, room_id, messages=True)
    await bob.say(room_id, "and later")
    await world.settle()
    assert (await alice.texts(room_id))[-1] == "and later"


async def room_invites(world: World) -> None:
    alice, bob, room_id = await room_of_two(world)
    await bob.create_room(alice)
    await edit_in_traffic(world, alice, bob, room_id, room_invites=False)
    await world.settle()
    assert await invited(alice) == []
    await edit_in_traffic(world, alice, bob, room_id, room_invites=True)
    wanted = await bob.create_room(alice)
    await world.settle()
    assert await invited(alice) == [wanted]


async def media_max_bytes(world: World) -> None:
    alice, bob, room_id = await room_of_two(world)
    picture = await bob.client.upload(bytes(5_000), "application/octet-stream")
    await edit_in_traffic(world, alice, bob, room_id, media_max_bytes=4_999)
    with pytest.raises(Refused):
        await alice.client.download(picture)
    await edit_in_traffic(world, alice, bob, room_id, media_max_bytes=5_000)
    assert len(await alice.client.download(picture)) == 5_000


async def typing(world: World) -> None:
    alice, bob, room_id = await room_of_two(world)
    path = f"{_V3}/rooms/{quote(room_id)}/typing/{quote(bob.user_id)}"
    for is_granted in (False, True):
        await bob.client.request("PUT", path, {"typing": True, "timeout": 30_000})
        await edit_in_traffic(world, alice, bob, room_id, typing=is_granted)
        if is_granted:
            await bob.client.request("PUT", path, {"typing": False})
            await bob.client.request("PUT", path, {"typing": True, "timeout": 30_000})
        await world.pass_time(5 * _LATENCY_S)
        assert (bob.user_id in await ephemeral(alice, room_id)) == is_granted


async def receipts(world: World) -> None:
    alice, bob, room_id = await room_of_two(world)
    event_id = await alice.say(room_id, "read me")
    await world.settle()
    for is_granted in (False, True):
        event_id = await alice.say(room_id, "read me")
        await world.settle()
        path = f"{_V3}/rooms/{quote(room_id)}/receipt/m.read/{quote(event_id)}"
        if not is_granted:
            await bob.client.request("POST", path, {})
        await edit_in_traffic(world, alice, bob, room_id, receipts=is_granted)
        if is_granted:
            await bob.client.request("POST", path, {})
        await world.pass_time(5 * _LATENCY_S)
        assert (bob.user_id in await ephemeral(alice, room_id)) == is_granted


async def ephemeral(person: Person, room_id: str) -> str:
    """What a sync says of this moment in a room."""
    joined = (await person.sync()).get("rooms", {}).get("join", {})
    return str(joined.get(room_id, {}).get("ephemeral", {}))


async def presence(world: World) -> None:
    alice, bob, room_id = await room_of_two(world)
    path = f"{_V3}/presence/{quote(alice.user_id)}/status"
    for text, is_granted in (("first", True), ("second", False), ("third", True)):
        await edit_in_traffic(world, alice, bob, room_id, presence=is_granted)
        body = {"presence": "online", "status_msg": text}
        await alice.client.request("PUT", path, body)
        await world.settle()
        shown = await asked(bob, path)
        assert (text in shown) == is_granted


async def profile(world: World) -> None:
    alice, bob = await world.befriended("alice", "bob")  # a room would show it to whoever is in it
    world.network.everywhere(latency_s=_LATENCY_S)
    path = f"{_V3}/profile/{quote(alice.user_id)}"
    await alice.client.request("PUT", f"{path}/displayname", {"displayname": "Alice A."})
    await alice.client.request("PUT", f"{path}/avatar_url", {"avatar_url": "mxc://a/picture"})
    await world.settle()
    for choice, words in (("none", ()), ("name", ("Alice A.",)), ("all", ("Alice A.", "picture"))):
        asking = asyncio.ensure_future(questioned(bob, alice))
        await world.pass_time(_LATENCY_S / 2)
        await alice.grant(bob, profile=choice)
        told = await asking
        await world.settle()
        shown = await asked(bob, path)  # what his server had kept from before the edit is gone
        for answer in (told, shown):
            assert [word for word in ("Alice A.", "picture") if word in answer] == [*words]


async def questioned(person: Person, other: Person) -> str:
    """What another server answers about its owner, whatever was kept of earlier answers."""
    built, server = person.server.built, ServerName(other.server.server_name)
    about = {"user_id": other.user_id}
    try:
        return str(await built.peers.network.ask(server, "query/profile", about, 60.0))
    except errors.PeerRefused:
        return ""


async def asked(person: Person, path: str) -> str:
    """What a question is answered, if it is."""
    try:
        return str(await person.client.request("GET", path))
    except Refused:
        return ""


async def route(world: World) -> None:
    alice, bob, room_id = await room_of_two(world)
    for is_granted in (False, True):
        await edit_in_traffic(world, alice, bob, room_id, route=is_granted)
        await world.settle()
        known = await bob.peer(alice)
        assert known is not None
        assert (known["route"] is not None) == is_granted
        # Who may not call is called: nothing is lost either way.
        await bob.say(room_id, f"heard {is_granted}")
        await world.settle()
        assert (await alice.texts(room_id))[-1] == f"heard {is_granted}"


async def introduce(world: World) -> None:
    people = [await world.person(one, settings=settings("accept")) for one in ("a", "bob", "carol")]
    anna, bob, carol = people
    for one in (anna, carol):
        await world.connect(bob, one)
    room_id = await world.room(bob, anna)
    await anna.server.stop()
    await bob.moderate("invite", room_id, carol)
    await world.settle()
    await carol.join(room_id)
    await world.settle()
    world.network.everywhere(latency_s=_LATENCY_S)
    await edit_in_traffic(world, carol, bob, room_id, introduce=False)
    await anna.server.start()  # and now Bob has the wishes of both
    await world.settle()
    assert [one["step"] for one in await bob.audit()].count("introduced by us") == 2
    assert await carol.standing(anna) == "none"
    assert "introduced" not in str(await carol.audit())


async def rate(world: World) -> None:
    alice, bob, room_id = await room_of_two(world)
    texts = [f"number {number}" for number in range(6)]
    for number, text in enumerate(texts):
        await bob.say(room_id, text)
        await world.pass_time(_LATENCY_S / 2)
        if number == 1:
            await alice.grant(bob, rate=1)
    await world.pass_time(20 * _LATENCY_S)
    assert len(await alice.texts(room_id)) < len(texts)
    await alice.grant(bob, rate=30_000)
    await world.settle(within=120.0)
    assert await alice.texts(room_id) == texts


async def expires_at(world: World) -> None:
    alice, bob, room_id = await room_of_two(world)
    await bob.say(room_id, "too late")
    await world.pass_time(_LATENCY_S / 4)
    soon = alice.server.clock.now_ms() + int(_LATENCY_S / 4 * 1_000)
    await alice.grant(bob, expires_at=soon)
    await world.pass_time(3 * _LATENCY_S)
    assert (await alice.standing(bob), await alice.texts(room_id)) == ("paused", [])
    await alice.grant(bob, expires_at=None)
    await alice.resume(bob)
    await world.settle()
    assert await alice.texts(room_id) == ["too late"]


async def note(world: World) -> None:
    alice, bob, room_id = await room_of_two(world)
    await edit_in_traffic(world, alice, bob, room_id, note="met at the fair", typing=False)
    await world.settle()
    told = await bob.peer(alice)
    assert told is not None
    assert told["grants_received"]["typing"] is False
    database = sqlite3.connect(bob.server.directory / "homeserver.db")
    with contextlib.closing(database) as connection:
        everything = "\n".join(connection.iterdump())
    assert alice.server.server_name in everything
    assert "fair" not in everything


CASES: Mapping[str, Case] = {
    case.__name__: case
    for case in (
        *(messages, room_invites, media_max_bytes, typing, receipts, presence),
        *(profile, route, introduce, rate, expires_at, note),
    )
}


@pytest.mark.parametrize("grant", [*Grants.model_fields])
@simulated
async def test_an_edit_holds_for_what_is_under_way(world: World, grant: str) -> None:
    await CASES[grant](world)


def test_each_case_is_about_a_grant_that_exists() -> None:
    assert set(CASES) == set(Grants.model_fields)
