"""The figures of syncs where the owner is in 500 rooms with 200,000 events."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import orjson

from homeserver.testing.client import Client
from homeserver.testing.processes import Server
from tests.benchmark import large_account
from tests.benchmark.measuring import Cost, Row, cost_of, ms
from tests.benchmark.one_server import logged_in

INITIAL_SYNCS = 5
WINDOWS = 10
INCREMENTS = 300
WAKE_UPS = 40
POLLING = 20

_V3 = "/_matrix/client/v3"
_SLIDING = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"
_FILTER = orjson.dumps(
    {"room": {"timeline": {"limit": 20}, "state": {"lazy_load_members": True}}}
).decode()
# What Element X asks for.
_STATE = [
    ["m.room.name", ""],
    ["m.room.encryption", ""],
    ["m.room.member", "$LAZY"],
    ["m.room.member", "$ME"],
    ["m.room.topic", ""],
    ["m.room.avatar", ""],
    ["m.room.canonical_alias", ""],
    ["m.room.power_levels", ""],
    ["org.matrix.msc3401.call.member", "*"],
    ["m.room.join_rules", ""],
    ["m.room.tombstone", ""],
    ["m.room.create", ""],
    ["m.room.history_visibility", ""],
    ["m.space.child", "*"],
]


async def measure() -> list[Row]:
    """Fill a server, start it and measure its syncs."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as directory:
        server = Server(directory=Path(directory))
        server.init()
        await asyncio.to_thread(large_account.fill, server.config_file)
        server.start()
        try:
            return await _measure(server)
        finally:
            server.kill()


async def _measure(server: Server) -> list[Row]:
    async with AsyncExitStack() as stack:
        count = max(INITIAL_SYNCS, WINDOWS) + 1
        devices = [await stack.enter_async_context(logged_in(server)) for _ in range(count)]
        rows = [
            await _each(
                server, devices, INITIAL_SYNCS, _initial, ("initial sync of 500 rooms", 250.0)
            ),
            await _each(
                server, devices, WINDOWS, _window, ("first sliding window of 20 rooms", 25.0)
            ),
        ]
        rows += await _increments(server, devices[0])
        rows.append(await _wake_up(server, devices[0], devices[1]))
        rows.append(await _polling(server, stack))
    return rows


async def _each(
    server: Server,
    devices: list[Client],
    count: int,
    ask: Callable[[Client], Awaitable[Any]],
    wanted: tuple[str, float],
) -> Row:
    """The same of several devices, one after the other; the first one only warms up."""
    name, limit_ms = wanted
    await ask(devices[0])
    with cost_of(server) as cost:
        for device in devices[1 : count + 1]:
            await cost.time(lambda one=device: ask(one))  # type: ignore[misc]
    cpu = ms(cost.cpu_ms(min(count, len(devices) - 1)))
    return Row(
        f"{name}, p50", ms(cost.p50_ms), cpu, f"≤ {limit_ms:.0f} ms", "", _met(cost, limit_ms)
    )


def _met(cost: Cost, limit_ms: float) -> bool:
    return cost.p50_ms <= limit_ms


async def _initial(client: Client) -> None:
    path = f"{_V3}/sync"
    parameters = {"filter": _FILTER, "timeout": "0"}
    if client.since is not None:
        parameters["since"] = client.since
    status, _, body = await client.exchange("GET", path, parameters=parameters)
    if status != 200:
        raise AssertionError(body[:200])
    # The token is found without reading megabytes, which would be the client's time.
    client.since = body[: body.index(b",")].decode().split('"')[3]


async def _window(client: Client) -> None:
    extensions = ("to_device", "e2ee", "account_data", "receipts", "typing")
    body = {
        "lists": {"all": {"ranges": [[0, 19]], "timeline_limit": 20, "required_state": _STATE}},
        "extensions": {name: {"enabled": True} for name in extensions},
    }
    status, _, answer = await client.exchange("POST", _SLIDING, orjson.dumps(body))
    if status != 200:
        raise AssertionError(answer[:200])


async def _increments(server: Server, client: Client) -> list[Row]:
    await _initial(client)
    with cost_of(server) as empty:
        for _ in range(INCREMENTS):
            await empty.time(lambda: _initial(client))
    room_id = next(iter((await client.request("GET", f"{_V3}/joined_rooms"))["joined_rooms"]))
    sending = Cost()
    with cost_of(server) as both:
        for number in range(WAKE_UPS):
            await sending.time(lambda n=number: client.send_text(room_id, f"{n}"))  # type: ignore[misc]
            await both.time(lambda: _initial(client))
    cpu_ms = empty.cpu_ms(INCREMENTS)
    return [
        Row("empty sync, 500 rooms", ms(empty.p50_ms), ms(cpu_ms), "≤ 1 ms CPU", "", cpu_ms <= 1),
        Row("sync of one new event, 500 rooms", ms(both.p50_ms), "", "", ""),
    ]


async def _wake_up(server: Server, sender: Client, listener: Client) -> Row:
    room_id = next(iter((await sender.request("GET", f"{_V3}/joined_rooms"))["joined_rooms"]))
    await _initial(listener)
    woken = Cost()
    with cost_of(server) as cost:
        for number in range(WAKE_UPS):
            waiting = asyncio.create_task(listener.sync(timeout_ms=10_000))
            await asyncio.sleep(0.02)
            await sender.send_text(room_id, f"wake {number}")

            async def wake(waiting: "asyncio.Task[Any]" = waiting) -> None:
                await waiting

            await woken.time(wake)
    cpu = ms(cost.cpu_ms(WAKE_UPS))
    return Row(
        "a sent message to a waiting sync, p50",
        ms(woken.p50_ms),
        cpu,
        "≤ 3 ms",
        "",
        _met(woken, 3.0),
    )


async def _polling(server: Server, stack: AsyncExitStack) -> Row:
    """What devices cost that have synced and wait, all at once."""
    devices = [await stack.enter_async_context(logged_in(server)) for _ in range(POLLING)]
    for device in devices:
        device.since = (
            await device.request(
                "GET", f"{_V3}/sync", parameters={"filter": '{"room":{"rooms":[]}}'}
            )
        )["next_batch"]
    before = server.resident_mib()
    polls = [asyncio.create_task(device.sync(timeout_ms=60_000)) for device in devices]
    await asyncio.sleep(1.0)
    each = (server.resident_mib() - before) / POLLING
    for poll in polls:
        poll.cancel()
    await asyncio.gather(*polls, return_exceptions=True)
    return Row("memory of a device that waits", f"{each:.2f} MiB", "", "≤ 1 MiB", "", each <= 1)
