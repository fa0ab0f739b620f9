"""Servers for the tests of replication."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.replication.stack import Server, connect


@pytest.fixture
async def trio(tmp_path: Path) -> AsyncIterator[tuple[Server, Server, Server]]:
    """Three servers, none connected to any other."""
    servers = tuple(Server(tmp_path, label) for label in ("alice", "bob", "carol"))
    for server in servers:
        await server.register()
    yield servers[0], servers[1], servers[2]
    for server in servers:
        await server.close()


@pytest.fixture
async def pair(trio: tuple[Server, Server, Server]) -> tuple[Server, Server]:
    """Alice's and Bob's servers, connected."""
    alice, bob, _ = trio
    await connect(alice, bob)
    return alice, bob
