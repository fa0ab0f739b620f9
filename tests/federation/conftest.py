"""Two servers in one process, a network under the test's control, and time that stands still."""

import asyncio
import random
import shutil
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from federation.ratchets.interface import Ratchets
from federation.requests import Reply
from federation.transport.memory import MemoryNetwork, Passing
from homeserver import errors
from homeserver.config import FederationSettings
from homeserver.matrix.canonical_json import JsonObject
from homeserver.storage import audit, channels, notices, peers
from tests.federation.manual_clock import ManualClock
from tests.federation.node import Node


class Chaos:
    """Loses, doubles and delays boxes, as a seed decides."""

    def __init__(self, clock: ManualClock, seed: int, loss: float = 0.25) -> None:
        self.clock = clock
        self.random = random.Random(seed)
        self.loss = loss

    async def before(self, passing: Passing) -> None:
        await self._suffer()
        passing.is_doubled = self.random.random() < self.loss

    async def after(self, _passing: Passing) -> None:
        await self._suffer()

    async def _suffer(self) -> None:
        if self.random.random() < self.loss:
            raise errors.PeerUnreachable
        if self.random.random() < self.loss:
            await self.clock.sleep(self.random.random() * 20)


class Meeting:
    """Servers that share a network and a clock."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = ManualClock()
        self.network = MemoryNetwork()
        self.nodes: list[Node] = []

    def node(
        self,
        name: str,
        *,
        is_reachable: bool = True,
        ratchets: Ratchets | None = None,
        settings: FederationSettings | None = None,
    ) -> Node:
        routes = (f"http://{name}",) if is_reachable else ()
        node = Node(
            self.directory,
            name,
            self.network,
            routes=routes,
            clock=self.clock,
            ratchets=ratchets,
            settings=settings,
        )
        self.nodes.append(node)
        self.start(node)
        return node

    def start(self, node: Node) -> None:
        node.start()
        for route in node.routes:
            self.network.receivers[route] = node.receive

    async def stop(self, node: Node) -> None:
        for route in node.routes:
            self.network.receivers.pop(route, None)
        await node.stop()

    async def restart(self, node: Node) -> None:
        await self.stop(node)
        self.start(node)

    async def connect(self, inviter: Node, invitee: Node, how: str = "link") -> str:
        issued = await inviter.federation.peers.invite(how)
        await invitee.federation.peers.connect(issued.link)
        await self.clock.until(lambda: are_connected(inviter, invitee))
        return issued.link

    def calm(self) -> None:
        quiet = MemoryNetwork()
        self.network.before, self.network.after = quiet.before, quiet.after

    def disturb(self, seed: int, loss: float = 0.25) -> None:
        chaos = Chaos(self.clock, seed, loss)
        self.network.before, self.network.after = chaos.before, chaos.after


def standing(node: Node, other: Node) -> str:
    found = node.database.read(lambda view: peers.find_peer(view, other.server_name))
    return "none" if found is None else found.standing


def are_connected(one: Node, other: Node) -> bool:
    return standing(one, other) == standing(other, one) == "active"


def notices_of(node: Node) -> list[tuple[str, JsonObject]]:
    found = node.database.read(notices.untold)
    return [(notice.kind, notice.content) for notice in found]


def steps_of(node: Node) -> list[tuple[str, str, str]]:
    return [(entry.who, entry.step, entry.standing) for entry in node.database.read(audit.trail)]


async def ask(meeting: Meeting, one: Node, other: Node, operation: str, body: JsonObject) -> Reply:
    asking = asyncio.ensure_future(
        one.federation.requests.ask(other.server_name, operation, body, 60)
    )
    await meeting.clock.until(asking.done)
    return asking.result()


async def change_channel(node: Node, other: Node, changes: dict[str, Any]) -> None:
    await node.database.write(
        lambda work: channels.change_channel(work, other.server_name, changes)
    )


def channel_of(node: Node, peer: Node) -> channels.Channel:
    found = node.database.read(lambda view: channels.find_channel(view, peer.server_name))
    assert found is not None
    return found


def put_back(node: Node, backup: Path) -> None:
    for leftover in node.path.parent.glob(f"{node.name}.db*"):
        leftover.unlink()
    shutil.copy(backup, node.path)


def digest(node: Node) -> list[str]:
    """Everything in a node's database."""
    with sqlite3.connect(f"file:{node.path}?mode=ro", uri=True) as connection:
        return list(connection.iterdump())


@pytest.fixture
async def meeting(tmp_path: Path) -> AsyncIterator[Meeting]:
    met = Meeting(tmp_path)
    yield met
    for node in met.nodes:
        await node.stop()


async def ping(one: Node, other: Node, meeting: Meeting) -> None:
    asking = asyncio.ensure_future(
        one.federation.requests.ask(other.server_name, "ping", {"n": 1}, 60)
    )
    await meeting.clock.until(asking.done)
    assert asking.result().body == {"echo": {"n": 1}}
