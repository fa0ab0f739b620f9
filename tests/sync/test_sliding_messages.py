"""Messages to a device that slides: before the rooms whose events need them."""

from typing import Any

import pytest

from homeserver.storage import account_data, encryption
from homeserver.storage.encryption import to_device as storage
from tests.sync.alice import ALICE, BOB, Alice
from tests.sync.sliding import Slider, said


@pytest.fixture(autouse=True)
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "_READ_AT_ONCE", 10)
    monkeypatch.setattr(storage, "_PAGE_BYTES", 10)


class Hearing(Slider):
    """Says what it has, as clients do."""

    since: str | None = None
    enabled = ("e2ee", "account_data")

    async def hear(self, lists: Any = None) -> tuple[list[int], Any]:
        """The numbers of the messages that came, and the whole answer."""
        wish = {name: {"enabled": True} for name in self.enabled}
        wish["to_device"] = {"enabled": True, "since": self.since}  # type: ignore[dict-item]
        answer = await self.slide(lists, extensions=wish)
        section = answer["extensions"]["to_device"]
        self.since = section["next_batch"]
        return [one["content"]["n"] for one in section["events"]], answer


async def send(alice: Alice, count: int) -> None:
    device = alice.requester.device_id
    message = b'{"type":"org.example.number","sender":"@bob:bob.test","content":{"n":%d}}'
    messages = [(device, message % number) for number in range(count)]
    await alice.database.write(
        lambda work: encryption.save_to_device(work, alice.requester.user_id, messages)
    )


async def test_rooms_wait_until_all_messages_have_come(alice: Alice) -> None:
    room_id, other_id = await alice.create(), await alice.create()
    slider = Hearing(alice)
    await slider.hear()
    await send(alice, 25)
    await alice.say(room_id, "hello")
    heard: list[int] = []
    for _ in range(2):
        numbers, answer = await slider.hear()
        heard += numbers
        assert answer["rooms"] == {}
        assert answer["lists"]["all"]["count"] == 2
        assert "device_one_time_keys_count" in answer["extensions"]["e2ee"]
    numbers, answer = await slider.hear()
    assert heard + numbers == list(range(25))
    assert {room: said(one) for room, one in answer["rooms"].items()} == {room_id: ["hello"]}
    assert (await slider.hear())[1]["rooms"] == {}
    await alice.say(other_id, "and on")
    assert (await slider.hear())[1]["rooms"].keys() == {other_id}


async def test_a_device_that_begins_has_its_messages_before_its_rooms(alice: Alice) -> None:
    room_id = await alice.create()
    await alice.member(room_id, BOB, "join")
    await alice.say(room_id, "hello")
    await alice.database.write(
        lambda work: account_data.save_account_data(work, ALICE, room_id, "x.y", {"z": 1})
    )
    await send(alice, 15)
    slider = Hearing(alice)
    numbers, answer = await slider.hear()
    assert (numbers, answer["rooms"]) == (list(range(10)), {})
    numbers, answer = await slider.hear()
    assert numbers == list(range(10, 15))
    whole = await Slider(alice).slide(
        extensions={name: {"enabled": True} for name in slider.enabled}
    )
    told, expected = answer["rooms"][room_id], whole["rooms"][room_id]
    assert (told["initial"], said(told)) == (True, ["hello"])
    assert told.keys() == expected.keys()
    assert answer["extensions"]["account_data"] == whole["extensions"]["account_data"]


async def test_a_connection_without_rooms_goes_on_with_all_the_rest(alice: Alice) -> None:
    """As encryption has one of its own in matrix-rust-sdk."""
    room_id = await alice.create()
    await send(alice, 15)
    slider = Hearing(alice)
    first = (await slider.hear({}))[1]["pos"]
    await alice.say(room_id, "hello")
    numbers, answer = await slider.hear({})
    assert numbers == list(range(10, 15))
    assert answer["pos"] != first
