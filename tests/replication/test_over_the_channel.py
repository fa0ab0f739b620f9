"""The same rooms and keys over the encrypted channel, with its own pace, losses and repeats."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from federation.transport.memory import MemoryNetwork, Passing
from homeserver import errors
from homeserver.config import FederationSettings
from homeserver.matrix.identifiers import RoomId
from homeserver.rooms.creating import Wish
from homeserver.rooms.timeline import PageRequest
from homeserver.storage import encryption, peers
from homeserver.sync.filters import RoomEventFilter
from tests.replication.whole import WholeServer, until

Pair = tuple[WholeServer, WholeServer]
SETTINGS = FederationSettings(retry_min_seconds=0.02, retry_max_seconds=0.1)


async def connect(one: WholeServer, other: WholeServer) -> None:
    issued = await one.federation.peers.invite()
    await other.federation.peers.connect(issued.link)
    await until(lambda: one.network.is_awake(other.name) and other.network.is_awake(one.name))


@pytest.fixture
def network() -> MemoryNetwork:
    return MemoryNetwork()


@pytest.fixture
async def trio(
    tmp_path: Path, network: MemoryNetwork
) -> AsyncIterator[tuple[WholeServer, WholeServer, WholeServer]]:
    servers = [WholeServer(tmp_path, name, network, SETTINGS) for name in ("ann", "ben", "cat")]
    for server in servers:
        await server.register()
        server.federation.start()
    yield servers[0], servers[1], servers[2]
    for server in servers:
        await server.close()


@pytest.fixture
async def pair(trio: tuple[WholeServer, WholeServer, WholeServer]) -> Pair:
    ann, ben, _ = trio
    await connect(ann, ben)
    return ann, ben


async def shared_room(ann: WholeServer, ben: WholeServer) -> RoomId:
    room_id = await ann.creator.create(ann.requester, Wish(invite=[ben.user]))
    await until(lambda: ben.membership_in(room_id) == "invite")
    await ben.membership.join(ben.requester, room_id, [], {})
    assert ann.membership_in(room_id, ben.user) == "join"
    return room_id


async def until_said(server: WholeServer, room_id: RoomId, text: str) -> None:
    await until(lambda: text in server.texts(room_id))


async def test_two_people_talk_in_a_room(pair: Pair) -> None:
    ann, ben = pair
    room_id = await shared_room(ann, ben)
    for number in range(5):
        await ann.say(room_id, f"ann {number}")
        await until_said(ben, room_id, f"ann {number}")
        await ben.say(room_id, f"ben {number}")
        await until_said(ann, room_id, f"ben {number}")
    assert ann.texts(room_id) == ben.texts(room_id)
    assert ann.state(room_id) == ben.state(room_id)


async def test_what_is_said_while_somebody_joins_is_not_lost(pair: Pair) -> None:
    ann, ben = pair
    room_id = await ann.creator.create(ann.requester, Wish(invite=[ben.user]))
    await until(lambda: ben.membership_in(room_id) == "invite")
    joining = asyncio.create_task(ben.membership.join(ben.requester, room_id, [], {}))
    await until(lambda: ann.membership_in(room_id, ben.user) == "join")
    await ann.say(room_id, "welcome")
    await joining
    await until(lambda: ben.texts(room_id) == ["welcome"])


async def test_everything_arrives_once_and_in_order_though_much_is_lost(
    pair: Pair, network: MemoryNetwork
) -> None:
    ann, ben = pair
    room_id = await shared_room(ann, ben)
    chance = random.Random(7)

    async def lose(passing: Passing) -> None:
        passing.is_doubled = chance.random() < 0.2
        if chance.random() < 0.2:
            raise errors.PeerUnreachable

    network.before, network.after = lose, lose
    said = [f"message {number}" for number in range(60)]
    for text in said:
        await ann.say(room_id, text)
        await asyncio.sleep(chance.random() / 100)
    await until(lambda: len(ben.texts(room_id)) >= len(said))
    assert ben.texts(room_id) == said


async def test_a_long_absence_ends_with_everything_in_order(
    pair: Pair, network: MemoryNetwork
) -> None:
    ann, ben = pair
    room_id = await shared_room(ann, ben)

    async def away(_passing: Passing) -> None:
        raise errors.PeerUnreachable

    network.before = away
    said = [f"message {number}" for number in range(700)]
    for text in said:
        await ann.say(room_id, text)
    network.before = MemoryNetwork().before
    await until(lambda: len(ben.texts(room_id)) >= len(said), 60)
    assert ben.texts(room_id) == said


async def test_history_from_before_the_join_comes_in_pages(pair: Pair) -> None:
    ann, ben = pair
    room_id = await ann.creator.create(ann.requester, Wish(invite=[ben.user]))
    await ann.say(room_id, "before Ben")
    await until(lambda: ben.membership_in(room_id) == "invite")
    await ben.membership.join(ben.requester, room_id, [], {})
    assert ben.texts(room_id) == []
    await ben.pages.messages(ben.requester, room_id, PageRequest(10, RoomEventFilter()))
    assert ben.texts(room_id) == ["before Ben"]


async def test_typing_goes_at_once(pair: Pair) -> None:
    ann, ben = pair
    room_id = await shared_room(ann, ben)
    await until(lambda: ann.state(room_id) == ben.state(room_id))
    ann.typing.set_typing(ann.requester, room_id, ann.user, 10_000)
    await until(lambda: ben.board.typists(room_id) == [ann.user])


async def test_a_file_crosses_in_parts(pair: Pair) -> None:
    ann, ben = pair
    content = bytes(range(256)) * 2_000

    async def parts() -> AsyncIterator[bytes]:
        yield content

    uri = await ann.media.upload(parts(), "text/plain", "note.txt")
    served = await ben.media.download(ann.name, uri.media_id)
    assert served.path.read_bytes() == content


async def test_a_file_above_the_grant_is_not_fetched(pair: Pair) -> None:
    ann, ben = pair
    await ben.federation.peers.edit_grants(ann.name, {"media_max_bytes": 10})

    async def parts() -> AsyncIterator[bytes]:
        yield b"more than ten bytes"

    uri = await ann.media.upload(parts(), "text/plain", "note.txt")
    with pytest.raises(errors.PeerFileTooLarge):
        await ben.media.download(ann.name, uri.media_id)


async def test_a_room_with_strangers_is_not_joined_unasked(
    trio: tuple[WholeServer, WholeServer, WholeServer],
) -> None:
    ann, ben, cat = trio
    await connect(ann, ben)
    await connect(ann, cat)
    room_id = await shared_room(ann, ben)
    await ann.membership.invite(ann.requester, room_id, cat.user, {})
    await until(lambda: cat.membership_in(room_id) == "invite")
    with pytest.raises(errors.Forbidden, match=ben.name):
        await cat.membership.join(cat.requester, room_id, [], {})
    assert ann.membership_in(room_id, cat.user) == "invite"
    await connect(ben, cat)
    await cat.membership.join(cat.requester, room_id, [], {})
    await cat.say(room_id, "hello both")
    await until(lambda: ann.texts(room_id) == ben.texts(room_id) == ["hello both"])


async def test_after_a_pause_everything_held_flows(pair: Pair) -> None:
    ann, ben = pair
    room_id = await shared_room(ann, ben)
    await until(lambda: ann.state(room_id) == ben.state(room_id))
    await ann.federation.peers.pause(ben.name)
    await ann.say(room_id, "held by Ann")
    await ben.say(room_id, "held by Ben")
    await asyncio.sleep(0.3)
    assert ben.texts(room_id) == ["held by Ben"]
    await ann.federation.peers.resume(ben.name)
    await until(lambda: len(ben.texts(room_id)) == 2 and len(ann.texts(room_id)) == 2)
    assert ann.state(room_id) == ben.state(room_id)


async def test_keys_are_left_with_the_peer_when_the_connection_opens(pair: Pair) -> None:
    ann, ben = pair

    def deposited() -> bool:
        held = ann.database.read(lambda view: encryption.find_list_received_at(view, [ben.user]))
        return ben.user in held

    await until(deposited)
    assert ann.database.read(lambda view: peers.may(view, ben.name, "messages"))


async def test_after_a_revoke_and_a_new_consent_what_was_missed_comes(pair: Pair) -> None:
    ann, ben = pair
    room_id = await shared_room(ann, ben)
    await until(lambda: ann.state(room_id) == ben.state(room_id))
    await ann.federation.peers.revoke(ben.name)
    await ben.federation.peers.revoke(ann.name)
    await ann.say(room_id, "while apart")
    await asyncio.sleep(0.2)
    assert ben.texts(room_id) == []
    issued = await ann.federation.peers.invite()
    await ben.federation.peers.connect(issued.link)
    await until_said(ben, room_id, "while apart")
    await ann.say(room_id, "together again")
    await until_said(ben, room_id, "together again")
    assert ben.texts(room_id) == ["while apart", "together again"]
