import orjson
import pytest

from homeserver import errors
from homeserver.ephemeral import take_in_presence, take_in_receipts
from homeserver.ephemeral.receipts import Marker
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import RoomId, ServerName
from homeserver.storage import account_data, ephemeral, frames
from tests.sync.alice import ALICE, BOB, CAROL, Alice
from tests.sync.sliding import Slider

BOBS = ServerName("bob.test")
STRANGERS = ServerName("stranger.test")


def receipt_of(room_id: str, user_id: str, event_id: str, **told: object) -> JsonObject:
    seen = {"event_ids": [event_id], "data": {"ts": 1_700_000_000_000} | told}
    return {"edu_type": "m.receipt", "content": {room_id: {"m.read": {user_id: seen}}}}


async def with_bob(alice: Alice, **grants: bool) -> RoomId:
    await alice.befriend_bob(**grants)
    room_id = await alice.create()
    await alice.member(room_id, BOB, "join")
    return room_id


async def test_a_receipt_reaches_the_other_devices_and_the_peer(alice: Alice) -> None:
    room_id = await with_bob(alice, receipts=True)
    event_id = await alice.bob_says(room_id, "hello")
    answer = await alice.sync()
    assert answer["rooms"]["join"][room_id]["unread_notifications"]["notification_count"] == 1

    await alice.receipts.mark(alice.requester, room_id, [Marker("m.read", event_id)])

    room = (await alice.sync(answer["next_batch"]))["rooms"]["join"][room_id]
    [event] = room["ephemeral"]["events"]
    assert list(event["content"][event_id]["m.read"]) == [ALICE]
    assert room["unread_notifications"] == {"notification_count": 0, "highlight_count": 0}
    [told] = alice.database.read(lambda view: frames.waiting_newest(view, BOBS, 10))
    edu = orjson.loads(told.edu)
    assert edu["content"][room_id]["m.read"][ALICE]["event_ids"] == [event_id]


async def test_a_private_receipt_stays_at_home(alice: Alice) -> None:
    room_id = await with_bob(alice, receipts=True)
    event_id = await alice.bob_says(room_id, "hello")
    since = (await alice.sync())["next_batch"]

    await alice.receipts.mark(alice.requester, room_id, [Marker("m.read.private", event_id)])

    room = (await alice.sync(since))["rooms"]["join"][room_id]
    assert list(room["ephemeral"]["events"][0]["content"][event_id]) == ["m.read.private"]
    assert room["unread_notifications"]["notification_count"] == 0
    assert alice.database.read(lambda view: frames.waiting_newest(view, BOBS, 10)) == []


async def test_without_the_grant_a_peer_hears_nothing(alice: Alice) -> None:
    room_id = await with_bob(alice, receipts=False, typing=False)
    event_id = await alice.bob_says(room_id, "hello")
    await alice.receipts.mark(alice.requester, room_id, [Marker("m.read", event_id)])
    alice.typing.set_typing(alice.requester, room_id, ALICE, 1_000)
    assert alice.database.read(lambda view: frames.waiting_newest(view, BOBS, 10)) == []
    assert alice.peers.told == []


async def test_receipts_never_go_back(alice: Alice) -> None:
    room_id = await with_bob(alice)
    first = await alice.bob_says(room_id, "one")
    second = await alice.bob_says(room_id, "two")
    await alice.receipts.mark(alice.requester, room_id, [Marker("m.read", second)])
    since = (await alice.sync())["next_batch"]
    await alice.receipts.mark(alice.requester, room_id, [Marker("m.read", first)])
    assert "rooms" not in await alice.sync(since)


async def test_receipts_of_threads_stand_beside_each_other(alice: Alice) -> None:
    room_id = await with_bob(alice)
    root = await alice.bob_says(room_id, "root")
    since = (await alice.sync())["next_batch"]
    markers = [Marker("m.read", root, "main"), Marker("m.read", root, root)]
    await alice.receipts.mark(alice.requester, room_id, markers)
    events = (await alice.sync(since))["rooms"]["join"][room_id]["ephemeral"]["events"]
    threads = [event["content"][root]["m.read"][ALICE]["thread_id"] for event in events]
    assert sorted(threads) == sorted(["main", root])


@pytest.mark.parametrize(
    ("kind", "thread_id"), [("m.delivered", None), ("m.fully_read", "main"), ("m.read", "nonsense")]
)
async def test_a_receipt_of_no_sense_is_refused(
    alice: Alice, kind: str, thread_id: str | None
) -> None:
    room_id = await with_bob(alice)
    event_id = await alice.bob_says(room_id, "hello")
    with pytest.raises(errors.InvalidParam):
        await alice.receipts.mark(alice.requester, room_id, [Marker(kind, event_id, thread_id)])


async def test_a_receipt_is_for_an_event_of_its_room(alice: Alice) -> None:
    room_id, other = await with_bob(alice), await alice.create()
    elsewhere = await alice.say(other, "elsewhere")
    with pytest.raises(errors.NotFound):
        await alice.receipts.mark(alice.requester, room_id, [Marker("m.read", elsewhere)])
    with pytest.raises(errors.NotInRoom):
        await alice.receipts.mark(
            alice.requester, RoomId("!no:where"), [Marker("m.read", elsewhere)]
        )


async def test_the_read_marker_is_the_owners_account_data_and_moves_forward(alice: Alice) -> None:
    room_id = await with_bob(alice)
    first = await alice.bob_says(room_id, "one")
    second = await alice.bob_says(room_id, "two")
    since = (await alice.sync())["next_batch"]
    for event_id in (second, first):
        await alice.receipts.mark(alice.requester, room_id, [Marker("m.fully_read", event_id)])
    room = (await alice.sync(since))["rooms"]["join"][room_id]
    [entry] = room["account_data"]["events"]
    assert entry == {"type": "m.fully_read", "content": {"event_id": second}}


async def test_a_peers_receipt_is_shown(alice: Alice) -> None:
    room_id = await with_bob(alice)
    event_id = await alice.say(room_id, "hello")
    since = (await alice.sync())["next_batch"]
    edu = receipt_of(room_id, BOB, event_id, thread_id="main")

    assert await alice.database.write(lambda work: take_in_receipts(work, BOBS, edu)) == 1

    [event] = (await alice.sync(since))["rooms"]["join"][room_id]["ephemeral"]["events"]
    assert event["content"][event_id]["m.read"][BOB]["thread_id"] == "main"


@pytest.mark.parametrize(
    ("peer", "edu"),
    [
        (STRANGERS, receipt_of("{room}", BOB, "$event")),  # speaks for somebody else's user
        (BOBS, receipt_of("{room}", ALICE, "$event")),
        (BOBS, receipt_of("{room}", CAROL, "$event")),  # is not in the room
        (BOBS, receipt_of("!no:where", BOB, "$event")),
        (BOBS, receipt_of("{room}", BOB, "x")),
        (BOBS, receipt_of("{room}", BOB, "$unknown")),
        (BOBS, receipt_of("{room}", BOB, "$elsewhere")),
        (BOBS, receipt_of("{room}", BOB, "$event", thread_id="$unknown")),
        (BOBS, receipt_of("{room}", BOB, "$event", thread_id="$elsewhere")),
        (BOBS, receipt_of("{room}", BOB, "$event", ts=-1)),
        (BOBS, receipt_of("{room}", BOB, "$event", ts=1.5)),
        (BOBS, receipt_of("{room}", BOB, "$event", thread_id=5)),
        (BOBS, receipt_of("{room}", "bob", "$event")),
        (BOBS, {"content": []}),
        (BOBS, {"content": {"{room}": {"m.read": {BOB: []}}}}),
        (BOBS, {}),
    ],
)
async def test_a_peer_speaks_for_its_own_users_in_their_rooms_only(
    alice: Alice, peer: ServerName, edu: JsonObject
) -> None:
    room_id = await with_bob(alice)
    places = {
        "{room}": room_id,
        "$event": await alice.say(room_id, "hello"),
        "$elsewhere": await alice.say(await alice.create(), "hello"),
    }
    text = orjson.dumps(edu).decode()
    for place, value in places.items():
        text = text.replace(place, value)
    told = orjson.loads(text)
    assert await alice.database.write(lambda work: take_in_receipts(work, peer, told)) == 0


async def test_a_peers_receipts_in_a_room_are_bounded(alice: Alice) -> None:
    room_id = await with_bob(alice)
    said = [await alice.say(room_id, f"thread {number}") for number in range(220)]
    for event_id in said:
        edu = receipt_of(room_id, BOB, event_id, thread_id=event_id)
        await alice.database.write(lambda work, edu=edu: take_in_receipts(work, BOBS, edu))  # type: ignore[misc]
    kept = alice.database.read(lambda view: ephemeral.receipts_of_user(view, room_id, BOB))
    assert sorted(one.event_id for one in kept) == sorted(said[20:])


async def test_typing_is_shown_and_ends(alice: Alice) -> None:
    room_id = await with_bob(alice, typing=True)
    since = (await alice.sync())["next_batch"]
    alice.typing.set_typing(alice.requester, room_id, ALICE, 5_000)

    answer = await alice.sync(since)
    [event] = answer["rooms"]["join"][room_id]["ephemeral"]["events"]
    assert event == {"type": "m.typing", "content": {"user_ids": [ALICE]}}
    content = {"room_id": room_id, "user_id": ALICE, "typing": True}
    assert alice.peers.told == [(BOBS, {"edu_type": "m.typing", "content": content})]

    await alice.clock.advance(6)
    answer = await alice.sync(answer["next_batch"])
    [event] = answer["rooms"]["join"][room_id]["ephemeral"]["events"]
    assert event["content"]["user_ids"] == []
    assert "rooms" not in await alice.sync(answer["next_batch"])


async def test_typing_of_who_is_ignored_is_not_shown(alice: Alice) -> None:
    room_id = await with_bob(alice, typing=True)
    content: JsonObject = {"ignored_users": {BOB: {}}}
    await alice.database.write(
        lambda work: account_data.save_account_data(
            work, ALICE, None, "m.ignored_user_list", content
        )
    )
    since = (await alice.sync())["next_batch"]
    edu = {"content": {"room_id": room_id, "user_id": BOB, "typing": True}}
    assert alice.typing.take_in_typing(BOBS, edu)
    alice.typing.set_typing(alice.requester, room_id, ALICE, 2_000)
    [event] = (await alice.sync(since))["rooms"]["join"][room_id]["ephemeral"]["events"]
    assert event["content"] == {"user_ids": [ALICE]}
    wish = {"typing": {"enabled": True}}
    [told] = (await Slider(alice).slide(extensions=wish))["extensions"]["typing"]["rooms"].values()
    assert told["content"] == {"user_ids": [ALICE]}


async def test_a_shorter_typing_ends_first(alice: Alice) -> None:
    room_id = await with_bob(alice)
    edu = {"content": {"room_id": room_id, "user_id": BOB, "typing": True}}
    assert alice.typing.take_in_typing(BOBS, edu)
    await alice.clock.advance(1)
    alice.typing.set_typing(alice.requester, room_id, ALICE, 2_000)
    await alice.clock.advance(3)
    assert alice.board.typists(room_id) == [BOB]
    await alice.clock.advance(30)
    assert alice.board.typists(room_id) == []


@pytest.mark.parametrize(
    ("peer", "content"),
    [
        (STRANGERS, {"room_id": "{room}", "user_id": BOB, "typing": True}),
        (BOBS, {"room_id": "{room}", "user_id": CAROL, "typing": True}),
        (BOBS, {"room_id": "!no:where", "user_id": BOB, "typing": True}),
        (BOBS, {"room_id": 5, "user_id": BOB, "typing": True}),
        (BOBS, []),
    ],
)
async def test_a_peer_types_for_its_own_users_in_their_rooms_only(
    alice: Alice, peer: ServerName, content: JsonObject
) -> None:
    room_id = await with_bob(alice)
    told = orjson.loads(orjson.dumps(content).replace(b"{room}", room_id.encode()))
    assert not alice.typing.take_in_typing(peer, {"content": told})
    assert alice.board.typists(room_id) == []


async def test_nobody_types_for_another(alice: Alice) -> None:
    room_id = await with_bob(alice)
    with pytest.raises(errors.Forbidden):
        alice.typing.set_typing(alice.requester, room_id, BOB, 1_000)
    with pytest.raises(errors.NotInRoom):
        alice.typing.set_typing(alice.requester, RoomId("!no:where"), ALICE, 1_000)


async def test_a_peers_presence_is_shown(alice: Alice) -> None:
    await with_bob(alice)
    since = (await alice.sync())["next_batch"]
    edu = {
        "content": {
            "push": [
                {"user_id": BOB, "presence": "online", "status_msg": "hi", "last_active_ago": 9},
                {"user_id": CAROL, "presence": "online"},  # in no room of ours
                {"user_id": ALICE, "presence": "online"},
                {"user_id": BOB, "presence": "asleep"},
                "nonsense",
            ]
        }
    }
    kept = await alice.database.write(
        lambda work: take_in_presence(work, BOBS, edu, alice.clock.now_ms())
    )
    assert kept == 1
    [event] = (await alice.sync(since))["presence"]["events"]
    assert event["sender"] == BOB
    assert event["content"]["presence"] == "online"
    assert event["content"]["status_msg"] == "hi"
    assert alice.presences.find(alice.requester, BOB)["presence"] == "online"
    with pytest.raises(errors.NotFound):
        alice.presences.find(alice.requester, CAROL)


async def test_the_owner_is_there_while_a_client_syncs_and_a_while_after(alice: Alice) -> None:
    await with_bob(alice, presence=True)
    await alice.sync(set_presence="online")
    assert alice.presences.find(alice.requester, ALICE)["presence"] == "online"
    [told] = alice.database.read(lambda view: frames.waiting_newest(view, BOBS, 10))
    assert orjson.loads(told.edu)["content"]["push"][0]["presence"] == "online"

    await alice.clock.advance(50)
    await alice.sync(set_presence="online")
    await alice.clock.advance(50)
    assert alice.presences.find(alice.requester, ALICE)["presence"] == "online"
    await alice.clock.advance(11)
    assert alice.presences.find(alice.requester, ALICE)["presence"] == "offline"


async def test_a_status_message_outlives_the_coming_and_going(alice: Alice) -> None:
    await alice.presences.set_presence(alice.requester, ALICE, "online", "reading")
    await alice.sync(set_presence="unavailable")
    found = alice.presences.find(alice.requester, ALICE)
    assert (found["presence"], found["status_msg"]) == ("unavailable", "reading")
