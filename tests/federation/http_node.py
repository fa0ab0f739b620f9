"""Servers that speak real HTTP on the loopback."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from aiohttp import web

from federation import ways_out
from federation.transport.http import FederationDoor, HttpTransport
from federation.transport.strangers import Strangers
from homeserver.outbound import Outbound
from homeserver.ports import SystemClock
from tests.federation.node import Node


class HttpNode(Node):
    """A node that listens on a loopback port, or only calls others."""

    runner: web.AppRunner | None = None
    strangers: Strangers | None = None
    outbound: Outbound
    port: int

    async def listen(self, *, is_reachable: bool = True) -> None:
        application = web.Application()
        FederationDoor(self.receive, self.strangers).attach(application)
        self.runner = web.AppRunner(application, access_log=None)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        self.port = self.runner.addresses[0][1]
        self.routes = (f"http://127.0.0.1:{self.port}",) if is_reachable else ()
        self.start()

    def start(self) -> None:
        super().start()
        ways_out.permit(self.outbound, self.database, self.federation.farewell)

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


@contextlib.asynccontextmanager
async def connected(
    directory: Path, *, is_reachable: bool = True
) -> AsyncIterator[tuple[HttpNode, HttpNode]]:
    """Alice and Bob, who opened her link; where Bob is not reachable he only calls."""
    alice, bob = make(directory, "alice"), make(directory, "bob")
    await alice.listen()
    await bob.listen(is_reachable=is_reachable)
    issued = await alice.federation.peers.invite()
    await bob.federation.peers.connect(issued.link)
    opened = asyncio.Event()
    bob.federation.lines.when_opened.append(lambda _line: opened.set())
    async with asyncio.timeout(5):
        await opened.wait()  # the invitee is the last to know
    yield alice, bob
    await bob.hang_up()
    await alice.hang_up()
