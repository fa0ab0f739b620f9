"""A room of many servers, over HTTP: Bob joins it by way of Alice's server, reads and searches."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import quote

from homeserver.matrix.identifiers import RoomId
from homeserver.storage.database import Database
from homeserver.storage.wake_ups import WakeUps
from homeserver.testing import processes
from homeserver.testing.client import Client
from homeserver.testing.processes import Server
from tests.benchmark.crowd import Crowd
from tests.benchmark.one_server import logged_in

_V3 = "/_matrix/client/v3"


@asynccontextmanager
async def full_room(servers: int, said: int) -> AsyncIterator[tuple[Client, Client, RoomId]]:
    """Alice, in a public room with people of so many servers, Bob's included; Bob, outside."""
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="full-room-")))
        environment = {"HOMESERVER__FEDERATION__STRANGERS_IN_ROOMS": "accept"}
        first, second = (
            Server(directory=directory / user, user=user, environment=environment)
            for user in ("alice", "bob")
        )
        stack.enter_context(processes.running(first, second))
        processes.connect(first, second)
        async with logged_in(first) as alice:
            room_id = RoomId(await alice.create_room(preset="public_chat"))
        first.stop()
        await _fill(first, room_id, servers - 2, said)
        first.start()
        alice = await stack.enter_async_context(logged_in(first))
        yield alice, await stack.enter_async_context(logged_in(second)), room_id


async def _fill(server: Server, room_id: RoomId, others: int, said: int) -> None:
    """Let the others come and speak while the server does not run."""
    path = server.data_dir / "homeserver.db"
    database = Database(f"sqlite:///{path}", WakeUps(), inline=True)
    crowd = Crowd.of(others)
    await crowd.enter(database, room_id, others)
    await crowd.talk(database, room_id, others, said)
    database.close()


async def join(client: Client, room_id: RoomId, host: Client) -> None:
    """Join by way of somebody's server."""
    via = host.user_id.partition(":")[2]
    await client.request("POST", f"{_V3}/join/{quote(room_id)}", {}, {"via": via})


async def numbers_said(client: Client, room_id: RoomId) -> list[int]:
    """What each message of the crowd begins with, page by page back to the first; oldest first."""
    found = [
        int(str(event["content"]["body"]).partition(" ")[0])
        async for page in client.pages(room_id, limit=100)
        for event in page
        if event["type"] == "m.room.message"
    ]
    return found[::-1]


async def search(client: Client, room_id: RoomId, words: str) -> list[int]:
    """The numbers of the messages that a search in the room finds."""
    wanted = {"search_term": words, "filter": {"rooms": [room_id]}}
    body = {"search_categories": {"room_events": wanted}}
    answer = await client.request("POST", f"{_V3}/search", body)
    results = answer["search_categories"]["room_events"]["results"]
    return [int(one["result"]["content"]["body"].partition(" ")[0]) for one in results]
