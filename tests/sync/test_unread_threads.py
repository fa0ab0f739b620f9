from typing import Any

from homeserver.ephemeral.receipts import Marker
from homeserver.matrix.identifiers import EventId
from tests.sync.alice import ALICE, BOB, Alice

APART = {"room": {"timeline": {"unread_thread_notifications": True}}}


async def _threaded(alice: Alice, room_id: Any, root: EventId, body: str) -> EventId:
    relation = {"rel_type": "m.thread", "event_id": root}
    return await alice.bob_says(room_id, body, **{"m.relates_to": relation})


async def test_threads_are_counted_apart_for_who_asks_so(alice: Alice) -> None:
    room_id = await alice.create()
    await alice.member(room_id, BOB, "join")
    since = (await alice.sync())["next_batch"]
    root = await alice.bob_says(room_id, "root")
    await _threaded(alice, room_id, root, "one")
    last = await _threaded(alice, room_id, root, "two")

    async def counted(wanted: Any = APART) -> tuple[int, dict[str, int]]:
        room = (await alice.sync(since, filter=wanted))["rooms"]["join"][room_id]
        threads = room.get("unread_thread_notifications", {})
        counts = {one: threads[one]["notification_count"] for one in threads}
        return room["unread_notifications"]["notification_count"], counts

    async def read(event_id: EventId, thread: str | None) -> None:
        marker = Marker("m.read.private", event_id, thread)
        await alice.receipts.mark(alice.requester, room_id, [marker])

    assert await counted() == (1, {root: 2})
    assert await counted(None) == (3, {})
    await read(root, "main")
    assert await counted() == (0, {root: 2})
    await read(last, root)
    assert await counted() == (0, {})
    third = await _threaded(alice, room_id, root, "three")
    assert await counted() == (0, {root: 1})
    await read(third, None)
    assert await counted() == (0, {})


async def test_a_server_that_began_anew_counts_threads_the_same(alice: Alice) -> None:
    from homeserver.push import UnreadCounts

    room_id = await alice.create()
    await alice.member(room_id, BOB, "join")
    root = await alice.bob_says(room_id, "root")
    await _threaded(alice, room_id, root, "one")
    later = await alice.bob_says(room_id, "later")
    await alice.receipts.mark(alice.requester, room_id, [Marker("m.read", later, "main")])
    object.__setattr__(alice.sources, "count_unread", UnreadCounts().count)
    room = (await alice.sync(filter=APART))["rooms"]["join"][room_id]
    assert room["unread_notifications"]["notification_count"] == 0
    assert room["unread_thread_notifications"][root]["notification_count"] == 1


async def test_events_come_as_servers_send_them_for_who_asks_so(alice: Alice) -> None:
    room_id = await alice.create()
    await alice.say(room_id, "hello")
    answer = await alice.sync(filter={"event_format": "federation"})
    room = answer["rooms"]["join"][room_id]
    last = room["timeline"]["events"][-1]
    assert last["content"]["body"] == "hello"
    assert last["sender"] == ALICE
    assert {"auth_events", "prev_events", "hashes", "signatures", "depth"} <= last.keys()
