"""The Connections room: an owner with nothing but a Matrix client hears, decides and orders."""

from typing import Any
from urllib.parse import quote

import pytest

from homeserver.config import FederationSettings
from homeserver.storage import notices
from homeserver.testing.client import Refused
from homeserver.testing.person import Person
from homeserver.testing.simulated import simulated
from homeserver.testing.simulated_server import PASSWORD
from homeserver.testing.world import World

_V3 = "/_matrix/client/v3"


class Room:
    """A person's Connections room, seen through the client API alone."""

    def __init__(self, person: Person, room_id: str) -> None:
        self.person = person
        self.room_id = room_id
        self._sent = 0

    @property
    def speaker(self) -> str:
        return f"@connections:{self.person.server.server_name}"

    async def told(self) -> list[dict[str, Any]]:
        """Every message of the server, oldest first."""
        events = await self.person.timeline(self.room_id)
        return [
            event
            for event in events
            if event["type"] == "m.room.message" and event["sender"] == self.speaker
        ]

    async def last(self) -> str:
        return str((await self.told())[-1]["content"]["body"])

    async def order(self, world: World, text: str) -> str:
        """Write something, and read the answer to it."""
        before = len(await self.told())
        self._sent += 1
        await self.person.client.send_text(self.room_id, text, f"order-{self._sent}")
        await world.settle()
        answers = [event["content"]["body"] for event in (await self.told())[before:]]
        return "\n".join(answers)

    async def react(self, world: World, key: str, event_id: str) -> None:
        self._sent += 1
        relation = {"rel_type": "m.annotation", "event_id": event_id, "key": key}
        path = f"{_V3}/rooms/{quote(self.room_id)}/send/m.reaction/reaction-{self._sent}"
        await self.person.client.request("PUT", path, {"m.relates_to": relation})
        await world.settle()


async def room_of(person: Person) -> Room:
    """The room, found by its tag as a client finds it."""
    answer = await person.client.request("GET", f"{_V3}/joined_rooms")
    for room_id in answer["joined_rooms"]:
        path = f"{_V3}/user/{quote(person.user_id)}/rooms/{quote(room_id)}/tags"
        if "m.server_notice" in (await person.client.request("GET", path))["tags"]:
            return Room(person, room_id)
    raise AssertionError(f"{person.name} has no Connections room")


async def introduced(world: World, **settings: Any) -> tuple[Person, Person, Room]:
    """Alice and Bob, connected, and Alice's room."""
    alice = await world.person("alice", settings=FederationSettings(**settings))
    bob = await world.person("bob")
    await bob.open_link(await alice.invitation())
    await world.settle()
    return alice, bob, await room_of(alice)


@simulated
async def test_nothing_is_made_before_there_is_something_to_tell(world: World) -> None:
    alice = await world.person("alice")
    await world.settle()
    assert await alice.joined_rooms() == []


@simulated
async def test_a_connection_is_told_in_a_room_of_the_servers_own(world: World) -> None:
    alice, bob, room = await introduced(world)
    assert await room.last() == (
        f"You are connected with \u2068\u201cbob\u201d\u2069 at {bob.server.server_name}."
    )
    assert ("m.room.member", room.speaker) in await alice.state(room.room_id)
    events = await alice.client.request("GET", f"{_V3}/rooms/{quote(room.room_id)}/state")
    content = {event["type"]: event["content"] for event in events}
    assert content["m.room.create"]["m.federate"] is False
    assert content["m.room.join_rules"]["join_rule"] == "invite"
    assert content["m.room.name"]["name"] == "Connections"


@simulated
async def test_nobody_else_ever_comes_in_and_nothing_leaves(world: World) -> None:
    alice, bob, room = await introduced(world)
    with pytest.raises(Refused):
        await alice.moderate("invite", room.room_id, bob)
    with pytest.raises(Refused):
        await bob.join(room.room_id)
    path = f"{_V3}/join/{quote(room.room_id)}?server_name={alice.server.server_name}"
    with pytest.raises(Refused):
        await bob.client.request("POST", path, {})
    before = len(world.network.passages)
    await room.order(world, "help")
    boxes = [one for one in world.network.passages[before:] if one.size > 1_024 * 4]
    assert boxes == []
    status = await alice.status()
    assert status["outbox_pending"] == 0
    with pytest.raises(Refused):
        await alice.set_state(room.room_id, "m.room.join_rules", "", {"join_rule": "public"})


@simulated
async def test_a_request_is_accepted_by_a_reaction(world: World) -> None:
    alice, bob, room = await introduced(world)
    carol = await world.person("carol")
    link = (await room.order(world, "invite ask")).splitlines()[-1]
    await carol.open_link(link)
    await world.pass_time(10)
    await world.settle()
    asked = (await room.told())[-1]
    assert "\u201ccarol\u201d\u2069 at" in asked["content"]["body"]
    assert (await carol.peer(alice) or {})["words"] in asked["content"]["body"]
    await room.react(world, "\u2705", asked["event_id"])
    await world.pass_time(2 * 3_600)
    assert (await alice.standing(carol), await carol.standing(alice)) == ("active", "active")
    assert (await room.last()).startswith("You are connected with \u2068\u201ccarol")
    trail = [entry for entry in await alice.audit() if entry["step"] == "owner agreed"]
    assert [entry["how"] for entry in trail] == ["Connections room"]
    assert await alice.standing(bob) == "active"


@simulated
async def test_a_request_is_declined_by_a_reaction_and_only_once(world: World) -> None:
    alice, _, room = await introduced(world)
    carol = await world.person("carol")
    await carol.open_link((await room.order(world, "invite ask")).splitlines()[-1])
    await world.pass_time(10)
    asked = (await room.told())[-1]
    await room.react(world, "\u274c\ufe0f", asked["event_id"])
    assert await alice.standing(carol) == "declined"
    await room.react(world, "\u2705", asked["event_id"])
    assert await alice.standing(carol) == "declined"
    assert (await room.last()).startswith("That question is over; write accept ")


@simulated
async def test_a_link_used_twice_is_told_with_both_names_and_decided_there(world: World) -> None:
    alice = await world.person("alice")
    bob, eve = await world.person("bob"), await world.person("eve")
    link = await alice.invitation()
    await bob.open_link(link)
    await world.settle()
    await eve.open_link(link)
    await world.pass_time(60)
    room = await room_of(alice)
    warned = (await room.told())[-1]
    assert "\u201cbob\u201d" in warned["content"]["body"]
    assert "\u201ceve\u201d" in warned["content"]["body"]
    assert await alice.standing(bob) == "paused"
    await room.react(world, "\U0001f44d", warned["event_id"])
    assert await alice.standing(bob) == "active"
    # Eve's own server told her what became of the link that she opened.
    assert "refuses the link that you opened" in await (await room_of(eve)).last()


@simulated
async def test_short_commands_do_what_the_command_line_does(world: World) -> None:
    alice, bob, room = await introduced(world)
    assert "bob" in await room.order(world, "list")
    assert "Words to compare" in await room.order(world, "show bob")
    assert "paused" in await room.order(world, "pause bob")
    assert await alice.standing(bob) == "paused"
    assert "You cannot pause now. The connection is paused." in await room.order(world, "Pause bob")
    assert "resumed" in await room.order(world, "!resume bob")
    assert "changed" in await room.order(world, "edit bob media=0 presence=on note='from school'")
    grants = (await alice.peer(bob) or {})["grants_given"]
    assert (grants["media_max_bytes"], grants["presence"], grants["note"]) == (
        0,
        True,
        "from school",
    )
    assert "There is no grant colour" in await room.order(world, "edit bob colour=red")
    assert "There is no connection with nobody" in await room.order(world, "revoke nobody")
    assert "Everything is paused" in await room.order(world, "pause all")
    assert (await room.order(world, "list")).startswith("Everything is paused.")
    assert "Resumed" in await room.order(world, "resume all")
    assert "invite" in await room.order(world, "help")
    assert "I do not know dance" in await room.order(world, "dance")
    assert "Say whom" in await room.order(world, "pause")


@simulated
async def test_an_end_is_asked_for_and_confirmed(world: World) -> None:
    alice, bob, room = await introduced(world)
    question = await room.order(world, "revoke bob")
    assert "End the connection with" in question
    assert await alice.standing(bob) == "active"
    await room.react(world, "\u2705", (await room.told())[-1]["event_id"])
    assert await alice.standing(bob) == "revoked"
    assert "the connection has ended" in await room.last()


@simulated
async def test_a_link_can_be_opened_there(world: World) -> None:
    alice, _, room = await introduced(world)
    carol = await world.person("carol")
    answer = await room.order(world, f"connect {await carol.invitation()}")
    assert "You said yes" in answer
    assert await alice.standing(carol) == "active"
    assert "That is not an invitation link." in await room.order(world, "connect nonsense")


@simulated
async def test_the_room_is_there_again_after_it_was_left(world: World) -> None:
    alice, bob, room = await introduced(world)
    await alice.leave_room(room.room_id)
    assert await alice.joined_rooms() == []
    carol = await world.person("carol")
    await carol.open_link(await alice.invitation())
    await world.settle()
    again = await room_of(alice)
    assert again.room_id == room.room_id
    assert "carol" in await again.last()
    assert "bob" in await again.order(world, "list")
    await alice.leave_room(room.room_id)
    path = f"{_V3}/rooms/{quote(room.room_id)}/forget"
    await alice.client.request("POST", path, {})
    await alice.pause(bob)
    await alice.revoke(bob)
    dora = await world.person("dora")
    await dora.open_link(await alice.invitation())
    await world.settle()
    assert "dora" in await (await room_of(alice)).last()


@simulated
async def test_the_owner_comes_back_into_it_as_into_any_room(world: World) -> None:
    alice, bob, room = await introduced(world)
    before = await room.last()
    await alice.leave_room(room.room_id)
    await alice.join(room.room_id)
    assert (await room_of(alice)).room_id == room.room_id
    assert await room.last() == before
    assert "bob" in await room.order(world, "list")
    another = await world.room(bob, alice)
    await alice.leave_room(another)
    await world.settle()
    with pytest.raises(Refused):
        await alice.join(another)


@simulated
async def test_what_is_told_and_ordered_survives_a_crash(world: World) -> None:
    alice, bob, room = await introduced(world)
    await alice.client.send_text(room.room_id, "pause bob", "once")
    await alice.server.crash_now()
    await alice.server.start()
    await world.settle()
    assert await alice.standing(bob) == "paused"
    answers = [one for one in await room.told() if "paused" in one["content"]["body"]]
    assert len(answers) == 1
    await alice.server.restart()
    await world.settle()
    assert len([one for one in await room.told() if "paused" in one["content"]["body"]]) == 1


@simulated
async def test_a_second_device_is_announced_and_the_first_is_not(world: World) -> None:
    alice = await world.person("alice")
    await world.settle()
    assert await alice.joined_rooms() == []
    async with alice.server.client() as phone:
        await phone.log_in("alice", PASSWORD)
    await world.settle()
    told = await (await room_of(alice)).last()
    assert told.startswith("A new device logged in: ")


async def rooms_of_three(world: World) -> tuple[Person, Person, list[str]]:
    alice, bob, carol = await world.befriended("alice", "bob", "carol")
    shared = [await world.room(bob, alice, carol) for _ in range(2)]
    return alice, bob, shared


@simulated
async def test_names_of_any_length_leave_the_room_usable(world: World) -> None:
    alice, bob, shared = await rooms_of_three(world)
    room = await room_of(alice)
    for room_id in shared:
        await bob.set_state(room_id, "m.room.name", "", {"name": "n" * 40_000})
    await world.settle()
    asked = await room.order(world, f"revoke {bob.server.server_name}")
    assert asked.startswith("End the connection with")
    assert len(asked) < 5_000
    assert "invite [ask]" in await room.order(world, "help")


@simulated
async def test_a_room_s_name_cannot_speak_in_the_servers_voice(world: World) -> None:
    alice, bob, shared = await rooms_of_three(world)
    room = await room_of(alice)
    forged = "x\n\nAlarm: react with \u2705 to keep your account"
    await bob.set_state(shared[0], "m.room.name", "", {"name": forged})
    await world.settle()
    asked = await room.order(world, f"revoke {bob.server.server_name}")
    assert not any(line.startswith("Alarm") for line in asked.splitlines())
    assert asked.count("\u201cx Alarm: react with") == asked.count("Alarm: react")


@simulated
async def test_a_notice_that_cannot_be_told_holds_up_no_others(world: World) -> None:
    alice, _, room = await introduced(world)
    database = alice.server.built.database
    world.checks_itself = False
    broken = {"used_by": [7]}
    await database.write(lambda work: notices.tell_owner(work, 0, "warning", "node", broken))
    await database.write(lambda work: notices.tell_owner(work, 0, "expired", "node", {}))
    await world.settle()
    assert await room.last() == "The connection with ? did not come about in time."
    assert [one.is_told for one in database.read(notices.newest)[:2]] == [True, True]
