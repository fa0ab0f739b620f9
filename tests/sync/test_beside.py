import pytest

from homeserver import errors
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import DeviceId, RoomId, ServerName
from homeserver.storage import account_data, accounts, encryption
from homeserver.storage.accounts import Device
from homeserver.storage.encryption import OneTimeKey
from homeserver.storage.encryption import to_device as storage
from homeserver.storage.unit_of_work import UnitOfWork
from tests.sync.alice import ALICE, BOB, CAROL, Alice, bodies, types
from tests.sync.sliding import Slider

BOBS = ServerName("bob.test")
STRANGERS = ServerName("stranger.test")


async def with_bob(alice: Alice, **grants: bool) -> RoomId:
    await alice.befriend_bob(**grants)
    room_id = await alice.create()
    await alice.member(room_id, BOB, "join")
    return room_id


async def test_account_data_of_the_user_and_of_rooms_is_told(alice: Alice) -> None:
    room_id = await alice.create()
    since = (await alice.sync())["next_batch"]
    tags = {"tags": {"m.favourite": {"order": 0.5}}}

    def save(work: UnitOfWork) -> None:
        account_data.save_account_data(work, ALICE, None, "m.direct", {"@x": []})
        account_data.save_account_data(work, ALICE, room_id, "m.tag", tags)

    await alice.database.write(save)
    for answer in (await alice.sync(since), await alice.sync()):
        assert types(answer["account_data"]["events"]) == ["m.direct"]
        [tag] = answer["rooms"]["join"][room_id]["account_data"]["events"]
        assert tag["content"] == tags


async def put_messages(alice: Alice, count: int, device: str = "PHONE") -> None:
    messages = [(DeviceId(device), b'{"content":{"n":%d}}' % number) for number in range(count)]
    await alice.database.write(lambda work: encryption.save_to_device(work, ALICE, messages))


def numbers(answer: JsonObject) -> list[int]:
    return [one["content"]["n"] for one in answer.get("to_device", {"events": []})["events"]]


async def test_messages_to_a_device_come_until_it_says_it_has_them(alice: Alice) -> None:
    since = (await alice.sync())["next_batch"]
    await put_messages(alice, 3)
    first, again = await alice.sync(since), await alice.sync(since)
    assert numbers(first) == numbers(again) == [0, 1, 2]
    assert numbers(await alice.sync(first["next_batch"])) == []
    assert numbers(await alice.sync(since)) == []


@pytest.mark.parametrize("token", ["s{}", "s{}_0_aa", "s1_0_aa_{}"])
async def test_a_token_from_the_future_is_refused_and_forgets_nothing(
    alice: Alice, token: str
) -> None:
    since = (await alice.sync())["next_batch"]
    await put_messages(alice, 2)
    with pytest.raises(errors.InvalidParam):
        await alice.sync(token.format(alice.database.position + 1))
    assert numbers(await alice.sync(since)) == [0, 1]


@pytest.fixture
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "_READ_AT_ONCE", 10)
    monkeypatch.setattr(storage, "_PAGE_BYTES", 10)


async def pieces(alice: Alice, since: str | None, **wish: bool) -> list[JsonObject]:
    """Every answer from a token on, until nothing is new."""
    answers = [await alice.sync(since, **wish)]
    while "to_device" in answers[-1]:
        assert answers[-1]["next_batch"] != since  # matrix-nio drops an answer that repeats it
        since = answers[-1]["next_batch"]
        answers.append(await alice.sync(since))
    return answers


@pytest.mark.usefixtures("few_at_once")
async def test_rooms_wait_until_all_messages_to_the_device_have_come(alice: Alice) -> None:
    room_id = await alice.create()
    since = (await alice.sync())["next_batch"]
    await put_messages(alice, 25)
    await alice.say(room_id, "hello")
    *before, last, end = await pieces(alice, since)
    assert [numbers(one) for one in before] == [list(range(10)), list(range(10, 20))]
    assert numbers(last) == list(range(20, 25))
    assert not any("rooms" in one or "device_lists" in one for one in before)
    assert all("device_one_time_keys_count" in one for one in before)
    assert bodies(last["rooms"]["join"][room_id]) == ["hello"]
    assert "rooms" not in end


@pytest.mark.usefixtures("few_at_once")
async def test_a_device_that_begins_anew_has_its_messages_before_its_rooms(alice: Alice) -> None:
    room_id = await alice.create()
    await alice.say(room_id, "hello")
    await put_messages(alice, 25)
    first, second, last, _ = await pieces(alice, None)
    assert "rooms" not in first | second
    told = last["rooms"]["join"][room_id]
    whole = (await alice.sync())["rooms"]["join"][room_id]
    assert types(told["timeline"]["events"]) == types(whole["timeline"]["events"])
    assert bodies(told) == ["hello"]
    assert told["summary"] == whole["summary"]


@pytest.mark.usefixtures("few_at_once")
async def test_the_full_state_that_was_asked_for_comes_with_the_rooms(alice: Alice) -> None:
    room_id = await alice.create()
    since = (await alice.sync())["next_batch"]
    await put_messages(alice, 25)
    first, second, last, _ = await pieces(alice, since, full_state=True)
    assert "rooms" not in first | second
    assert "m.room.create" in types(last["rooms"]["join"][room_id]["state"]["events"])
    assert "rooms" not in await alice.sync(last["next_batch"])


async def test_a_message_to_another_device_is_not_shown(alice: Alice) -> None:
    since = (await alice.sync())["next_batch"]
    await put_messages(alice, 1, "TABLET")
    assert numbers(await alice.sync(since)) == []


async def test_the_keys_left_are_counted(alice: Alice) -> None:
    since = (await alice.sync())["next_batch"]
    assert (await alice.sync(since))["device_one_time_keys_count"] == {"signed_curve25519": 0}
    key = OneTimeKey(ALICE, DeviceId("PHONE"), "signed_curve25519", "AAA", b"{}", 1)
    await alice.database.write(lambda work: encryption.save_one_time_keys(work, [key]))

    answer = await alice.sync(since)

    assert answer["device_one_time_keys_count"] == {"signed_curve25519": 1}
    assert answer["device_unused_fallback_key_types"] == []
    # matrix-nio drops an answer whose token repeats
    assert answer["next_batch"] != since
    assert (await alice.sync(answer["next_batch"]))["next_batch"] == since


async def test_a_changed_device_list_is_told_if_a_room_is_shared(alice: Alice) -> None:
    await with_bob(alice)
    since = (await alice.sync())["next_batch"]

    def mark(work: UnitOfWork) -> None:
        for user_id in (BOB, ALICE, CAROL):
            encryption.mark_device_list_changed(work, user_id, BOBS)

    await alice.database.write(mark)
    assert (await alice.sync(since))["device_lists"] == {"changed": [ALICE, BOB]}


async def test_who_comes_is_to_be_asked_and_who_goes_to_be_forgotten(alice: Alice) -> None:
    room_id = await alice.create()
    since = (await alice.sync())["next_batch"]
    await alice.member(room_id, BOB, "join")
    answer = await alice.sync(since)
    assert answer["device_lists"] == {"changed": [BOB]}

    await alice.member(room_id, BOB, "join", displayname="Robert")
    answer = await alice.sync(answer["next_batch"])
    assert "device_lists" not in answer

    await alice.member(room_id, BOB, "leave")
    assert (await alice.sync(answer["next_batch"]))["device_lists"] == {"left": [BOB]}


async def test_leaving_a_room_leaves_its_members(alice: Alice) -> None:
    room_id, other = await alice.create(), await alice.create()
    for one in (room_id, other):
        await alice.member(one, BOB, "join")
    await alice.member(room_id, CAROL, "join")
    since = (await alice.sync())["next_batch"]
    await alice.member(room_id, ALICE, "leave")
    answer = await alice.sync(since)
    assert answer["device_lists"]["left"] == [CAROL]


async def test_joining_a_room_brings_its_members(alice: Alice) -> None:
    room_id = await with_bob(alice)
    await alice.member(room_id, ALICE, "leave")
    since = (await alice.sync())["next_batch"]
    await alice.member(room_id, ALICE, "join")
    assert (await alice.sync(since))["device_lists"] == {"changed": [BOB]}


@pytest.mark.parametrize("is_sliding", [False, True])
async def test_that_a_device_is_in_use_is_kept_once_a_day(
    alice: Alice, *, is_sliding: bool
) -> None:
    requester = alice.requester
    device = Device(requester.device_id, None, alice.clock.now_ms())
    await alice.database.write(lambda work: accounts.save_device(work, ALICE, device))
    slider = Slider(alice)
    seen = []
    for hours in (1, 23, 1, 23):
        await alice.clock.advance(hours * 3_600)
        await (slider.slide() if is_sliding else alice.sync())
        found = alice.database.read(
            lambda view: accounts.find_device(view, ALICE, requester.device_id)
        )
        assert found is not None
        seen.append((found.last_seen_at - device.last_seen_at) // 3_600_000)
    assert seen == [0, 24, 24, 48]
