"""Questions in the Connections room: each is answered while it is open; knocks are quiet.

And links that are shown there as pictures.
"""

from urllib.parse import quote

from federation import qr_codes
from homeserver.testing.person import Person
from homeserver.testing.simulated import simulated
from homeserver.testing.world import World
from tests.simulation.test_connections_room import Room, introduced

_V3 = "/_matrix/client/v3"
_YES, _THUMB, _NO = "\u2705", "\U0001f44d", "\u274c"


async def newest(room: Room) -> str:
    return str((await room.told())[-1]["event_id"])


async def begun_anew(world: World, alice: Person, bob: Person) -> None:
    """They end their connection, and begin another."""
    for one, other in ((alice, bob), (bob, alice)):
        await one.revoke(other)
    await world.pass_time(1)
    await bob.open_link(await alice.invitation())
    await world.settle()
    assert await alice.standing(bob) == "active"


@simulated
async def test_a_question_about_what_was_ended_does_not_end_what_came_after(world: World) -> None:
    alice, bob, room = await introduced(world)
    await room.order(world, "revoke bob")
    question = await newest(room)
    await begun_anew(world, alice, bob)
    await room.react(world, _YES, question)
    assert await alice.standing(bob) == "active"
    assert (await room.last()).startswith("That question is over; write revoke ")


@simulated
async def test_of_two_questions_of_a_kind_the_newer_counts(world: World) -> None:
    alice, bob, room = await introduced(world)
    await room.order(world, "revoke bob")
    earlier = await newest(room)
    await room.order(world, "revoke bob")
    later = await newest(room)
    await room.react(world, _YES, earlier)
    assert await alice.standing(bob) == "active"
    await room.react(world, _YES, later)
    assert await alice.standing(bob) == "revoked"


@simulated
async def test_a_pause_that_the_owner_ended_is_not_answered_again(world: World) -> None:
    alice, bob, room = await introduced(world)
    await alice.grant(bob, expires_at=alice.server.clock.now_ms() + 1_000)
    await world.pass_time(10)
    question = await newest(room)
    await room.react(world, _YES, question)
    assert "expires_at=never" in await room.last()
    await room.order(world, "edit bob expires_at=never")
    await room.react(world, _THUMB, question)
    assert await alice.standing(bob) == "active"
    await room.react(world, _NO, question)
    assert await alice.standing(bob) == "active"
    assert (await room.last()).startswith("That question is over; write revoke ")


@simulated
async def test_a_knock_is_shown_and_rings_nobody(world: World) -> None:
    alice, _, room = await introduced(world, knock_link=True)
    carol, dora = await world.persons("carol", "dora")
    knock = (await room.order(world, "invite knock")).splitlines()[-1]
    ask = (await room.order(world, "invite ask")).splitlines()[-1]
    await read_everything(alice, room)
    await carol.open_link(knock)
    await world.pass_time(10)
    asked = (await room.told())[-1]["content"]
    assert "\u201ccarol\u201d\u2069 at" in asked["body"]
    assert (asked["msgtype"], await unread(alice, room)) == ("m.notice", 0)
    assert "carol" not in str(await alice.client.request("GET", f"{_V3}/notifications"))
    # Who was given a link that asks is one whom the owner waits for.
    await dora.open_link(ask)
    await world.pass_time(10)
    assert (await room.told())[-1]["content"]["msgtype"] == "m.text"
    assert await unread(alice, room) == 1
    assert "dora" in str(await alice.client.request("GET", f"{_V3}/notifications"))


@simulated
async def test_a_link_to_be_scanned_is_shown_as_a_picture_beside_its_words(world: World) -> None:
    alice, bob, room = await introduced(world)
    await room.order(world, "invite")
    assert "m.image" not in [one["content"]["msgtype"] for one in await room.told()]
    link = (await room.order(world, "invite scanned")).splitlines()[-2]
    drawn, pixels = qr_codes.png(link)
    picture = (await room.told())[-1]["content"]
    shown = (picture["msgtype"], picture["info"]["mimetype"], picture["info"]["w"])
    assert shown == ("m.image", "image/png", pixels)
    assert await alice.client.download(picture["url"]) == drawn
    carol = await world.person("carol")
    await carol.open_link(link)
    await world.settle()
    assert await alice.standing(carol) == "active"
    assert (await alice.status())["outbox_pending"] == 0
    assert await bob.joined_rooms() == []


async def read_everything(person: Person, room: Room) -> None:
    path = f"{_V3}/rooms/{quote(room.room_id)}/receipt/m.read/{quote(await newest(room))}"
    await person.client.request("POST", path, {})


async def unread(person: Person, room: Room) -> int:
    """How many messages of the room a client would ring for."""
    person.forget_syncs()
    joined = (await person.sync())["rooms"]["join"][room.room_id]
    return int(joined["unread_notifications"]["notification_count"])
