"""What leaves, and what is broken off: asked at the one place that opens sockets."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from federation.transport.http import HttpTransport
from federation.transport.interface import Refused
from homeserver.outbound import NotPermitted
from tests.federation.http_node import HttpNode, connected, make


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[tuple[HttpNode, HttpNode]]:
    async with connected(tmp_path) as both:
        yield both


async def test_nothing_leaves_under_a_grant_that_the_party_does_not_have_now(
    pair: tuple[HttpNode, HttpNode],
) -> None:
    alice, bob = pair
    (route,) = bob.routes
    transport = HttpTransport(alice.outbound)

    async def leaves(party: str, grant: str) -> bool:
        try:
            await transport.deliver(party, route, bytes(16), bytes(1_024), 5, grant=grant)
        except NotPermitted:
            return False
        except Refused:
            return True
        raise AssertionError("the other side answers no such box")

    grants = ("connection", "invitation", "farewell")
    owner, name = alice.federation.peers, bob.server_name
    assert [await leaves(name, grant) for grant in grants] == [True, False, False]
    assert [await leaves("nobody", grant) for grant in grants] == [False, False, False]
    await owner.pause(name)
    assert not await leaves(name, "connection")
    await owner.resume(name)
    await owner.pause_everything(is_paused=True)
    assert not await leaves(name, "connection")
    await owner.pause_everything(is_paused=False)
    assert await leaves(name, "connection")
    await owner.revoke(name)
    assert [await leaves(name, grant) for grant in grants] == [False, False, False]


Silent = tuple[int, asyncio.Queue[asyncio.StreamReader]]


@pytest.fixture
async def silent() -> AsyncIterator[Silent]:
    """The port of a machine that takes connections and never answers, and who came."""
    came: asyncio.Queue[asyncio.StreamReader] = asyncio.Queue()
    writers = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        came.put_nowait(reader)

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1], came
    server.close()
    for writer in writers:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@pytest.mark.parametrize("verb", ["pause everything", "cancel", "block"])
async def test_a_handshake_that_hangs_ends_with_the_owners_word(
    tmp_path: Path, silent: Silent, verb: str
) -> None:
    port, came = silent
    alice, bob = make(tmp_path, "alice"), make(tmp_path, "bob")
    await alice.listen()
    bob.routes = (f"http://127.0.0.1:{port}",)
    bob.start()
    owner = alice.federation.peers
    await owner.connect((await bob.federation.peers.invite()).link)
    async with asyncio.timeout(5):
        socket = await came.get()
    if verb == "pause everything":
        await owner.pause_everything(is_paused=True)
    else:
        await getattr(owner, verb)(bob.server_name)
    async with asyncio.timeout(1):
        await socket.read()
    await asyncio.sleep(0.2)
    assert came.empty()
    await bob.stop()
    await bob.outbound.close()
    await alice.hang_up()
