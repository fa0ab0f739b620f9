"""Invitations that clients make: to nobody we know, to somebody who takes none, by the ignored."""

from typing import Any
from urllib.parse import quote

import pytest

from homeserver.matrix.identifiers import ServerName
from homeserver.testing.client import Refused
from homeserver.testing.person import Person
from homeserver.testing.simulated import simulated
from homeserver.testing.world import World

_BLOCK = {"default_action": "block"}


async def save(person: Person, kind: str, content: dict[str, Any]) -> None:
    path = f"/_matrix/client/v3/user/{quote(person.user_id)}/account_data/{kind}"
    await person.client.request("PUT", path, content)


async def invited(person: Person) -> list[str]:
    person.forget_syncs()
    return list((await person.sync()).get("rooms", {}).get("invite", {}))


@simulated
async def test_who_is_not_connected_is_refused_with_what_to_do(world: World) -> None:
    alice, bob = await world.person("alice"), await world.person("bob")
    room_id = await alice.create_room()
    with pytest.raises(Refused) as refused:
        await alice.moderate("invite", room_id, bob)
    assert (refused.value.status, refused.value.errcode) == (403, "M_FORBIDDEN")
    assert "Write invite in your Connections room" in str(refused.value)
    assert await bob.joined_rooms() == []


async def told(person: Person, room_id: str, other: Person) -> str:
    """What a client is told that invites somebody who is not connected."""
    with pytest.raises(Refused) as refused:
        await person.moderate("invite", room_id, other)
    assert (refused.value.status, refused.value.errcode) == (403, "M_FORBIDDEN")
    assert other.user_id in str(refused.value)
    return str(refused.value)


@simulated
async def test_who_is_half_connected_or_was_is_refused_with_what_to_do_about_it(
    world: World,
) -> None:
    alice, bob = await world.persons("alice", "bob")
    room_id = await alice.create_room()
    owner = alice.server.built.peers.federation.peers
    server = ServerName(bob.server.server_name)
    await bob.open_link((await owner.invite(asks_owner=True)).link)
    await world.pass_time(10)
    assert "Accept that in your Connections room" in await told(alice, room_id, bob)
    await owner.decline(server)
    assert "You declined the request" in await told(alice, room_id, bob)
    await bob.open_link((await owner.invite()).link)
    await world.settle()
    await alice.moderate("invite", room_id, bob)
    await owner.revoke(server)
    another = await alice.create_room()
    assert "You ended the connection" in await told(alice, another, bob)
    await owner.block(server)
    assert "Unblock it first" in await told(alice, another, bob)


@simulated
async def test_an_invitation_of_somebody_paused_waits_for_the_resume(
    world: World, befriended: list[Person]
) -> None:
    alice, bob = befriended
    await alice.pause(bob)
    room_id = await alice.create_room(bob)
    await world.settle()
    assert await invited(bob) == []
    await alice.resume(bob)
    await world.settle()
    assert await invited(bob) == [room_id]


@simulated
async def test_who_takes_no_invitations_is_not_invited(
    world: World, befriended: list[Person]
) -> None:
    alice, bob = befriended
    await save(bob, "m.invite_permission_config", _BLOCK)
    await world.settle()
    room_id = await alice.create_room()
    with pytest.raises(Refused) as refused:
        await alice.moderate("invite", room_id, bob)
    assert (refused.value.status, refused.value.errcode) == (403, "M_INVITE_BLOCKED")
    with pytest.raises(Refused):
        await alice.create_room(bob)
    content = {"membership": "invite"}
    with pytest.raises(Refused):
        await alice.set_state(room_id, "m.room.member", bob.user_id, content)
    assert await invited(bob) == []
    await save(bob, "m.invite_permission_config", {})
    await world.settle()
    await alice.moderate("invite", room_id, bob)
    await world.settle()
    assert await invited(bob) == [room_id]


@simulated
async def test_an_invitation_that_is_there_is_hidden_while_none_are_taken(
    world: World, befriended: list[Person]
) -> None:
    alice, bob = befriended
    room_id = await alice.create_room(bob)
    await world.settle()
    assert await invited(bob) == [room_id]
    await save(bob, "m.invite_permission_config", _BLOCK)
    assert await invited(bob) == []
    await save(bob, "m.invite_permission_config", {})
    assert await invited(bob) == [room_id]


@simulated
async def test_somebody_new_learns_it_with_the_handshake(world: World) -> None:
    alice, bob = await world.person("alice"), await world.person("bob")
    for person in (alice, bob):
        await save(person, "m.invite_permission_config", _BLOCK)
    await bob.open_link(await alice.invitation())
    await world.settle()
    for inviter, invitee in ((alice, bob), (bob, alice)):
        with pytest.raises(Refused) as refused:
            await inviter.create_room(invitee)
        assert refused.value.errcode == "M_INVITE_BLOCKED"


@simulated
async def test_the_invitations_of_the_ignored_are_not_shown(
    world: World, befriended: list[Person]
) -> None:
    alice, bob = befriended
    await save(bob, "m.ignored_user_list", {"ignored_users": {alice.user_id: {}}})
    await alice.create_room(bob)
    await world.settle()
    assert await invited(bob) == []
