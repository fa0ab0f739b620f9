import asyncio

import orjson
import pytest

from homeserver import errors
from homeserver.matrix.identifiers import EventId
from homeserver.storage import account_data, encryption, rooms
from homeserver.storage.rooms import Membership
from tests.sync.alice import ALICE, BOB, CAROL, Alice, settle
from tests.sync.sliding import Slider, places, said, serve, windowed

LAZY = [["m.room.member", "$LAZY"], ["m.room.member", "$ME"], ["m.room.name", ""]]


async def test_a_room_is_described_once_and_its_changes_after_that(alice: Alice) -> None:
    room_id = await alice.create(name="Garden")
    slider = Slider(alice)
    room = (await slider.slide())["rooms"][room_id]
    assert (room["name"], room["joined_count"], room["invited_count"]) == ("Garden", 1, 0)
    assert "heroes" not in room
    await alice.say(room_id, "hello")
    room = (await slider.slide())["rooms"][room_id]
    assert said(room) == ["hello"]
    assert not {"name", "joined_count", "heroes", "initial"} & room.keys()
    await alice.set(room_id, "m.room.name", name="Orchard")
    await alice.set(room_id, "m.room.avatar", url="mxc://alice.test/a")
    room = (await slider.slide())["rooms"][room_id]
    assert (room["name"], room["avatar"]) == ("Orchard", "mxc://alice.test/a")
    await alice.set(room_id, "m.room.name")
    room = (await slider.slide())["rooms"][room_id]
    assert room["name"] is None


async def test_a_room_without_a_name_has_heroes(alice: Alice) -> None:
    room_id = await alice.create()
    await alice.member(room_id, BOB, "join", displayname="Bob", avatar_url="mxc://bob.test/b")
    room = (await Slider(alice).slide())["rooms"][room_id]
    assert room["heroes"] == [
        {"user_id": BOB, "displayname": "Bob", "avatar_url": "mxc://bob.test/b"}
    ]
    assert room["joined_count"] == 2
    await alice.set(room_id, "m.room.canonical_alias", alias="#garden:alice.test")
    assert "heroes" in (await Slider(alice).slide())["rooms"][room_id]


async def test_the_state_that_is_required_is_sent_and_no_other(alice: Alice) -> None:
    room_id = await alice.create(name="Garden")
    await alice.member(room_id, BOB, "join")
    await alice.member(room_id, CAROL, "join")
    for _ in range(3):
        await alice.bob_says(room_id, "hm")

    async def state_of(wanted: object, **more: object) -> set[tuple[str, str]]:
        lists = windowed([0, 9], limit=2, required_state=wanted)
        return places((await Slider(alice, **more).slide(lists))["rooms"][room_id])  # type: ignore[arg-type]

    assert await state_of([]) == set()
    assert await state_of([["m.room.name", ""]]) == {("m.room.name", "")}
    assert await state_of(LAZY) == {
        ("m.room.member", BOB),
        ("m.room.member", ALICE),
        ("m.room.name", ""),
    }
    assert await state_of([["m.room.member", "*"]]) == {
        ("m.room.member", one) for one in (ALICE, BOB, CAROL)
    }
    whole = await state_of([["*", "*"]])
    assert {("m.room.create", ""), ("m.room.member", CAROL)} <= whole
    thin = await state_of([["*", "*"], ["m.room.member", "$LAZY"]])
    assert thin == {key for key in whole if key[0] != "m.room.member"} | {("m.room.member", BOB)}
    stable = {"include": [{}], "exclude": [{"type": "m.room.create"}], "lazy_members": True}
    assert await state_of(stable, is_stable=True) == whole - {("m.room.create", "")}


async def test_changed_state_is_told_and_unchanged_is_not(alice: Alice) -> None:
    room_id = await alice.create(name="Garden")
    slider = Slider(alice)
    wanted = windowed([0, 9], limit=1, required_state=[["*", "*"]])
    await slider.slide(wanted)
    await alice.set(room_id, "m.room.topic", topic="beans")
    await alice.say(room_id, "look")
    room = (await slider.slide(wanted))["rooms"][room_id]
    assert places(room) == {("m.room.topic", "")}
    assert room["limited"] is True
    more = windowed([0, 9], limit=1, required_state=[["m.room.topic", ""]])
    assert (await slider.slide(more))["rooms"] == {}


async def test_more_required_state_is_sent_at_once_and_nothing_twice(alice: Alice) -> None:
    room_id = await alice.create(name="Garden")
    slider = Slider(alice)
    await slider.slide(windowed([0, 9], required_state=[["m.room.name", ""]]))
    more = windowed([0, 9], required_state=[["m.room.name", ""], ["m.room.create", ""]])
    room = (await slider.slide(more))["rooms"][room_id]
    assert places(room) == {("m.room.create", "")}
    assert "timeline" not in room
    assert (await slider.slide(more))["rooms"] == {}


async def test_a_longer_timeline_is_sent_at_once(alice: Alice) -> None:
    room_id = await alice.create()
    for number in range(5):
        await alice.say(room_id, str(number))
    slider = Slider(alice)
    assert said((await slider.slide(windowed([0, 9], limit=1)))["rooms"][room_id]) == ["4"]
    subscribed = {room_id: {"timeline_limit": 4, "required_state": []}}
    answer = await slider.slide(windowed([0, 9], limit=1), room_subscriptions=subscribed)
    room = answer["rooms"][room_id]
    assert said(room) == ["1", "2", "3", "4"]
    assert room["unstable_expanded_timeline"] is True
    assert (room["limited"], room["num_live"]) == (True, 0)
    answer = await slider.slide(windowed([0, 9], limit=1), room_subscriptions=subscribed)
    assert answer["rooms"] == {}


async def test_a_subscription_needs_a_room_of_ones_own(alice: Alice) -> None:
    wish = {"timeline_limit": 4, "required_state": []}
    answer = await Slider(alice).slide({}, room_subscriptions={"!other:bob.test": wish})
    assert answer["rooms"] == {}


async def test_the_bump_stamp_follows_what_is_said_only(alice: Alice) -> None:
    room_id = await alice.create()
    said_id = await alice.say(room_id, "hello")
    for number in range(30):
        await alice.set(room_id, "m.room.topic", topic=str(number))
    slider = Slider(alice)
    room = (await slider.slide(windowed([0, 9], limit=2)))["rooms"][room_id]
    page = await alice.sync(filter={"room": {"timeline": {"limit": 50}}})
    ids = [one["event_id"] for one in page["rooms"]["join"][room_id]["timeline"]["events"]]
    assert said_id in ids
    before = room["bump_stamp"]
    await alice.set(room_id, "m.room.topic", topic="again")
    assert "bump_stamp" not in (await slider.slide(windowed([0, 9], limit=2)))["rooms"][room_id]
    await alice.say(room_id, "more")
    room = (await slider.slide(windowed([0, 9], limit=2)))["rooms"][room_id]
    assert room["bump_stamp"] > before


async def _be_invited(alice: Alice, room_id: str, sender: str) -> None:
    stripped = [
        {
            "type": "m.room.member",
            "state_key": ALICE,
            "sender": sender,
            "content": {"membership": "invite"},
        },
        {
            "type": "m.room.name",
            "state_key": "",
            "sender": sender,
            "content": {"name": "Party"},
        },
    ]

    def save(work: object) -> None:
        position = work.next_position()  # type: ignore[attr-defined]
        invited = Membership(room_id, ALICE, "invite", EventId("$i"), position)  # type: ignore[arg-type]
        rooms.save_outside_membership(work, invited, stripped)  # type: ignore[arg-type]

    await alice.database.write(save)


async def test_an_invitation_is_told_with_what_came_with_it(alice: Alice) -> None:
    slider = Slider(alice)
    await slider.slide()
    await _be_invited(alice, "!party:bob.test", BOB)
    room = (await slider.slide())["rooms"]["!party:bob.test"]
    assert [entry["type"] for entry in room["invite_state"]] == ["m.room.member", "m.room.name"]
    assert room["initial"] is True
    assert (await slider.slide())["rooms"] == {}
    stable = Slider(alice, is_stable=True)
    answer = await stable.slide({"i": {"filters": {"is_invited": True}}})
    room = answer["rooms"]["!party:bob.test"]
    assert (room["membership"], room["lists"]) == ("invite", ["i"])
    assert "stripped_state" in room


async def test_nobody_who_is_ignored_is_heard(alice: Alice) -> None:
    room_id = await alice.create()
    await alice.member(room_id, CAROL, "join")
    await alice.database.write(
        lambda work: account_data.save_account_data(
            work, ALICE, None, "m.ignored_user_list", {"ignored_users": {BOB: {}}}
        )
    )
    await alice.member(room_id, BOB, "join")
    await alice.bob_says(room_id, "psst")
    await _be_invited(alice, "!party:bob.test", BOB)
    answer = await Slider(alice).slide()
    assert set(answer["rooms"]) == {room_id}
    assert said(answer["rooms"][room_id]) == []


async def test_it_waits_for_news_and_wakes(alice: Alice) -> None:
    room_id = await alice.create()
    slider = Slider(alice)
    await slider.slide()
    waiting = slider.wait()
    await settle()
    assert not waiting.done()
    await alice.say(room_id, "news")
    assert said((await waiting)["rooms"][room_id]) == ["news"]
    waiting = slider.wait()
    await alice.clock.advance(31)
    assert (await waiting)["rooms"] == {}


async def test_a_position_outlives_the_server(alice: Alice) -> None:
    first, second = await alice.create(), await alice.create()
    slider = Slider(alice)
    await slider.slide(windowed([0, 0]))
    await slider.slide(windowed([0, 1]))
    await alice.say(first, "while down")
    slider.service = serve(alice)
    answer = await slider.slide(windowed([0, 1]))
    assert said(answer["rooms"][first]) == ["while down"]
    assert "initial" not in answer["rooms"][first]
    assert second not in answer["rooms"]


async def test_a_lost_answer_is_given_again_by_a_server_that_began_anew(alice: Alice) -> None:
    for _ in range(2):
        await alice.create()
    slider = Slider(alice)
    await slider.slide(windowed([0, 0]))
    lost = await slider.ask(windowed([0, 1]))
    slider.service = serve(alice)
    assert (await slider.slide(windowed([0, 1])))["rooms"].keys() == lost["rooms"].keys()
    slider.service = serve(alice)
    assert (await slider.slide(windowed([0, 1])))["rooms"] == {}


async def test_a_device_has_only_so_many_connections(alice: Alice) -> None:
    service = serve(alice)
    sliders = [Slider(alice, service) for _ in range(11)]
    for number, slider in enumerate(sliders):
        await slider.slide(conn_id=str(number))
    await sliders[10].slide(conn_id="10")
    fresh = serve(alice)
    sliders[0].service = fresh
    with pytest.raises(errors.HomeserverError) as refused:
        await sliders[0].slide(conn_id="0")
    assert refused.value.errcode == "M_UNKNOWN_POS"


async def test_messages_to_the_device_stay_until_they_are_acknowledged(alice: Alice) -> None:
    async def send(*messages: object) -> None:
        await alice.database.write(
            lambda work: encryption.save_to_device(
                work, ALICE, [(alice.requester.device_id, orjson.dumps(one)) for one in messages]
            )
        )

    def poke(number: int) -> dict[str, object]:
        return {"sender": BOB, "type": "poke", "content": {"number": number}}

    slider = Slider(alice)
    await send(poke(1), poke(2))
    wish: dict[str, object] = {"to_device": {"enabled": True, "limit": 1}}
    found = (await slider.slide({}, extensions=wish))["extensions"]["to_device"]
    assert found["events"] == [poke(1)]
    again = (await slider.slide({}, extensions=wish))["extensions"]["to_device"]
    assert again == found
    wish = {"to_device": {"enabled": True, "since": found["next_batch"]}}
    found = (await slider.slide({}, extensions=wish))["extensions"]["to_device"]
    assert found["events"] == [poke(2)]
    wish = {"to_device": {"enabled": True, "since": found["next_batch"]}}
    waiting = slider.wait({}, extensions=wish)
    await settle()
    assert not waiting.done()
    await send(poke(3))
    assert (await waiting)["extensions"]["to_device"]["events"] == [poke(3)]
    for bad in ("x", "-1", "9" * 30, str(alice.database.position + 1)):
        with pytest.raises(errors.InvalidParam):
            await slider.slide({}, extensions={"to_device": {"enabled": True, "since": bad}})


async def test_what_is_said_beside_the_rooms(alice: Alice) -> None:
    from homeserver.ephemeral.receipts import Marker

    room_id = await alice.create()
    event_id = await alice.say(room_id, "hello")
    await alice.receipts.mark(alice.requester, room_id, [Marker("m.read", event_id)])
    await alice.database.write(
        lambda work: account_data.save_account_data(work, ALICE, room_id, "x.y", {"z": 1})
    )
    enabled = {name: {"enabled": True} for name in ("account_data", "receipts", "typing", "e2ee")}
    slider = Slider(alice)
    await slider.slide()  # asked for later: everything in sight is told then
    found = (await slider.slide(extensions=enabled))["extensions"]
    assert found["account_data"]["rooms"] == {room_id: [{"type": "x.y", "content": {"z": 1}}]}
    told = found["receipts"]["rooms"][room_id]
    assert told["content"][event_id]["m.read"].keys() == {ALICE}
    assert found["e2ee"]["device_one_time_keys_count"] is not None
    found = (await slider.slide(extensions=enabled))["extensions"]
    assert found.keys() == {"e2ee"}
    waiting = slider.wait(extensions=enabled)
    await settle()
    assert not waiting.done()
    alice.typing.set_typing(alice.requester, room_id, ALICE, 5_000)
    found = (await asyncio.wait_for(waiting, 5))["extensions"]
    assert found["typing"]["rooms"][room_id] == {
        "type": "m.typing",
        "content": {"user_ids": [ALICE]},
    }
    elsewhere = {"receipts": {"enabled": True, "lists": [], "rooms": []}}
    later = await alice.say(room_id, "more")
    await alice.receipts.mark(alice.requester, room_id, [Marker("m.read", later)])
    assert (await slider.slide(extensions=elsewhere))["extensions"] == {}


async def test_the_accepted_form_says_receipts_and_typing_bare(alice: Alice) -> None:
    room_id = await alice.create()
    alice.typing.set_typing(alice.requester, room_id, ALICE, 5_000)
    slider = Slider(alice, is_stable=True)
    wish = {"timeline_limit": 1, "required_state": {}, "range": [0, 9]}
    enabled = {"typing": {"enabled": True}, "org.matrix.msc4543.e2ee": {"enabled": True}}
    answer = await slider.slide({"all": wish}, extensions=enabled)
    assert answer["extensions"]["typing"]["rooms"] == {room_id: {"user_ids": [ALICE]}}
    assert "org.matrix.msc4543.e2ee" in answer["extensions"]
    assert answer["rooms"][room_id]["membership"] == "join"
    assert "notification_count" not in answer["rooms"][room_id]


async def test_who_comes_and_goes_changes_the_device_lists(alice: Alice) -> None:
    room_id = await alice.create()
    enabled = {"e2ee": {"enabled": True}}
    slider = Slider(alice)
    found = (await slider.slide({}, extensions=enabled))["extensions"]["e2ee"]
    assert "device_lists" not in found
    await alice.member(room_id, BOB, "join")
    found = (await slider.slide({}, extensions=enabled))["extensions"]["e2ee"]
    assert found["device_lists"] == {"changed": [BOB]}
    await alice.member(room_id, BOB, "leave")
    found = (await slider.slide({}, extensions=enabled))["extensions"]["e2ee"]
    assert found["device_lists"] == {"left": [BOB]}
