"""What consent costs: refusing strangers, a handshake, a revoke of much that waits, connections."""

import asyncio
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any

from federation import ways_out
from federation.transport.http import HttpTransport
from homeserver import config
from homeserver.matrix.identifiers import ServerName
from homeserver.outbound import Outbound
from homeserver.ports import SystemClock
from homeserver.storage import frames
from homeserver.storage.database import Database
from homeserver.storage.unit_of_work import UnitOfWork
from homeserver.storage.wake_ups import WakeUps
from homeserver.testing import processes
from homeserver.testing.client import Client
from homeserver.testing.processes import Server
from tests.benchmark import knocking
from tests.benchmark.measuring import MS, Row, cost_of, ms
from tests.benchmark.two_servers import Two, listening, two_people
from tests.end_to_end import story
from tests.federation.node import Node

KNOCKS_A_SECOND = 2_000
KNOCKING_S = 4.0
MESSAGES = 150
QUEUED = 10_000
CONNECTIONS = 500
IDLE_S = 60.0  # as long as a poll is held: each of them ends once
_ADMIN = "/_homeserver/admin/v1"


async def measure() -> list[Row]:
    """Everything; about three minutes."""
    rows = await _refusing()
    async with two_people("python-olm") as two:
        rows += await _under_a_flood(two)
        rows.append(await _revoke(two))
    return rows + await _many_connections()


async def admin(server: Server, method: str, path: str, body: Any = None) -> Any:
    """Ask the owner's own API."""
    async with Client(server.url) as client:
        client.access_token = (server.data_dir / "admin.token").read_text().strip()
        return await client.request(method, _ADMIN + path, body)


async def _refusing() -> list[Row]:
    """One server, and strangers who knock as fast as one process can."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as directory:
        alice, bob = (
            Server(directory=Path(directory) / user, user=user) for user in ("alice", "bob")
        )
        with processes.running(alice, bob):
            await knocking.knock("127.0.0.1", alice.port, 1e6, 0.5)
            with closing(sqlite3.connect(alice.data_dir / "homeserver.db")) as watching:
                before = _writes(watching)
                with cost_of(alice) as cost:
                    rate = await knocking.knock("127.0.0.1", alice.port, 1e6, KNOCKING_S)
                has_written = _writes(watching) != before
            handshake = await _handshake(alice, bob)
    cpu = cost.cpu_s / (rate * KNOCKING_S) * MS
    wanted = "no write" if not has_written else "IT WROTE"
    is_met = cpu <= 0.3 and not has_written
    refusing = Row(
        "refusing a stranger", f"{rate:.0f}/s", f"{cpu:.3f} ms", "≤ 0.3 ms", wanted, is_met
    )
    return [refusing, handshake]


def _writes(connection: sqlite3.Connection) -> int:
    """Changes whenever anybody else commits."""
    return int(connection.execute("PRAGMA data_version").fetchone()[0])


async def _handshake(alice: Server, bob: Server) -> Row:
    """From opening the link until Bob's side is active, which is the last: his trail says when."""
    link = (await admin(alice, "POST", "/invitations", {}))["link"]
    started = time.time()
    with cost_of(alice, bob) as cost:
        await admin(bob, "POST", "/peers", {"link": link})
        await story.until(lambda: _is_connected(bob), "a handshake")
    (ended,) = [
        entry["at"]
        for entry in (await admin(bob, "GET", "/audit"))["audit"]
        if entry["step"] == "proof came"
    ]
    took, cpu = ended - started * MS, f"{cost.cpu_s * MS:.0f} ms (both)"
    return Row("a handshake, until both are active", ms(took), cpu, "≤ 150 ms", "", took <= 150)


async def _is_connected(server: Server) -> bool:
    known = (await admin(server, "GET", "/peers"))["peers"]
    return [one["standing"] for one in known] == ["active"]


async def _latencies(two: Two, word: str) -> list[float]:
    """From Alice's client to Bob's, one message after the other."""
    found = []
    async with listening(two) as listener:
        await two.alice.send_text(two.room_id, f"{word} warm")
        await listener.wait_for(f"{word} warm")
        for number in range(MESSAGES):
            started = time.perf_counter()
            await two.alice.send_text(two.room_id, f"{word} {number}")
            found.append(await listener.wait_for(f"{word} {number}") - started)
            await asyncio.sleep(0.01)
    return found


async def _under_a_flood(two: Two) -> list[Row]:
    """The same messages while a stranger knocks at the server that receives them."""
    quiet = await _latencies(two, "quiet")
    seconds = 3 * sum(quiet) + MESSAGES * 0.05
    stranger = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.benchmark.knocking", "127.0.0.1"),
        *(str(two.bob_server.port), str(KNOCKS_A_SECOND), f"{seconds:.1f}"),
        stdout=asyncio.subprocess.PIPE,
    )
    await asyncio.sleep(0.5)
    flooded = await _latencies(two, "flood")
    is_over = stranger.returncode is not None
    told, _ = await stranger.communicate()
    rate = int(told)
    before, under = _p99(quiet), _p99(flooded)
    name = f"p99 of a message beside {rate} strangers/s"
    name += ", which ended early" if is_over else ""
    cores = f"{os.cpu_count()} cores"
    return [
        Row("p99 of a message", ms(before)),
        Row(name, ms(under), cores, f"≤ {ms(2 * before)}", "", under <= 2 * before),
    ]


def _p99(sample: list[float]) -> float:
    return statistics.quantiles(sample, n=100)[98] * MS


async def _revoke(two: Two) -> Row:
    """With a peer that is away, and as much waiting for it as may wait."""
    alice, name = two.alice_server, ServerName(two.bob.user_id.partition(":")[2])
    two.bob_server.kill()
    alice.stop()
    database = Database(config.load(alice.config_file, {}).database_url, WakeUps())
    await database.write(lambda work: _queue(work, name))
    database.close()
    alice.start()
    started = time.perf_counter()
    answer = await admin(alice, "POST", f"/peers/{name}/revoke", {})
    took = time.perf_counter() - started
    assert answer["standing"] == "revoked"
    return Row(f"revoke with {QUEUED} things queued", ms(took * MS), "", "≤ 1 s", "", took <= 1)


def _queue(work: UnitOfWork, peer: ServerName) -> None:
    for number in range(QUEUED):
        frames.queue_item(work, peer, frames.TO_DEVICE, "x", {"number": number})


async def _many_connections() -> list[Row]:
    """Peers whom nobody can call: each keeps a request open at the server."""
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-")))
        alice = Server(directory=directory / "alice")
        stack.enter_context(processes.running(alice))
        await _befriend(alice, directory, stack, 10)  # what the first ones bring along
        before = alice.resident_mib()
        await _befriend(alice, directory, stack, CONNECTIONS)
        await asyncio.sleep(2.0)
        held = alice.resident_mib() - before
        with cost_of(alice) as cost:
            await asyncio.sleep(IDLE_S)
    busy = cost.cpu_s / cost.wall_s * 100
    idle = f"{busy:.2f} % when idle"
    return [
        Row(
            f"{CONNECTIONS} connections",
            f"{held:.1f} MiB",
            idle,
            "≤ 40 MiB, 1 %",
            "",
            held <= 40 and busy <= 1,
        )
    ]


async def _befriend(alice: Server, directory: Path, stack: AsyncExitStack, count: int) -> None:
    """Let so many more people open links of Alice's."""
    for number in range(count):
        outbound = Outbound()
        stack.push_async_callback(outbound.close)
        transport = HttpTransport(outbound)
        node = Node(directory, f"friend {number} of {count}", transport, clock=SystemClock())
        node.start()
        ways_out.permit(outbound, node.database, node.federation.farewell)
        stack.push_async_callback(node.stop)
        link = (await admin(alice, "POST", "/invitations", {}))["link"]
        await node.federation.peers.connect(link)
        await story.until(lambda node=node: _has_line(node), "a friend's handshake")  # type: ignore[misc]


async def _has_line(node: Node) -> bool:
    return bool(node.federation.lines.all())
