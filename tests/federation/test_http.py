"""Two servers over real HTTP on the loopback."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from federation import envelope
from federation.envelope import SIZES, Envelope
from federation.transport.http import HttpTransport
from federation.transport.interface import Refused
from federation.transport.strangers import Strangers
from homeserver import errors
from homeserver.outbound import Outbound
from tests.federation.http_node import HttpNode, connected, make


@pytest.fixture
async def pair(
    tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[tuple[HttpNode, HttpNode]]:
    async with connected(tmp_path, is_reachable=getattr(request, "param", True)) as both:
        yield both


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
    expected = [str(number) for number in range(200)]
    for text in expected:
        await alice.send(bob.server_name, text)
    async with asyncio.timeout(10):
        while len(bob.texts) < len(expected):
            await bob.came.wait()
            bob.came.clear()
    assert bob.texts == expected


async def exchange(port: int, raw: bytes) -> bytes:
    """Send bytes over a socket of their own, and read all that comes back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(raw)
    await writer.drain()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


def request(method: str, path: str, body: bytes) -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def test_everything_that_is_refused_looks_the_same(pair: tuple[HttpNode, HttpNode]) -> None:
    alice, bob = pair
    line = alice.federation.lines.find(bob.server_name)
    assert line is not None
    deliver = "/_federation/v1/deliver/"
    spent = await alice.federation.peers.invite()
    await alice.federation.peers.withdraw(spent.intake)
    issued = await alice.federation.peers.invite()
    good = envelope.seal(line.ours.request, bytes(24), Envelope())
    flipped = bytearray(good)
    flipped[60] ^= 1
    paths = [
        f"{deliver}{'0' * 32}",
        f"{deliver}{spent.intake}",
        f"{deliver}{issued.intake}",
        f"{deliver}{line.our_address.hex()}",
        f"{deliver}{line.our_address.hex()}/",
        f"{deliver}{line.our_address.hex()}?x=1",
        f"{deliver}short",
        "/_federation",
        "/_federation/",
        "/_federation/v2/other",
    ]
    bodies = [b"", b"x", bytes(1_023), *(bytes(size) for size in SIZES), bytes(SIZES[-1] + 1)]
    answers = set()
    for path in paths:
        for body in (*bodies, bytes(flipped)):
            answers.add(await exchange(alice.port, request("POST", path, body)))
        for method in ("GET", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND"):
            answers.add(await exchange(alice.port, request(method, path, good)))
        answers.add(await exchange(alice.port, request("CONNECT", path, b"")))
        for expected in ("100-continue", "foo"):
            raw = request("POST", path, bytes(1_024))
            expecting = raw.replace(b"\r\n", f"\r\nExpect: {expected}\r\n".encode(), 1)
            answers.add(await exchange(alice.port, expecting))
    await alice.federation.peers.pause(bob.server_name)
    paused = f"{deliver}{line.our_address.hex()}"
    answers.add(await exchange(alice.port, request("POST", paused, good)))
    await alice.federation.peers.block(bob.server_name)
    answers.add(await exchange(alice.port, request("POST", paused, good)))
    assert len(answers) == 1
    head, _, body = answers.pop().partition(b"\r\n\r\n")
    assert head == (
        b"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\n"
        b"Content-Length: 1024\r\nConnection: close"
    )
    assert len(body) == SIZES[0]


async def test_a_box_that_opens_is_answered_without_a_word_about_us(
    pair: tuple[HttpNode, HttpNode],
) -> None:
    alice, bob = pair
    line = alice.federation.lines.find(bob.server_name)
    assert line is not None
    box = envelope.seal(line.ours.request, b"n" * 24, Envelope())
    path = f"/_federation/v1/deliver/{line.our_address.hex()}"
    head, _, body = (await exchange(alice.port, request("POST", path, box))).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Server" not in head
    assert b"Date" not in head
    assert envelope.open_box(line.ours.answer, body).answers == b"n" * 24


class Spent(Strangers):
    """Somebody has used up all tries, and everybody comes from the same IP address."""

    is_spent = False

    def may_try(self, _remote: str | None) -> bool:
        return not self.is_spent


async def test_a_stranger_uses_up_no_tries_of_a_peer_behind_the_same_address(
    tmp_path: Path,
) -> None:
    alice, bob, carol = (make(tmp_path, name) for name in ("alice", "bob", "carol"))
    alice.strangers = strangers = Spent(1, alice.clock)
    for node in (alice, bob, carol):
        await node.listen()
    opened = asyncio.Event()
    bob.federation.lines.when_opened.append(lambda _line: opened.set())
    await bob.federation.peers.connect((await alice.federation.peers.invite()).link)
    async with asyncio.timeout(5):
        await opened.wait()
    strangers.is_spent = True
    reply = await bob.federation.requests.ask(alice.server_name, "ping", {"n": 1}, 5)
    assert reply.body == {"echo": {"n": 1}}
    issued = await alice.federation.peers.invite()
    await carol.federation.peers.connect(issued.link)
    for _ in range(100):
        await asyncio.sleep(0.05)
        if carol.federation.connecting._refusals:
            break
    assert carol.federation.connecting._refusals
    assert [one.server_name for one in alice.federation.peers.load_all()] == [bob.server_name]
    for node in (carol, bob, alice):
        await node.hang_up()


async def test_refusing_touches_neither_database_nor_log(
    pair: tuple[HttpNode, HttpNode], caplog: pytest.LogCaptureFixture
) -> None:
    alice, _ = pair
    await asyncio.sleep(0.2)
    calls: list[object] = []
    alice.database.read = calls.append  # type: ignore[method-assign,assignment]
    caplog.clear()
    for size in SIZES:
        path = "/_federation/v1/deliver/" + "0" * 32
        assert b"404" in await exchange(alice.port, request("POST", path, bytes(size)))
    del alice.database.read
    assert calls == []
    assert caplog.records == []


async def test_a_pause_closes_the_sockets_both_ways(pair: tuple[HttpNode, HttpNode]) -> None:
    alice, bob = pair
    await bob.federation.requests.ask(alice.server_name, "ping", {}, 5)
    line = alice.federation.lines.find(bob.server_name)
    assert line is not None
    sockets = set(line.sockets)
    assert sockets
    await alice.federation.peers.pause(bob.server_name)
    await asyncio.sleep(0.1)
    assert all(socket.is_closing() for socket in sockets)
    assert bob.server_name not in alice.outbound._sessions


SOCKETS = Path("/proc/net/tcp")
ESTABLISHED = "01"


def sockets_at(*ports: int) -> set[str]:
    """The open TCP connections of this machine with one of these ports at either end."""
    wanted = {f"0100007F:{port:04X}" for port in ports}
    rows = [line.split() for line in SOCKETS.read_text().splitlines()[1:]]
    return {
        f"{local} {remote}"
        for _, local, remote, state, *_ in rows
        if state == ESTABLISHED and wanted & {local, remote}
    }


@pytest.mark.skipif(not SOCKETS.exists(), reason="this system does not list its sockets there")
@pytest.mark.parametrize("end", ["revoke", "block"])
@pytest.mark.parametrize("pair", [True, False], indirect=True)
async def test_an_end_leaves_no_socket_within_a_second(
    pair: tuple[HttpNode, HttpNode], end: str
) -> None:
    alice, bob = pair
    for one, other in ((alice, bob), (bob, alice)):
        await one.federation.requests.ask(other.server_name, "ping", {}, 5)
    before = sockets_at(alice.port, bob.port)
    assert before
    await getattr(alice.federation.peers, end)(bob.server_name)
    ended = asyncio.get_running_loop().time()
    while before & sockets_at(alice.port, bob.port):  # where he knocks again, he is a stranger
        assert asyncio.get_running_loop().time() - ended < 1
        await asyncio.sleep(0.02)
    assert bob.server_name not in alice.outbound._sessions


async def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    seen = []

    async def redirect(request: web.Request) -> web.Response:
        seen.append(request.path)
        return web.Response(status=307, headers={"Location": "/elsewhere"})

    application = web.Application()
    application.router.add_route("*", "/{rest:.*}", redirect)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    outbound = Outbound()
    port = runner.addresses[0][1]
    outbound.permit("connection", lambda party: party == "bob")
    with pytest.raises(Refused):
        await HttpTransport(outbound).deliver(
            "bob", f"http://127.0.0.1:{port}", bytes(16), b"box", 5, grant="connection"
        )
    assert len(seen) == 1
    await outbound.close()
    await runner.cleanup()


async def test_an_answer_is_read_to_a_bound(tmp_path: Path) -> None:
    async def flood(_request: web.Request) -> web.Response:
        return web.Response(body=bytes(SIZES[-1] + 1))

    application = web.Application()
    application.router.add_route("*", "/{rest:.*}", flood)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    outbound = Outbound()
    port = runner.addresses[0][1]
    outbound.permit("connection", lambda party: party == "b")
    with pytest.raises(errors.PeerUnreachable):
        await HttpTransport(outbound).deliver(
            "b", f"http://127.0.0.1:{port}", bytes(16), b"", 5, grant="connection"
        )
    with pytest.raises(ValueError, match="grant"):
        await outbound.post(
            "http://127.0.0.1:1", b"", grant="none", party="b", timeout_s=1, most_bytes=1
        )
    await outbound.close()
    await runner.cleanup()
