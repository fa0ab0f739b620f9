"""Who is invited while a connection is being made: it waits for the other yes, or is taken back."""

import contextlib
from collections.abc import Awaitable, Callable

import aiohttp
import pytest

from federation.early_invitations import OVER
from homeserver.crash_points import Point
from homeserver.matrix.identifiers import ServerName
from homeserver.storage import frames, notices
from homeserver.testing.box_kinds import HANDSHAKE
from homeserver.testing.client import Refused
from homeserver.testing.crashing import CrashAt
from homeserver.testing.person import Person
from homeserver.testing.simulated import simulated
from homeserver.testing.world import DAY, HOUR, World
from tests.simulation.looking import catch_up, changes, membership, timeline
from tests.simulation.test_connections_room import room_of
from tests.simulation.test_introductions import chain
from tests.simulation.test_invitations_by_client import invited, save

Ending = Callable[[Person, Person], Awaitable[object]]


async def asked(world: World) -> tuple[Person, Person]:
    """Bob, who has opened a link, and Alice, whose server asks her whether she wants that."""
    alice, bob = await world.persons("alice", "bob")
    link = await alice.server.admin("POST", "/invitations", {"asks_owner": True})
    await bob.open_link(link["link"])
    await world.pass_time(HOUR)
    assert (await alice.standing(bob), await bob.standing(alice)) == ("requested", "offered")
    return alice, bob


async def accept(one: Person, other: Person) -> None:
    await one.server.admin("POST", f"/peers/{other.server.server_name}/accept")


async def told_over(person: Person) -> list[tuple[list[str], list[str]]]:
    """The rooms that somebody was told the invited are out of again, and those they are not."""
    found = person.server.built.database.read(notices.newest)
    return [(one.content["taken"], one.content["left"]) for one in found if one.kind == OVER]


@simulated
async def test_g3_nothing_of_it_leaves_before_the_second_yes(world: World) -> None:
    alice, bob = await asked(world)
    room_id = await bob.create_room(alice, name="for two")
    await bob.say(room_id, "are you there?")
    another = await bob.create_room()
    await bob.moderate("invite", another, alice)
    assert await membership(bob, room_id, alice) == "invite"
    await world.pass_time(DAY)
    await bob.server.restart()
    await world.pass_time(HOUR)
    waiting = bob.server.built.database.read(
        lambda view: frames.has_waiting(view, ServerName(alice.server.server_name))
    )
    assert not waiting, "something is queued for somebody who has not said yes"
    assert {one.label for one in world.network.passages} == {HANDSHAKE}
    assert await invited(alice) == []
    await accept(alice, bob)
    await world.settle()
    assert sorted(await invited(alice)) == sorted([room_id, another])
    await alice.join(room_id)
    await alice.say(room_id, "now I am")
    await world.check_healed()
    assert await bob.texts(room_id) == ["are you there?", "now I am"]
    assert await told_over(bob) == []


@pytest.mark.parametrize("point", [Point.STANDING_MOVED, Point.CHANNEL_MADE, Point.READY_CAME])
@simulated
async def test_it_is_delivered_once_wherever_the_power_goes(world: World, point: Point) -> None:
    alice, bob = await asked(world)
    room_id = await bob.create_room(alice)
    plan = bob.server.crash_at = CrashAt(point)
    with contextlib.suppress(aiohttp.ClientError):
        await accept(alice, bob)
        await world.pass_time(2 * HOUR)
    assert plan.where is not None
    await bob.server.start()
    await world.settle()
    assert await invited(alice) == [room_id]
    await alice.join(room_id)
    await world.check_healed()


@simulated
async def test_the_one_who_gave_the_link_may_invite_before_the_proof_has_come(
    world: World,
) -> None:
    alice, bob = await asked(world)
    await bob.server.stop()
    await accept(alice, bob)
    room_id = await alice.create_room(bob)
    await world.pass_time(HOUR)
    await bob.server.start()
    await world.settle()
    assert await invited(bob) == [room_id]


async def wait_too_long(_bob: Person, _alice: Person) -> None:
    """The other side says nothing; so it does where its owner has declined."""


async def cancel(bob: Person, alice: Person) -> None:
    await bob.server.admin("POST", f"/peers/{alice.server.server_name}/cancel")


async def decline(bob: Person, alice: Person) -> None:
    await bob.server.admin("POST", f"/peers/{alice.server.server_name}/decline")


async def block(bob: Person, alice: Person) -> None:
    await bob.block(alice)


@pytest.mark.parametrize("ending", [wait_too_long, cancel, decline, block])
@simulated
async def test_where_nothing_comes_of_it_the_invited_are_taken_out_again(
    world: World, ending: Ending
) -> None:
    alice, bob = await asked(world)
    room_id = await bob.create_room(alice, name="for two")
    await catch_up(bob)
    await ending(bob, alice)
    await world.pass_time(15 * DAY)
    assert await bob.standing(alice) != "offered"
    assert changes(timeline(await bob.sync(), room_id), alice) == ["leave"]
    assert await membership(bob, room_id, alice) == "leave"
    assert await told_over(bob) == [(["for two"], [])]
    assert await invited(alice) == []
    assert {one.label for one in world.network.passages} == {HANDSHAKE}


@simulated
async def test_a_withdrawn_link_takes_along_whom_its_giver_had_invited(world: World) -> None:
    alice, bob = await asked(world)
    await bob.server.stop()
    await accept(alice, bob)
    room_id = await alice.create_room(bob)
    (link,) = (await alice.server.admin("GET", "/invitations"))["invitations"]
    await alice.server.admin("DELETE", f"/invitations/{link['id']}")
    assert await membership(alice, room_id, bob) == "leave"
    await bob.server.start()
    await world.pass_time(HOUR)
    assert await invited(bob) == []


@simulated
async def test_a_restored_server_waits_for_nobody(world: World) -> None:
    alice, bob = await asked(world)
    room_id = await bob.create_room(alice)
    await bob.server.stop()
    copy = world.directory / "copy"
    bob.server.copy_to(copy)
    await bob.server.restore(copy)
    await bob.server.start()
    assert await membership(bob, room_id, alice) == "leave"
    await accept(alice, bob)
    await world.pass_time(HOUR)
    assert await invited(alice) == []


@simulated
async def test_who_was_taken_out_is_invited_again_with_another_link(world: World) -> None:
    alice, bob = await asked(world)
    room_id = await bob.create_room(alice)
    await cancel(bob, alice)
    with pytest.raises(Refused):
        await bob.moderate("invite", room_id, alice)
    await alice.server.admin("POST", f"/peers/{bob.server.server_name}/decline")
    await world.pass_time(HOUR)
    asks = await alice.server.admin("POST", "/invitations", {"asks_owner": True})
    await bob.open_link(asks["link"])
    await bob.moderate("invite", room_id, alice)
    assert await membership(bob, room_id, alice) == "invite"
    await world.pass_time(HOUR)
    await accept(alice, bob)
    await world.settle()
    assert await invited(alice) == [room_id]


@simulated
async def test_who_may_only_invite_is_told_that_somebody_stays_invited(world: World) -> None:
    alice, bob = await asked(world)
    carol = await world.person("carol")
    await world.connect(carol, bob)
    room_id = await world.room(carol, bob, name="hers")
    await bob.moderate("invite", room_id, alice)
    await cancel(bob, alice)
    assert await membership(bob, room_id, alice) == "invite"
    assert await told_over(bob) == [([], ["hers"])]
    await world.settle()
    said = await (await room_of(bob)).last()
    assert "they still stand there as invited: \u2068\u201chers\u201d\u2069." in said


@simulated
async def test_who_is_only_being_met_in_a_room_is_not_invited_elsewhere(world: World) -> None:
    alice, bob, carol = await chain(world, "accept", "accept", "accept")
    world.network.between("alice", "carol", is_cut=True)
    room_id = await bob.create_room(alice, carol)
    for guest in (alice, carol):
        await world.pass_time(60)
        await guest.join(room_id)
    await world.pass_time(HOUR)
    asking, other = (alice, carol) if await alice.standing(carol) == "offered" else (carol, alice)
    assert await asking.standing(other) == "offered"
    with pytest.raises(Refused) as refused:
        await asking.create_room(other)
    assert "a connection that is made for rooms carries no invitations" in str(refused.value)


@simulated
async def test_who_turns_out_to_take_no_invitations_gets_none(world: World) -> None:
    alice, bob = await asked(world)
    room_id = await bob.create_room(alice, name="for two")
    await save(alice, "m.invite_permission_config", {"default_action": "block"})
    await accept(alice, bob)
    await world.settle()
    assert await bob.standing(alice) == "active"
    assert await membership(bob, room_id, alice) == "leave"
    assert await told_over(bob) == [(["for two"], [])]
    await save(alice, "m.invite_permission_config", {})
    assert await invited(alice) == []


@simulated
async def test_who_was_revoked_is_shown_as_invited_only_where_nothing_of_theirs_is_hidden(
    world: World, befriended: list[Person]
) -> None:
    alice, bob = befriended
    before = await world.room(bob, alice)
    await bob.revoke(alice)
    await alice.revoke(bob)
    asks = await alice.server.admin("POST", "/invitations", {"asks_owner": True})
    await bob.open_link(asks["link"])
    await world.pass_time(HOUR)
    room_id = await bob.create_room(alice)
    assert await membership(bob, room_id, alice) == "invite"
    assert await membership(bob, before, alice) == "leave"
    await catch_up(bob)
    await cancel(bob, alice)
    assert await bob.standing(alice) == "revoked"
    assert changes(timeline(await bob.sync(), room_id), alice) == ["leave"]
