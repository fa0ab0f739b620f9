from homeserver.matrix.canonical_json import JsonObject
from homeserver.rooms import pages
from homeserver.storage import account_data, events
from tests.sync.alice import ALICE, BOB, Alice, bodies, keys, types


async def test_an_initial_sync_shows_the_room_with_its_newest_events(alice: Alice) -> None:
    room_id = await alice.create(name="Garden")
    for number in range(30):
        await alice.say(room_id, f"m{number}")

    answer = await alice.sync(filter={"room": {"timeline": {"limit": 5}}})
    room = answer["rooms"]["join"][room_id]

    assert bodies(room) == ["m25", "m26", "m27", "m28", "m29"]
    assert room["timeline"]["limited"] is True
    assert {("m.room.create", ""), ("m.room.name", ""), ("m.room.member", ALICE)} <= keys(
        room["state"]["events"]
    )
    assert all("room_id" not in event for event in room["timeline"]["events"])
    assert room["summary"] == {"m.joined_member_count": 1, "m.invited_member_count": 0}


async def test_a_whole_timeline_needs_no_state_beside_it(alice: Alice) -> None:
    room_id = await alice.create()
    answer = await alice.sync(filter={"room": {"timeline": {"limit": 50}}})
    room = answer["rooms"]["join"][room_id]
    assert room["timeline"]["limited"] is False
    assert room["state"]["events"] == []
    assert room["timeline"]["events"][0]["type"] == "m.room.create"


async def test_an_incremental_sync_shows_what_is_new_and_nothing_else(alice: Alice) -> None:
    quiet, lively = await alice.create(), await alice.create()
    since = (await alice.sync())["next_batch"]
    await alice.say(lively, "news")

    answer = await alice.sync(since)

    assert list(answer["rooms"]["join"]) == [lively]
    assert bodies(answer["rooms"]["join"][lively]) == ["news"]
    assert answer["rooms"]["join"][lively]["state"]["events"] == []
    assert answer["next_batch"] != since
    assert quiet not in answer["rooms"]["join"]
    assert "rooms" not in await alice.sync(answer["next_batch"])


async def test_the_same_token_gives_the_same_news_again(alice: Alice) -> None:
    room_id = await alice.create()
    since = (await alice.sync())["next_batch"]
    await alice.say(room_id, "news")
    first, second = await alice.sync(since), await alice.sync(since)
    assert bodies(first["rooms"]["join"][room_id]) == bodies(second["rooms"]["join"][room_id])


async def test_a_gap_brings_the_state_that_changed_in_it(alice: Alice) -> None:
    room_id = await alice.create()
    since = (await alice.sync())["next_batch"]
    await alice.set(room_id, "m.room.topic", topic="before")
    for number in range(10):
        await alice.say(room_id, f"m{number}")
    await alice.set(room_id, "m.room.name", name="after")

    limit = {"room": {"timeline": {"limit": 3}}}
    room = (await alice.sync(since, filter=limit))["rooms"]["join"][room_id]

    assert room["timeline"]["limited"] is True
    assert keys(room["state"]["events"]) == {("m.room.topic", "")}
    assert types(room["timeline"]["events"]) == [
        "m.room.message",
        "m.room.message",
        "m.room.name",
    ]


async def test_state_after_is_the_state_at_the_end_of_the_timeline(alice: Alice) -> None:
    room_id = await alice.create()
    since = (await alice.sync())["next_batch"]
    await alice.set(room_id, "m.room.topic", topic="new")

    room = (await alice.sync(since, use_state_after=True))["rooms"]["join"][room_id]

    assert keys(room["state_after"]["events"]) == {("m.room.topic", "")}
    assert "state" not in room


async def test_the_full_state_can_be_asked_for_again(alice: Alice) -> None:
    room_id, other = await alice.create(), await alice.create()
    since = (await alice.sync())["next_batch"]
    await alice.say(room_id, "news")

    answer = await alice.sync(since, full_state=True)

    assert answer["rooms"]["join"].keys() == {room_id, other}
    for room in answer["rooms"]["join"].values():
        assert ("m.room.create", "") in keys(room["state"]["events"])
    assert bodies(answer["rooms"]["join"][room_id]) == ["news"]
    again = await alice.sync(answer["next_batch"], full_state=True)
    assert again["next_batch"] != answer["next_batch"]


async def test_state_kept_out_of_the_timeline_by_a_filter_is_told_beside_it(alice: Alice) -> None:
    room_id = await alice.create()
    since = (await alice.sync())["next_batch"]
    await alice.set(room_id, "m.room.topic", topic="new")
    await alice.say(room_id, "hello")
    only = {"room": {"timeline": {"types": ["m.room.message"]}}}
    room = (await alice.sync(since, filter=only))["rooms"]["join"][room_id]
    assert types(room["timeline"]["events"]) == ["m.room.message"]
    assert keys(room["state"]["events"]) == {("m.room.topic", "")}


async def test_a_filter_chooses_events_and_rooms(alice: Alice) -> None:
    room_id, other = await alice.create(), await alice.create()
    await alice.member(room_id, BOB, "join")
    since = (await alice.sync())["next_batch"]
    await alice.say(room_id, "from Alice")
    await alice.bob_says(room_id, "from Bob")
    await alice.say(other, "elsewhere")

    from_bob = {"room": {"rooms": [room_id], "timeline": {"senders": [BOB]}}}
    joined = (await alice.sync(since, filter=from_bob))["rooms"]["join"]
    assert joined.keys() == {room_id}
    assert bodies(joined[room_id]) == ["from Bob"]

    elsewhere = {"room": {"not_rooms": [room_id], "timeline": {"not_types": ["m.room.t*"]}}}
    joined = (await alice.sync(since, filter=elsewhere))["rooms"]["join"]
    assert joined.keys() == {other}


async def test_earlier_pages_go_on_where_the_timeline_begins(alice: Alice) -> None:
    room_id = await alice.create()
    for number in range(5):
        await alice.say(room_id, f"m{number}")
    answer = await alice.sync(filter={"room": {"timeline": {"limit": 2}}})
    token = answer["rooms"]["join"][room_id]["timeline"]["prev_batch"]

    point = pages.parse_token(token)
    found = alice.database.read(lambda view: events.timeline_before(view, room_id, point, 2))

    assert [one.event.content["body"] for one in found] == ["m2", "m1"]


async def test_parts_of_a_filter_leave_rooms_out(alice: Alice) -> None:
    room_id, other = await alice.create(name="Garden"), await alice.create(name="Kitchen")
    for one in (room_id, other):
        await alice.say(one, "hello")

    async def told(part: str, since: str | None = None, **wanted: object) -> dict[str, int]:
        limit = {} if part == "timeline" else {"timeline": {"limit": 1}}
        answer = await alice.sync(since, filter={"room": limit | {part: wanted}})
        joined = answer.get("rooms", {}).get("join", {})
        return {one: len(joined[one][part]["events"]) for one in joined}

    for part in ("timeline", "state"):
        whole = await told(part)
        assert whole[room_id] == whole[other] > 0
        assert await told(part, not_rooms=[room_id]) == whole | {room_id: 0}
        assert await told(part, rooms=[room_id]) == whole | {other: 0}
    since = (await alice.sync())["next_batch"]
    await alice.say(room_id, "again")
    assert await told("timeline", since, not_rooms=[room_id]) == {}


async def test_what_is_related_to_can_be_asked_for(alice: Alice) -> None:
    room_id = await alice.create()
    await alice.member(room_id, BOB, "join")
    root = await alice.say(room_id, "root")
    await alice.say(room_id, "alone")
    in_thread: JsonObject = {"m.relates_to": {"rel_type": "m.thread", "event_id": root}}
    await alice.bob_says(room_id, "answer", **in_thread)

    async def heard(**wanted: object) -> list[str]:
        answer = await alice.sync(filter={"room": {"timeline": wanted}})
        return bodies(answer["rooms"]["join"][room_id])

    assert await heard(related_by_rel_types=["m.thread"]) == ["root"]
    assert await heard(related_by_senders=[BOB]) == ["root"]
    assert await heard(related_by_rel_types=["m.thread"], related_by_senders=[ALICE]) == []
    assert await heard(related_by_rel_types=["m.replace"]) == []


async def test_ignored_users_are_not_heard(alice: Alice) -> None:
    room_id = await alice.create()
    await alice.member(room_id, BOB, "join")
    ignored: JsonObject = {"ignored_users": {BOB: {}}}
    await alice.database.write(
        lambda work: account_data.save_account_data(
            work, ALICE, None, "m.ignored_user_list", ignored
        )
    )
    since = (await alice.sync())["next_batch"]
    await alice.bob_says(room_id, "can you hear me?")
    await alice.member(room_id, BOB, "leave")
    room = (await alice.sync(since))["rooms"]["join"][room_id]
    assert types(room["timeline"]["events"]) == ["m.room.member"]


async def test_nothing_is_lost_between_syncs(alice: Alice) -> None:
    room_id = await alice.create()
    since, heard = (await alice.sync())["next_batch"], []
    for number in range(40):
        await alice.say(room_id, f"m{number}")
        if number % 3 == 0:
            answer = await alice.sync(since)
            heard += bodies(answer["rooms"]["join"][room_id])
            since = answer["next_batch"]
    assert heard == [f"m{number}" for number in range(40)]
