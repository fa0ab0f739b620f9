"""Messages to devices: each arrives once, at ours or in a peer's outbox."""

from typing import Any

import orjson
import pytest

from homeserver import errors
from homeserver.encryption import to_device
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import DeviceId, ServerName
from homeserver.storage import accounts, encryption, frames, notices
from homeserver.storage.encryption import to_device as storage
from tests.accounts.serving import ALICE, BOB, BOBS, Client, Device, Served, log_in
from tests.encryption import keys


def inbox(served: Served, device_id: str, after: int = 0, limit: int = 100) -> list[JsonObject]:
    until = served.database.position
    found = served.database.read(
        lambda view: encryption.to_device_since(
            view, ALICE, DeviceId(device_id), after, until, limit
        )
    )
    return [orjson.loads(one.message) for one in found]


def outbox(served: Served) -> list[JsonObject]:
    items = served.database.read(lambda view: frames.waiting_items(view, BOBS, "to_device", 100))
    return [orjson.loads(item.body) for item in items]


def message(content: Any, sender: str = ALICE) -> JsonObject:
    return {"sender": sender, "type": "m.test", "content": content}


async def send(alice: Device, txn_id: str, messages: Any) -> None:
    await alice.put(f"/sendToDevice/m.test/{txn_id}", {"messages": messages})


async def test_a_message_reaches_its_device_once(
    served: Served, http: Client, alice: Device
) -> None:
    other = await log_in(http, "LAPTOP")
    for _ in range(2):
        await send(alice, "1", {ALICE: {"LAPTOP": {"a": 1}}})
    await send(other, "1", {ALICE: {"LAPTOP": {"a": 2}}})
    assert inbox(served, "LAPTOP") == [message({"a": 1}), message({"a": 2})]
    assert inbox(served, "PHONE") == []


async def test_a_message_for_all_reaches_every_device(
    served: Served, http: Client, alice: Device
) -> None:
    await log_in(http, "LAPTOP")
    await send(alice, "1", {ALICE: {"*": {"a": 1}, "LAPTOP": {"a": 2}, "NONE": {"a": 3}}})
    assert inbox(served, "PHONE") == [message({"a": 1})]
    assert inbox(served, "LAPTOP") == [message({"a": 2})]


async def test_what_a_device_has_is_forgotten(served: Served, alice: Device) -> None:
    for number in range(3):
        await send(alice, str(number), {ALICE: {"PHONE": {"a": number}}})
    first = served.database.read(
        lambda view: encryption.to_device_since(view, ALICE, DeviceId("PHONE"), 0, 10**9, 2)
    )
    assert len(first) == 2
    await served.database.write(
        lambda work: encryption.delete_to_device_up_to(
            work, ALICE, DeviceId("PHONE"), first[-1].position
        )
    )
    assert inbox(served, "PHONE") == [message({"a": 2})]


@pytest.fixture
def small_inboxes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "OWN_LIMIT", 3)
    monkeypatch.setattr(storage, "PEER_LIMIT", 2)


def told(served: Served) -> list[tuple[str, JsonObject]]:
    return [(one.kind, one.content) for one in served.database.read(notices.newest)]


@pytest.mark.usefixtures("small_inboxes")
async def test_a_full_inbox_keeps_what_it_has_and_takes_more_once_it_is_read(
    served: Served, alice: Device
) -> None:
    for number in range(3):
        await send(alice, str(number), {ALICE: {"PHONE": {"a": number}}})
    assert told(served) == [("inbox_full", {"device_id": "PHONE", "waiting": 3})]
    late = {"messages": {ALICE: {"PHONE": {"a": 3}}}}
    status, answer = await alice.ask("PUT", "/sendToDevice/m.test/3", late)
    assert (status, answer["errcode"]) == (429, "M_LIMIT_EXCEEDED")
    assert "PHONE" in answer["error"]
    assert answer["retry_after_ms"] > 0
    assert inbox(served, "PHONE") == [message({"a": number}) for number in range(3)]
    until = served.database.position
    await served.database.write(
        lambda work: encryption.delete_to_device_up_to(work, ALICE, DeviceId("PHONE"), until)
    )
    await send(alice, "3", late["messages"])
    assert inbox(served, "PHONE") == [message({"a": 3})]


@pytest.mark.usefixtures("small_inboxes")
async def test_only_an_abandoned_device_loses_its_oldest_messages(
    served: Served, http: Client, alice: Device
) -> None:
    await log_in(http, "LAPTOP")
    served.clock.seconds += 80 * 86_400
    seen_at = served.clock.now_ms()
    await served.database.write(
        lambda work: accounts.note_seen(work, ALICE, DeviceId("LAPTOP"), seen_at)
    )
    served.clock.seconds += 80 * 86_400
    for number in range(3):
        await send(alice, f"before {number}", {ALICE: {"LAPTOP": {"a": number}}})
    late = {"messages": {ALICE: {"LAPTOP": {"a": 3}}}}
    assert (await alice.ask("PUT", "/sendToDevice/m.test/late", late))[0] == 429
    served.clock.seconds += 11 * 86_400
    for number in range(5):
        await send(alice, str(number), {ALICE: {"LAPTOP": {"a": number}}})
    assert inbox(served, "LAPTOP") == [message({"a": number}) for number in (2, 3, 4)]
    assert told(served)[0] == ("inbox_abandoned", {"device_id": "LAPTOP", "lost": 1})
    lost = served.database.read(
        lambda view: encryption.to_device_lost(view, ALICE, DeviceId("LAPTOP"))
    )
    assert lost == 5


@pytest.mark.usefixtures("small_inboxes")
async def test_several_peers_cannot_push_out_what_others_sent(
    served: Served, alice: Device
) -> None:
    await send(alice, "1", {ALICE: {"PHONE": {"a": "mine"}}})
    expected = [message({"a": "mine"})]
    for server in ("bob.example", "carol.example", "dave.example"):
        sender = f"@somebody:{server}"
        for number in range(2):
            await take_in(
                served,
                edu(sender=sender, messages={ALICE: {"PHONE": {"a": number}}}),
                ServerName(server),
            )
            expected.append(message({"a": number}, sender))
        with pytest.raises(errors.LimitExceeded):
            await take_in(
                served,
                edu(sender=sender, messages={ALICE: {"PHONE": {"a": 2}}}),
                ServerName(server),
            )
    await send(alice, "2", {ALICE: {"PHONE": {"a": "mine too"}}})
    assert inbox(served, "PHONE") == [*expected, message({"a": "mine too"})]


async def test_messages_to_a_connected_server_wait_in_its_outbox(
    served: Served, alice: Device
) -> None:
    await keys.connect(served)
    for _ in range(2):
        await send(alice, "7", {BOB: {"TAB": {"a": 1}, "PAD": {"b": 1}}})
    assert outbox(served) == [
        {
            "sender": ALICE,
            "type": "m.test",
            "message_id": "7",
            "messages": {BOB: {device_id: content}},
        }
        for device_id, content in (("TAB", {"a": 1}), ("PAD", {"b": 1}))
    ]


async def test_a_message_to_all_devices_goes_beside_what_single_ones_get_instead(
    served: Served, alice: Device
) -> None:
    await keys.connect(served)
    by_device = {"TAB": {"a": 1}, "*": {"b": 1}}
    await send(alice, "7", {BOB: by_device})
    assert [edu["messages"] for edu in outbox(served)] == [{BOB: by_device}]


async def test_messages_to_strangers_are_dropped_without_a_word(
    served: Served, alice: Device
) -> None:
    await send(alice, "1", {BOB: {"TAB": {"a": 1}}})
    assert outbox(served) == []


@pytest.mark.parametrize(
    ("messages", "status"),
    [
        ({"bob": {"TAB": {}}}, 400),
        ({BOB: {"TAB": "x"}}, 400),
        ({BOB: {"TAB": {"a": "x" * 70_000}}}, 413),
        ({ALICE: {"PHONE": {"a": "x" * 70_000}}}, 413),
        ({BOB: {str(number): {} for number in range(1_001)}}, 413),
    ],
)
async def test_wrong_messages_are_refused(alice: Device, messages: Any, status: int) -> None:
    answered, _ = await alice.ask("PUT", "/sendToDevice/m.test/1", {"messages": messages})
    assert answered == status


def edu(**changes: Any) -> JsonObject:
    whole = {"sender": BOB, "type": "m.test", "message_id": "1", "messages": {}}
    return whole | changes


async def take_in(served: Served, body: JsonObject, peer: ServerName = BOBS) -> None:
    now_ms = served.clock.now_ms()
    await served.database.write(lambda work: to_device.take_in_to_device(work, peer, body, now_ms))


async def test_a_peers_message_reaches_our_device(served: Served, alice: Device) -> None:
    messages = {ALICE: {"PHONE": {"a": 1}, "NONE": {}}, "@nobody:alice.example": {"*": {}}}
    await take_in(served, edu(messages=messages))
    assert inbox(served, "PHONE") == [message({"a": 1}, BOB)]


@pytest.mark.parametrize(
    "wrong",
    [
        edu(sender=ALICE),
        edu(sender="@eve:eve.example"),
        edu(sender=5),
        edu(type=None),
        edu(messages=[]),
        edu(messages={ALICE: "x"}),
        edu(messages={f"@{number}:alice.example": {} for number in range(11)}),
    ],
)
async def test_a_peers_wrong_message_is_refused(
    served: Served, alice: Device, wrong: JsonObject
) -> None:
    with pytest.raises(errors.HomeserverError):
        await take_in(served, wrong)
    assert inbox(served, "PHONE") == []


async def test_of_who_is_ignored_nothing_but_keys_comes_in(served: Served, alice: Device) -> None:
    await alice.put(f"/user/{ALICE}/account_data/m.ignored_user_list", {"ignored_users": {BOB: {}}})
    for kind in ("m.room_key_request", "m.key.verification.request", "m.room.encrypted"):
        edu: JsonObject = {"sender": BOB, "type": kind, "messages": {ALICE: {"*": {}}}}
        await served.database.write(
            lambda work, edu=edu: to_device.take_in_to_device(work, BOBS, edu, 1)  # type: ignore[misc]
        )
    assert [one["type"] for one in inbox(served, "PHONE")] == ["m.room.encrypted"]
