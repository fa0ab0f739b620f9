"""The figures of two connected servers."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from homeserver.testing import processes
from homeserver.testing.client import Client
from homeserver.testing.processes import Server
from tests.benchmark.measuring import MS, Row, cost_of, ms
from tests.benchmark.one_server import AT_ONCE, logged_in, send_all

MESSAGES = 150
BURST = 1_500
PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Two:
    """Two people in one room, each on a server of their own."""

    alice_server: Server
    bob_server: Server
    alice: Client
    bob: Client
    room_id: str


async def measure(ratchets: str) -> list[Row]:
    """Start two servers with one Olm library, connect them, and measure."""
    async with two_people(ratchets) as two:
        return [
            await _latency(two, ratchets),
            await _throughput(two, ratchets),
            _memory(two),
        ]


@asynccontextmanager
async def two_people(ratchets: str) -> AsyncIterator[Two]:
    environment = {"HOMESERVER__FEDERATION__RATCHETS": ratchets}
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-")))
        first, second = (
            Server(directory=directory / user, user=user, environment=environment)
            for user in ("alice", "bob")
        )
        stack.enter_context(processes.running(first, second))
        processes.connect(first, second)
        alice = await stack.enter_async_context(logged_in(first))
        bob = await stack.enter_async_context(logged_in(second))
        room_id = await alice.create_room(invite=[bob.user_id])
        while room_id not in (await bob.sync(timeout_ms=1_000)).get("rooms", {}).get("invite", {}):
            pass
        await bob.join(room_id)
        yield Two(first, second, alice, bob, room_id)


class _Listener:
    """Syncs on and notes when each text arrived."""

    def __init__(self, client: Client, room_id: str) -> None:
        self._client = client
        self._room_id = room_id
        self.arrived: dict[str, float] = {}
        self._woken = asyncio.Event()

    async def listen(self) -> None:
        while True:
            answer = await self._client.sync(timeout_ms=10_000)
            now = time.perf_counter()
            room = answer.get("rooms", {}).get("join", {}).get(self._room_id, {})
            for event in room.get("timeline", {}).get("events", []):
                if event["type"] == "m.room.message":
                    self.arrived.setdefault(event["content"]["body"], now)
            self._woken.set()

    async def wait_for(self, text: str) -> float:
        async with asyncio.timeout(PATIENCE_S):
            while text not in self.arrived:
                self._woken.clear()
                await self._woken.wait()
        return self.arrived[text]


@asynccontextmanager
async def listening(two: Two) -> AsyncIterator[_Listener]:
    listener = _Listener(two.bob, two.room_id)
    task = asyncio.create_task(listener.listen())
    try:
        yield listener
    finally:
        task.cancel()


async def _latency(two: Two, ratchets: str) -> Row:
    """From the moment Alice's client sends until Bob's client has it."""
    async with listening(two) as listener:
        await two.alice.send_text(two.room_id, "warm")
        await listener.wait_for("warm")
        with cost_of(two.alice_server, two.bob_server) as cost:
            for number in range(MESSAGES):
                started = time.perf_counter()
                await two.alice.send_text(two.room_id, f"latency {number}")
                arrived = await listener.wait_for(f"latency {number}")
                cost.latencies_s.append(arrived - started)
                await asyncio.sleep(0.005)
    cpu = f"{cost.cpu_s / MESSAGES * MS:.2f} ms (both)"
    p50 = cost.p50_ms
    name = f"message A to B, p50 ({ratchets})"
    return Row(name, ms(p50), cpu, "≤ 15 ms", "66 ms", p50 <= 15)


async def _throughput(two: Two, ratchets: str) -> Row:
    """A burst from Alice; done when Bob's server has all of it, in Alice's order."""
    with cost_of(two.alice_server, two.bob_server) as cost:
        await send_all(two.alice, two.room_id, BURST, AT_ONCE)
        said = await _texts(two.alice, two.room_id, two.alice.user_id)
        await _wait_for_all(two, said)
    rate = BURST / cost.wall_s
    cpu = f"{cost.cpu_s / BURST * MS:.2f} ms (both)"
    name = f"burst of {BURST} A to B ({ratchets})"
    return Row(name, f"{rate:.0f} msg/s", cpu, "≥ 150 msg/s", "22 msg/s", rate >= 150)


async def _wait_for_all(two: Two, said: list[str]) -> None:
    """Wait until the newest is there, asking little; then until all of it is, in order."""
    limit = time.monotonic() + PATIENCE_S
    while await _newest(two) != said[-1]:
        await _pause(limit)
    while (heard := await _texts(two.bob, two.room_id, two.alice.user_id)) != said:
        if len(heard) == len(said):
            raise AssertionError("messages arrived out of order")
        await _pause(limit)


async def _pause(limit: float) -> None:
    if time.monotonic() > limit:
        raise AssertionError(f"messages are missing after {PATIENCE_S:.0f} s")
    await asyncio.sleep(0.02)


async def _newest(two: Two) -> str | None:
    page = await two.bob.messages(two.room_id, limit=1)
    return next((event["content"].get("body") for event in page["chunk"]), None)


async def _texts(client: Client, room_id: str, sender: str) -> list[str]:
    return [
        event["content"]["body"]
        for event in await client.timeline(room_id)
        if event["type"] == "m.room.message" and event["sender"] == sender
    ]


def _memory(two: Two) -> Row:
    held = max(server.resident_mib() for server in (two.alice_server, two.bob_server))
    return Row("memory after all of this, larger one", f"{held:.0f} MiB")
