"""Two servers over real HTTP on the loopback."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from federation.transport.http import FederationDoor, HttpTransport
from homeserver.outbound import Outbound
from homeserver.ports import SystemClock
from tests.federation.node import Node


class HttpNode(Node):
    """A node that listens on a loopback port, or only calls others."""

    runner: web.AppRunner | None = None
    outbound: Outbound

    async def listen(self, *, is_reachable: bool = True) -> None:
        application = web.Application()
        FederationDoor(self.receive).attach(application)
        self.runner = web.AppRunner(application, access_log=None)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        port = self.runner.addresses[0][1]
        self.port = port
        self.routes = (f"http://127.0.0.1:{port}",) if is_reachable else ()
        self.start()

    async def hang_up(self) -> None:
        await self.stop()
        assert self.runner is not None
        await self.runner.cleanup()
        await self.outbound.close()


def make(directory: Path, name: str, *, inline: bool = False) -> HttpNode:
    outbound = Outbound()
    transport = HttpTransport(outbound)
    node = HttpNode(directory, name, transport, clock=SystemClock(), inline=inline)
    node.outbound = outbound
    return node


@pytest.fixture
async def pair(
    tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[tuple[HttpNode, HttpNode]]:
    is_reachable = getattr(request, "param", True)
    alice, bob = make(tmp_path, "alice"), make(tmp_path, "bob")
    await alice.listen()
    await bob.listen(is_reachable=is_reachable)
    issued = await alice.federation.peers.invite()
    await bob.federation.peers.connect(issued.link)
    async with asyncio.timeout(5):
        while not bob.federation.lines.all() or not alice.federation.lines.all():
            await asyncio.sleep(0.01)
    yield alice, bob
    await bob.hang_up()
    await alice.hang_up()


@pytest.mark.parametrize("pair", [True, False], indirect=True)
async def test_two_servers_ping_each_other(pair: tuple[HttpNode, HttpNode]) -> None:
    alice, bob = pair
    reply = await bob.federation.requests.ask(alice.server_name, "ping", {"n": 1}, 5)
    assert reply.body == {"echo": {"n": 1}}
    reply = await alice.federation.requests.ask(bob.server_name, "ping", {"n": 2}, 5)
    assert reply.body == {"echo": {"n": 2}}


@pytest.mark.parametrize("pair", [True, False], indirect=True)
async def test_room_events_arrive_in_order(pair: tuple[HttpNode, HttpNode]) -> None:
    alice, bob = pair
    expected = [str(number) for number in range(400)]
    started = time.monotonic()
    for text in expected:
        await alice.send(bob.server_name, text)
    async with asyncio.timeout(10):
        while len(bob.texts) < len(expected):
            await bob.came.wait()
            bob.came.clear()
    print("rate", 400 / (time.monotonic() - started), len(bob.taken))
    assert bob.texts == expected
    times = []
    for number in range(30):
        started = time.monotonic()
        bob.came.clear()
        await alice.send(bob.server_name, f"one {number}")
        await bob.came.wait()
        times.append(time.monotonic() - started)
        await asyncio.sleep(0.02)
    print("p50 ms", statistics.median(times) * 1000, max(times) * 1000)
