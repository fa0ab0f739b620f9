"""Threads that clients notify about: said by one device, told to the others."""

from typing import Any

import pytest

from homeserver import errors
from homeserver.matrix.identifiers import EventId, RoomId
from homeserver.rooms.thread_subscriptions import (
    NotInThread,
    ThreadSubscriptions,
    UnsubscribedSince,
)
from tests.sync.alice import Alice
from tests.sync.sliding import Slider

KEY = "io.element.msc4308.thread_subscriptions"


async def thread(alice: Alice) -> tuple[RoomId, EventId, EventId]:
    room_id = await alice.create()
    root = await alice.say(room_id, "shall we go out?")
    return room_id, root, await answer_in(alice, room_id, root)


async def answer_in(alice: Alice, room_id: RoomId, root: EventId) -> EventId:
    relation = {"rel_type": "m.thread", "event_id": root}
    content = {"msgtype": "m.text", "body": "yes", "m.relates_to": relation}
    txn = f"thread-{alice.database.position}"
    return await alice.sender.send_message(alice.requester, room_id, "m.room.message", content, txn)


async def told(slider: Slider, **wish: Any) -> Any:
    answer = await slider.slide(extensions={KEY: {"enabled": True} | wish})
    return answer["extensions"].get(KEY)


@pytest.mark.parametrize("is_stable", [True, False], ids=["stable", "before"])
async def test_what_one_device_says_of_a_thread_the_others_hear(
    alice: Alice, *, is_stable: bool
) -> None:
    threads = ThreadSubscriptions(alice.database)
    room_id, root, _ = await thread(alice)
    slider = Slider(alice, is_stable=is_stable)
    lists = {"all": {"timeline_limit": 1, "required_state": {} if is_stable else []}}
    asked: dict[str, Any] = {"extensions": {KEY: {"enabled": True}}}
    first = await slider.slide(lists if is_stable else None, **asked)
    assert KEY not in first["extensions"]
    await threads.subscribe(alice.requester, room_id, root, None)
    answer = await slider.slide(lists if is_stable else None, **asked)
    (content,) = answer["extensions"][KEY]["subscribed"][room_id].values()
    assert content["automatic"] is False
    await threads.unsubscribe(alice.requester, room_id, root)
    answer = await slider.slide(lists if is_stable else None, **asked)
    section = answer["extensions"][KEY]
    assert section["unsubscribed"][room_id][root]["bump_stamp"] > content["bump_stamp"]
    assert "subscribed" not in section
    answer = await slider.slide(lists if is_stable else None, **asked)
    assert KEY not in answer["extensions"]


async def test_whoever_waits_is_woken(alice: Alice) -> None:
    threads = ThreadSubscriptions(alice.database)
    room_id, root, _ = await thread(alice)
    slider = Slider(alice)
    asked = {KEY: {"enabled": True}}
    await slider.slide(extensions=asked)
    await slider.slide(extensions=asked)
    waiting = slider.wait(extensions=asked)
    await threads.subscribe(alice.requester, room_id, root, None)
    assert root in (await waiting)["extensions"][KEY]["subscribed"][room_id]


async def test_a_client_alone_changes_nothing_of_what_the_owner_said(alice: Alice) -> None:
    threads = ThreadSubscriptions(alice.database)
    room_id, root, reply = await thread(alice)
    await threads.subscribe(alice.requester, room_id, root, reply)
    assert threads.is_automatic(alice.requester, room_id, root)
    await threads.subscribe(alice.requester, room_id, root, None)
    assert not threads.is_automatic(alice.requester, room_id, root)
    await threads.subscribe(alice.requester, room_id, root, reply)
    assert not threads.is_automatic(alice.requester, room_id, root)
    await threads.unsubscribe(alice.requester, room_id, root)
    with pytest.raises(UnsubscribedSince):
        await threads.subscribe(alice.requester, room_id, root, reply)
    later = await answer_in(alice, room_id, root)
    await threads.subscribe(alice.requester, room_id, root, later)
    assert threads.is_automatic(alice.requester, room_id, root)


async def test_what_is_not_there_or_stands_elsewhere_is_refused(alice: Alice) -> None:
    threads = ThreadSubscriptions(alice.database)
    room_id, root, _ = await thread(alice)
    elsewhere, other, _ = await thread(alice)
    with pytest.raises(errors.NotFound):
        threads.is_automatic(alice.requester, room_id, root)
    with pytest.raises(errors.NotFound):
        await threads.subscribe(alice.requester, elsewhere, root, None)
    with pytest.raises(errors.NotFound):
        await threads.unsubscribe(alice.requester, room_id, EventId("$" + "n" * 43))
    with pytest.raises(NotInThread):
        await threads.subscribe(alice.requester, room_id, root, await alice.say(room_id, "no"))
    with pytest.raises(errors.NotFound):
        await threads.subscribe(alice.requester, room_id, root, other)


async def test_many_changes_are_read_in_pages_from_the_newest_back(alice: Alice) -> None:
    threads = ThreadSubscriptions(alice.database)
    room_id = await alice.create()
    roots = [await alice.say(room_id, str(number)) for number in range(7)]
    for root in roots:
        await threads.subscribe(alice.requester, room_id, root, None)
    section = await told(Slider(alice), limit=3)
    assert set(section["subscribed"][room_id]) == set(roots[4:])
    found: list[EventId] = []
    at: str | None = section["prev_batch"]
    while at is not None:
        page = threads.page(alice.requester, int(at), 0, 2)
        found += page.get("subscribed", {}).get(room_id, {})
        at = page.get("end")
    assert found == roots[3::-1]
