"""Servers and clients for the tests that run real processes."""

import itertools
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from homeserver.testing import processes
from homeserver.testing.client import Client
from homeserver.testing.encrypted_client import NioClient, nio_client
from homeserver.testing.processes import Server
from tests import checking_proxy
from tests.checking_proxy import CheckedServer
from tests.end_to_end import js_client
from tests.end_to_end.js_client import JsClient

RATCHETS = [
    pytest.param(("python-olm", "python-olm"), id="python-olm"),
    pytest.param(("vodozemac", "vodozemac"), id="vodozemac"),
    pytest.param(("python-olm", "vodozemac"), id="one-of-each"),
]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two servers whose owners have both said yes."""

    alice: Server
    bob: Server


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.filterwarnings("default:::nio"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server, for all tests of a module."""
    alone = Server(directory=tmp_path_factory.mktemp("alice"))
    with processes.running(alone):
        yield alone


@pytest.fixture(scope="module", params=RATCHETS)
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    """Two connected servers, for all tests of a module, once for each pair of Olm libraries."""
    alice, bob = (
        Server(
            directory=tmp_path_factory.mktemp(user),
            user=user,
            environment={"HOMESERVER__FEDERATION__RATCHETS": ratchets},
        )
        for user, ratchets in zip(("alice", "bob"), request.param, strict=True)
    )
    with processes.running(alice, bob):
        processes.connect(alice, bob)
        yield Pair(alice, bob)


@pytest.fixture(scope="module")
def friends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two connected servers with whatever Olm library is usual."""
    alice, bob = (
        Server(directory=tmp_path_factory.mktemp(user), user=user) for user in ("alice", "bob")
    )
    with processes.running(alice, bob):
        processes.connect(alice, bob)
        yield Pair(alice, bob)


@pytest.fixture
def checked_friends(friends: Pair) -> Iterator[Any]:
    """The same, seen through checking proxies where there is one beside the checkout.

    In the end no answer may have had another form than the specification gives it.
    """
    with (
        checking_proxy.checking(friends.alice.url) as alice,
        checking_proxy.checking(friends.bob.url) as bob,
    ):
        checked: list[Any] = [
            CheckedServer(friends.alice, alice),
            CheckedServer(friends.bob, bob),
        ]
        yield Pair(*checked)
        assert [*alice.violations(), *bob.violations()] == []


WithNio = Callable[[Server], Awaitable[NioClient]]
WithJs = Callable[[Server], Awaitable[JsClient]]
WithClient = Callable[[Server], Awaitable[Client]]


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """What a test opens is closed after it, last first."""
    async with AsyncExitStack() as opened:
        yield opened


@pytest.fixture
def with_nio(stack: AsyncExitStack, tmp_path: Path) -> WithNio:
    """Log a matrix-nio client in at a server; each call is another device."""
    numbers = itertools.count()

    async def log_in(server: Server) -> NioClient:
        return await stack.enter_async_context(
            nio_client(server.url, server.user, server.password, tmp_path / f"{next(numbers)}")
        )

    return log_in


@pytest.fixture
def with_js(stack: AsyncExitStack) -> WithJs:
    """Log a matrix-js-sdk client in at a server; skips where it cannot be had, but never in CI."""
    try:
        js_client.folder_with_library()
    except js_client.NodeMissing as reason:
        if js_client.is_needed(os.environ):
            raise
        pytest.skip(str(reason))

    async def log_in(server: Server) -> JsClient:
        return await stack.enter_async_context(
            js_client.js_client(server.url, server.user, server.password)
        )

    return log_in


@pytest.fixture
def with_client(stack: AsyncExitStack) -> WithClient:
    """Log the small client in at a server."""

    async def log_in(server: Server) -> Client:
        client = await stack.enter_async_context(Client(server.url))
        await client.log_in(server.user, server.password)
        return client

    return log_in
