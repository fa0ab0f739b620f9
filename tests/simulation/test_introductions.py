"""People who meet in a room get connected for that room, through somebody both know."""

from typing import Any
from urllib.parse import quote

import pytest

from homeserver.config import DefaultGrants, FederationSettings
from homeserver.testing.client import Refused
from homeserver.testing.network import Parcel
from homeserver.testing.person import Person
from homeserver.testing.simulated import simulated
from homeserver.testing.world import DAY, HOUR, World
from tests.simulation import looking
from tests.simulation.test_connections_room import room_of


def settings(strangers: str, *, introduce: bool = True, **more: Any) -> FederationSettings:
    """With these settings, and peers who may introduce the owner."""
    grants = DefaultGrants(introduce=introduce)
    return FederationSettings.model_validate(
        {"strangers_in_rooms": strangers, "default_grants": grants.model_dump(), **more}
    )


async def chain(world: World, *policies: str, **more: Any) -> list[Person]:
    """Alice, Bob and Carol: only Bob knows both."""
    people = [
        await world.person(name, settings=settings(policy, **more))
        for name, policy in zip(("alice", "bob", "carol"), policies, strict=True)
    ]
    alice, bob, carol = people
    await world.connect(bob, alice)
    await world.connect(bob, carol)
    return people


async def meet(world: World, alice: Person, bob: Person, carol: Person) -> str:
    """A room of Bob's that first Alice and then Carol enters."""
    room_id = await world.room(bob, alice, carol)
    await world.settle()
    return room_id


async def strangers(person: Person) -> list[dict[str, Any]]:
    """What the owner sees of strangers in rooms."""
    return list((await person.server.admin("GET", "/strangers"))["rooms"])


@simulated
async def test_who_accepts_strangers_is_introduced_and_speaks_to_them_directly(
    world: World,
) -> None:
    alice, bob, carol = await chain(world, "accept", "accept", "accept")
    room_id = await meet(world, alice, bob, carol)
    assert await alice.standing(carol) == "active"
    assert await carol.standing(alice) == "active"
    await bob.server.stop()
    await alice.say(room_id, "bob is away")
    await world.settle()
    await carol.say(room_id, "so he is")
    await world.settle()
    assert await alice.texts(room_id) == await carol.texts(room_id) == ["bob is away", "so he is"]
    await bob.server.start()
    await world.check_healed()


def between(world: World, one: Person, other: Person) -> list[str]:
    """Every box that ever left one of two people's servers for the other."""
    seen: list[str] = []

    def see(parcel: Parcel) -> None:
        if {parcel.source, parcel.target} == {one.name, other.name}:
            seen.append(parcel.kind)

    world.network.watchers.append(see)
    return seen


async def enter(person: Person, room_id: str) -> str:
    """Try to join; what the server says if it may not."""
    with pytest.raises(Refused) as refused:
        await person.join(room_id)
    assert refused.value.status == 403
    return str(refused.value)


@simulated
async def test_who_is_to_be_asked_enters_once_the_owner_agreed(world: World) -> None:
    alice, bob, carol = await chain(world, "accept", "accept", "ask")
    boxes = between(world, alice, carol)
    room_id = await world.room(bob, alice)
    await bob.moderate("invite", room_id, carol)
    await world.settle()
    assert alice.server.server_name in await enter(carol, room_id)
    await enter(carol, room_id)
    (room,) = await strangers(carol)
    assert (room["room_id"], room["waits_to"], room["is_agreed"]) == (room_id, "join", False)
    assert [one["server_name"] for one in room["servers"]] == [alice.server.server_name]
    notices = await room_of(carol)
    asked = [one for one in await notices.told() if "You want to enter" in one["content"]["body"]]
    assert len(asked) == 1, "asked once, however often it is tried"
    await carol.server.restart()
    await bob.server.stop()
    await notices.react(world, "\u2705", asked[0]["event_id"])
    assert await carol.membership(room_id) != "join"
    assert boxes == []
    await bob.server.start()
    await world.pass_time(HOUR)
    await world.settle()
    assert await carol.membership(room_id) == "join"
    assert await alice.standing(carol) == await carol.standing(alice) == "active"
    await carol.say(room_id, "here I am")
    await world.settle()
    assert await alice.texts(room_id) == ["here I am"]
    await world.check_healed()


@simulated
async def test_who_refuses_strangers_enters_nowhere_and_is_not_asked(world: World) -> None:
    alice, bob, carol = await chain(world, "accept", "accept", "refuse")
    boxes = between(world, alice, carol)
    room_id = await world.room(bob, alice)
    await bob.moderate("invite", room_id, carol)
    await world.settle()
    assert alice.server.server_name in await enter(carol, room_id)
    assert await strangers(carol) == []
    await world.settle()
    assert boxes == []


@simulated
async def test_a_newcomer_is_hidden_until_the_owner_agrees(world: World) -> None:
    alice, bob, carol = await chain(world, "ask", "accept", "accept")
    boxes = between(world, alice, carol)
    room_id = await meet(world, alice, bob, carol)
    await carol.say(room_id, "before")
    await world.settle()
    await bob.say(room_id, "carol is here")
    await world.settle()
    assert await alice.texts(room_id) == ["carol is here"]
    assert await looking.joined(alice, room_id) == {alice.user_id, bob.user_id}
    assert carol.user_id not in str(await alice.sync())
    assert boxes == []
    (room,) = await strangers(alice)
    assert [one["said"] for one in room["servers"]] == ["asked"]
    notices = await room_of(alice)
    assert carol.server.server_name in await notices.last()
    await notices.order(world, f"meet {room_id} {carol.server.server_name}")
    await world.settle()
    assert await alice.standing(carol) == await carol.standing(alice) == "active"
    assert await looking.joined(alice, room_id) == {alice.user_id, bob.user_id, carol.user_id}
    assert sorted(await alice.texts(room_id)) == ["before", "carol is here"]
    alice.forget_syncs()
    assert looking.changes(looking.timeline(await alice.sync(), room_id), carol)[-1] == "join"
    steps = [(one["step"], one["how"]) for one in await alice.audit() if one["step"]]
    assert ("agreed in a room", "Connections room") in steps
    assert any(how == f"introduced by {bob.server.server_name}" for _, how in steps)


@pytest.mark.parametrize("policy", ["ask", "refuse"])
@simulated
async def test_g3_where_one_side_does_not_agree_nothing_ever_passes(
    world: World, policy: str
) -> None:
    alice, bob, carol = await chain(world, policy, "accept", "accept")
    boxes = between(world, alice, carol)
    room_id = await meet(world, alice, bob, carol)
    if policy == "ask":
        await alice.server.admin("POST", f"/strangers/{quote(room_id)}/refuse", {})
    await carol.say(room_id, "is anybody here?")
    await world.pass_time(8 * DAY)
    await world.settle()
    assert boxes == []
    assert await carol.standing(alice) == await alice.standing(carol) == "none"
    assert await looking.joined(alice, room_id) == {alice.user_id, bob.user_id}
    assert "introduced" not in str(await carol.audit())


@simulated
async def test_g2_nobody_is_introduced_by_somebody_who_may_not(world: World) -> None:
    alice, bob, carol = await chain(world, "accept", "accept", "accept")
    boxes = between(world, alice, carol)
    await carol.grant(bob, introduce=False)
    await world.settle()
    await meet(world, alice, bob, carol)
    assert boxes == []
    assert "nobody may introduce you" in await (await room_of(carol)).last()
    await carol.grant(bob, introduce=True)
    await world.settle()
    assert await alice.standing(carol) == await carol.standing(alice) == "active"


@pytest.mark.seeds(2)
@simulated
async def test_over_bad_lines_and_while_the_introducer_sleeps(world: World) -> None:
    alice, bob, carol = await chain(world, "accept", "accept", "accept")
    world.network.everywhere(loss=0.2, jitter_s=2.0, duplication=0.2)
    room_id = await world.room(bob, alice)
    await bob.moderate("invite", room_id, carol)
    await world.settle()
    await carol.join(room_id, 10)
    await bob.server.crash_now()
    await carol.say(room_id, "nobody hears this yet")
    await world.pass_time(3 * HOUR)
    await carol.server.crash_now()
    await carol.server.start()
    await bob.server.start()
    await world.pass_time(3 * HOUR)
    await alice.server.restart()
    world.network.heal()
    await world.pass_time(3 * HOUR)
    await world.check_healed()
    assert await alice.standing(carol) == await carol.standing(alice) == "active"
    assert await alice.texts(room_id) == ["nobody hears this yet"]


@simulated
async def test_what_a_revoked_introducer_was_to_pass_on_is_void(world: World) -> None:
    alice, bob, carol = await chain(world, "accept", "accept", "ask")
    room_id = await world.room(bob, alice)
    await bob.moderate("invite", room_id, carol)
    await world.settle()
    await enter(carol, room_id)
    boxes = between(world, alice, carol)
    await carol.server.stop()
    await alice.revoke(bob)
    await carol.server.start()
    await carol.server.admin("POST", f"/strangers/{quote(room_id)}/agree", {})
    await world.pass_time(2 * DAY)
    await world.settle()
    assert boxes == []
    assert await carol.standing(alice) == await alice.standing(carol) == "none"


@simulated
async def test_four_of_whom_one_knows_all(world: World) -> None:
    accepting = settings("accept")
    people = [await world.person(name, settings=accepting) for name in ("bob", "ann", "cem", "dea")]
    bob, *others = people
    for other in others:
        await world.connect(bob, other)
    room_id = await world.room(bob, *others)
    await world.settle()
    for one in others:
        assert [await one.standing(other) for other in others if other is not one] == ["active"] * 2
    await bob.server.stop()
    for one in others:
        await one.say(room_id, f"{one.name} without bob")
        await world.settle()
    for one in others:
        assert len(await one.texts(room_id)) == 3
    await bob.server.start()
    await world.check_healed()


@simulated
async def test_in_a_second_room_both_have_to_agree_again(world: World) -> None:
    alice, bob, carol = await chain(world, "accept", "accept", "ask")
    first = await world.room(bob, alice)
    await bob.moderate("invite", first, carol)
    await world.settle()
    await enter(carol, first)
    await carol.server.admin("POST", f"/strangers/{quote(first)}/agree", {})
    await world.settle()
    second = await world.room(bob, alice)
    await alice.say(second, "just us")
    await bob.moderate("invite", second, carol)
    await world.settle()
    assert alice.server.server_name in await enter(carol, second)
    assert (await carol.peer(alice) or {})["rooms"] == [first]
    await carol.server.admin("POST", f"/strangers/{quote(second)}/agree", {})
    await world.settle()
    assert (await carol.peer(alice) or {})["rooms"] == sorted([first, second])
    assert (await alice.peer(carol) or {})["rooms"] == sorted([first, second])
    await bob.server.stop()
    await carol.say(second, "me too")
    await world.settle()
    assert (await alice.texts(second))[-1] == "me too"


@simulated
async def test_the_connection_ends_with_the_room_and_comes_back_with_it(world: World) -> None:
    alice, bob, carol = await chain(world, "accept", "accept", "accept")
    room_id = await meet(world, alice, bob, carol)
    await carol.leave_room(room_id)
    await world.pass_time(HOUR)
    await world.settle()
    assert await alice.standing(carol) == await carol.standing(alice) == "none"
    assert await looking.membership(alice, room_id, carol) == "leave"
    await bob.moderate("invite", room_id, carol)
    await world.settle()
    await carol.join(room_id, 5)
    await world.settle()
    assert await alice.standing(carol) == await carol.standing(alice) == "active"
    await alice.say(room_id, "welcome back")
    await world.check_healed()
    assert (await carol.texts(room_id))[-1] == "welcome back"


@simulated
async def test_a_link_makes_it_a_connection_for_everything(world: World) -> None:
    alice, bob, carol = await chain(world, "accept", "accept", "accept")
    room_id = await meet(world, alice, bob, carol)
    with pytest.raises(Refused):
        await alice.create_room(carol)
    await world.connect(alice, carol)
    for one, other in ((alice, carol), (carol, alice)):
        assert (await one.peer(other) or {})["rooms"] is None
    private = await world.room(alice, carol)
    await carol.say(private, "just us")
    await world.settle()
    assert await alice.texts(private) == ["just us"]
    await carol.leave_room(room_id)
    await world.settle()
    assert await alice.standing(carol) == "active"


@simulated
async def test_it_can_be_paused_and_revoked_like_any_other(world: World) -> None:
    alice, bob, carol = await chain(world, "accept", "accept", "accept")
    room_id = await meet(world, alice, bob, carol)
    await alice.pause(carol)
    await carol.say(room_id, "while paused")
    await world.settle()
    await alice.resume(carol)
    await world.settle()
    assert await alice.texts(room_id) == ["while paused"]
    await alice.revoke(carol)
    await world.settle()
    await bob.say(room_id, "who is here?")
    await world.pass_time(8 * DAY)
    await world.settle()
    assert await alice.standing(carol) == "revoked", "no introduction reopens what was ended"
    assert await looking.joined(alice, room_id) == {alice.user_id, bob.user_id}
    await alice.server.restart()
    await world.settle()
    assert await alice.standing(carol) == "revoked"
