"""What of a peer waits for the writer behind the owner's decision obeys that decision."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest

from federation.heeding import OnHold
from federation.inbox import Inbox
from federation.lines import Line, Lines
from federation.replication import service
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import EventId, RoomId, ServerName
from homeserver.storage import encryption, ephemeral, peers
from homeserver.storage import inbox as stored
from homeserver.storage.inbox import StoredFrame
from homeserver.storage.unit_of_work import UnitOfWork, View
from tests.replication.stack import Server, connect, settle
from tests.replication.test_rooms_of_two import shared_room

Pair = tuple[Server, Server]
Change = Callable[[UnitOfWork, ServerName], None]

NOTHING = {"texts": [], "receipts": 0, "presence": False, "to_device": 0}
EVERYTHING = {"texts": ["at once"], "receipts": 1, "presence": True, "to_device": 1}


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    """Alice's and Bob's servers; Bob's has its writer on a thread, as running servers have."""
    alice, bob = Server(tmp_path, "alice"), Server(tmp_path, "bob", inline=False)
    for server in (alice, bob):
        await server.register()
    await connect(alice, bob)
    yield alice, bob
    for server in (alice, bob):
        await server.close()


def standing(work: UnitOfWork, peer: ServerName, *, value: str) -> None:
    peers.change_peer(work, peer, standing=value)


def everything_paused(work: UnitOfWork, _peer: ServerName) -> None:
    peers.pause_everything(work, is_paused=True)


def alarm(work: UnitOfWork, peer: ServerName) -> None:
    peers.change_peer(work, peer, alarm="another key")


async def something_of_everything(alice: Server, bob: Server, room_id: RoomId) -> JsonObject:
    """A transaction of Alice's that would change all that a transaction can change."""
    said = EventId(await bob.say(room_id, "read me"))
    await settle(alice, bob)
    event_id = await alice.say(room_id, "at once")
    pdu = next(one.event.pdu for one in alice.timeline(room_id) if one.event.event_id == event_id)
    seen = {alice.user: {"event_ids": [said], "data": {"ts": 1}}}
    here = {"user_id": alice.user, "presence": "online", "last_active_ago": 1}
    content = {
        "sender": alice.user,
        "type": "m.key",
        "message_id": "m1",
        "messages": {bob.user: {"*": {"body": "a key"}}},
    }
    return {
        "pdus": [pdu],
        "edus": [
            {"edu_type": "m.receipt", "content": {room_id: {"m.read": seen}}},
            {"edu_type": "m.presence", "content": {"push": [here]}},
        ],
        "items": [{"kind": "m.direct_to_device", "body": content}],
    }


def taken_in(alice: Server, bob: Server, room_id: RoomId) -> JsonObject:
    def look(view: View) -> JsonObject:
        device, upto = bob.requester.device_id, bob.database.position
        came = encryption.to_device_since(view, bob.user, device, 0, upto, 10)
        return {
            "receipts": len(ephemeral.receipts_of_rooms(view, [room_id])),
            "presence": ephemeral.find_presence(view, alice.user) is not None,
            "to_device": len(came),
        }

    texts = [text for text in bob.texts(room_id) if text != "read me"]
    return {"texts": texts, **bob.database.read(look)}


async def behind(bob: Server, change: Callable[[UnitOfWork], None], taking: Any) -> None:
    """Let the writer be busy until the change waits for it and, after that, the taking in."""
    go_on = threading.Event()
    busy = asyncio.create_task(bob.database.write(lambda _work: go_on.wait(20)))
    await asyncio.sleep(0.05)
    changed = asyncio.create_task(bob.database.write(change))
    await asyncio.sleep(0)
    task = asyncio.create_task(taking)
    await asyncio.sleep(0.2)
    assert not task.done()
    go_on.set()
    await asyncio.gather(busy, changed)
    await task


async def keep_frame(bob: Server, alice: Server, parts: JsonObject) -> None:
    """What the channel leaves in the inbox."""
    frame = StoredFrame(0, alice.name, 1, "transaction", 1, orjson.dumps(parts))
    await bob.database.write(lambda work: stored.save_frame(work, alice.name, frame))


async def work_off(bob: Server, alice: Server) -> None:
    """One turn of the worker of Bob's inbox for Alice."""
    lines = cast("Lines", SimpleNamespace(when_opened=[], when_closed=[]))
    worker = Inbox(bob.database, lines, bob.clock)
    worker.register_items(bob.updates.take_in_items)
    worker.register_transactions(partial(service.take_in_transaction, bob.intake, bob.updates))
    line = cast("Line", SimpleNamespace(peer=alice.name, note_worked_off=lambda: None))
    await worker._take_waiting(line)


def waiting(bob: Server, alice: Server) -> int:
    return bob.database.read(lambda view: stored.count_frames(view, alice.name))


@pytest.mark.parametrize("part", ["pdus", "edus", "items"])
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(partial(standing, value="revoked"), id="revoke"),
        pytest.param(partial(standing, value="blocked"), id="block"),
        pytest.param(partial(standing, value="paused"), id="pause"),
        pytest.param(everything_paused, id="pause of everything"),
        pytest.param(alarm, id="alarm"),
    ],
)
async def test_nothing_is_taken_in_behind_the_end_of_traffic(
    pair: Pair, change: Change, part: str
) -> None:
    alice, bob = pair
    room_id = await shared_room(alice, bob)
    parts = await something_of_everything(alice, bob, room_id)
    await keep_frame(bob, alice, {part: parts[part]})
    with pytest.raises(OnHold):
        await behind(bob, lambda work: change(work, alice.name), work_off(bob, alice))
    assert taken_in(alice, bob, room_id) == NOTHING


async def test_what_a_pause_overtook_is_taken_in_afterwards(pair: Pair) -> None:
    alice, bob = pair
    room_id = await shared_room(alice, bob)
    await keep_frame(bob, alice, await something_of_everything(alice, bob, room_id))
    pause = partial(standing, value="paused")
    with pytest.raises(OnHold):
        await behind(bob, lambda work: pause(work, alice.name), work_off(bob, alice))
    with pytest.raises(OnHold):
        await work_off(bob, alice)
    assert (taken_in(alice, bob, room_id), waiting(bob, alice)) == (NOTHING, 1)
    await bob.database.write(lambda work: standing(work, alice.name, value="active"))
    await work_off(bob, alice)
    assert (taken_in(alice, bob, room_id), waiting(bob, alice)) == (EVERYTHING, 0)


@pytest.mark.parametrize("part", ["edus", "items"])
async def test_what_is_granted_no_more_is_left_out(pair: Pair, part: str) -> None:
    alice, bob = pair
    room_id = await shared_room(alice, bob)
    parts = await something_of_everything(alice, bob, room_id)
    await keep_frame(bob, alice, {part: parts[part]})
    known = bob.database.read(lambda view: peers.find_peer(view, alice.name))
    assert known is not None
    grants = known.grants | {"receipts": False, "messages": False}

    def edit(work: UnitOfWork) -> None:
        peers.change_peer(work, alice.name, grants=grants)

    await behind(bob, edit, work_off(bob, alice))
    taken = NOTHING | {"presence": part == "edus"}
    assert (taken_in(alice, bob, room_id), waiting(bob, alice)) == (taken, 0)
