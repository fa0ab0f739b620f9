from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import EventId, RoomId
from homeserver.rooms import drafting
from homeserver.storage import account_data, rooms, wake_ups
from homeserver.storage.rooms import Membership
from homeserver.storage.unit_of_work import UnitOfWork
from tests.sync.alice import ALICE, BOB, Alice, bodies, keys, types

THERE = RoomId("!there:bob.test")


def be_outside(work: UnitOfWork, membership: str) -> None:
    """What an invitation from outside, or its end, leaves behind."""
    stripped = [
        {"type": "m.room.name", "state_key": "", "sender": BOB, "content": {"name": "Bob's"}},
        {
            "type": "m.room.member",
            "state_key": ALICE,
            "sender": BOB,
            "content": {"membership": membership},
        },
    ]
    row = Membership(THERE, ALICE, membership, EventId("$x"), work.next_position())
    rooms.save_outside_membership(work, row, stripped)
    work.wake(wake_ups.SYNC)


async def test_a_room_that_is_new_to_the_device_comes_whole(alice: Alice) -> None:
    since = (await alice.sync())["next_batch"]
    room_id = await alice.create(name="Garden")
    for number in range(30):
        await alice.say(room_id, f"m{number}")

    room = (await alice.sync(since))["rooms"]["join"][room_id]

    assert len(bodies(room)) == 20
    assert ("m.room.name", "") in keys(room["state"]["events"])
    assert ("m.room.member", ALICE) in keys(room["state"]["events"])
    assert room["summary"]["m.joined_member_count"] == 1


async def test_an_invitation_shows_what_is_known_of_the_room(alice: Alice) -> None:
    since = (await alice.sync())["next_batch"]
    await alice.database.write(lambda work: be_outside(work, "invite"))

    for answer in (await alice.sync(since), await alice.sync()):
        events = answer["rooms"]["invite"][THERE]["invite_state"]["events"]
        assert types(events) == ["m.room.name", "m.room.member"]
        assert set(events[0]) == {"type", "state_key", "sender", "content"}
    assert "rooms" not in await alice.sync(answer["next_batch"])


async def test_a_knock_is_shown_as_one(alice: Alice) -> None:
    await alice.database.write(lambda work: be_outside(work, "knock"))
    assert list((await alice.sync())["rooms"]["knock"]) == [THERE]


async def test_an_ignored_users_invitation_is_not_shown(alice: Alice) -> None:
    await alice.database.write(
        lambda work: account_data.save_account_data(
            work, ALICE, None, "m.ignored_user_list", {"ignored_users": {BOB: {}}}
        )
    )
    await alice.database.write(lambda work: be_outside(work, "invite"))
    assert "rooms" not in await alice.sync()


async def test_a_room_that_was_left_ends_with_the_leaving(alice: Alice) -> None:
    room_id = await alice.create()
    await alice.member(room_id, BOB, "join")
    since = (await alice.sync())["next_batch"]
    await alice.bob_says(room_id, "before")
    await alice.member(room_id, ALICE, "leave")
    await alice.bob_says(room_id, "behind her back")

    answer = await alice.sync(since)

    assert list(answer["rooms"]) == ["leave"]
    left = answer["rooms"]["leave"][room_id]
    assert types(left["timeline"]["events"]) == ["m.room.message", "m.room.member"]
    assert bodies(left) == ["before"]
    await alice.bob_says(room_id, "still talking")
    assert "rooms" not in await alice.sync(answer["next_batch"])


async def test_account_data_of_a_room_that_was_left_is_told(alice: Alice) -> None:
    room_id = await alice.create()
    await alice.member(room_id, ALICE, "leave")
    rejected = await alice.be_invited()
    await alice.reject(rejected)
    since = (await alice.sync())["next_batch"]

    async def tag(room: RoomId) -> None:
        await alice.database.write(
            lambda work: account_data.save_account_data(work, ALICE, room, "m.tag", {"tags": {}})
        )

    for one in (room_id, rejected):
        await tag(one)
    answer = await alice.sync(since)
    assert set(answer["rooms"]) == {"leave"}
    for one in (room_id, rejected):
        left = answer["rooms"]["leave"][one]
        assert types(left["account_data"]["events"]) == ["m.tag"]
        assert left["timeline"]["events"] == left["state"]["events"] == []
    assert "rooms" not in await alice.sync(answer["next_batch"])
    others: list[JsonObject] = [{"account_data": {"types": ["m.fully_read"]}}, {"rooms": []}]
    for part in others:
        assert "rooms" not in await alice.sync(since, filter={"room": part})
    everything = await alice.sync(filter={"room": {"include_leave": True}})
    assert types(everything["rooms"]["leave"][room_id]["account_data"]["events"]) == ["m.tag"]
    await alice.database.write(lambda work: rooms.forget_room(work, room_id, ALICE))
    await tag(room_id)
    assert "rooms" not in await alice.sync(answer["next_batch"])


async def test_left_rooms_are_shown_from_the_start_only_if_asked_for(alice: Alice) -> None:
    room_id = await alice.create()
    await alice.member(room_id, ALICE, "leave")
    assert "rooms" not in await alice.sync()
    answer = await alice.sync(filter={"room": {"include_leave": True}})
    assert list(answer["rooms"]["leave"]) == [room_id]


async def test_coming_back_brings_the_whole_room_again(alice: Alice) -> None:
    room_id = await alice.create(name="Garden")
    await alice.member(room_id, BOB, "join")
    await alice.member(room_id, ALICE, "leave")
    since = (await alice.sync())["next_batch"]
    await alice.bob_says(room_id, "while she was away")
    await alice.member(room_id, ALICE, "join")

    room = (await alice.sync(since, filter={"room": {"timeline": {"limit": 1}}}))["rooms"]["join"][
        room_id
    ]

    assert room["timeline"]["limited"] is True
    assert ("m.room.name", "") in keys(room["state"]["events"])


async def test_what_was_said_before_joining_stays_hidden_where_the_room_says_so(
    alice: Alice,
) -> None:
    room_id = await alice.create(
        initial_state=[("m.room.history_visibility", "", {"history_visibility": "joined"})]
    )
    await alice.member(room_id, BOB, "join")
    await alice.member(room_id, ALICE, "leave")
    await alice.bob_says(room_id, "a secret")
    await alice.member(room_id, ALICE, "join")
    await alice.bob_says(room_id, "welcome back")
    assert bodies((await alice.sync())["rooms"]["join"][room_id]) == ["welcome back"]


async def test_a_ban_is_told(alice: Alice) -> None:
    room_id = await alice.create(version_id="11")
    await alice.member(room_id, BOB, "join")
    await alice.set(room_id, "m.room.power_levels", users={BOB: 100, ALICE: 50})
    since = (await alice.sync())["next_batch"]
    await alice.happen(room_id, drafting.membership(BOB, ALICE, "ban", {"reason": "no"}))
    answer = await alice.sync(since)
    [ban] = answer["rooms"]["leave"][room_id]["timeline"]["events"]
    assert ban["content"] == {"membership": "ban", "reason": "no"}


async def test_leaving_a_room_that_was_forgotten_is_told_once(alice: Alice) -> None:
    room_id = await alice.create()
    since = (await alice.sync())["next_batch"]
    await alice.member(room_id, ALICE, "leave")
    await alice.database.write(lambda work: rooms.forget_room(work, room_id, ALICE))
    answer = await alice.sync(since)
    assert set(answer["rooms"]["leave"]) == {room_id}
    assert "rooms" not in await alice.sync(answer["next_batch"])
    everything = await alice.sync(filter={"room": {"include_leave": True}})
    assert "rooms" not in everything


async def test_a_first_answer_has_every_room_however_many(alice: Alice) -> None:
    created = {await alice.create(name=f"Room {number}") for number in range(12)}

    rooms_told = (await alice.sync())["rooms"]["join"]

    assert rooms_told.keys() == created
    assert all(
        ("m.room.name", "") in keys(one["timeline"]["events"]) for one in rooms_told.values()
    )
