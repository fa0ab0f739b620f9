"""What keys cost: uploading, claiming and querying them, and a backup of very many."""

import tempfile
import time
from pathlib import Path
from typing import Any

from homeserver.encryption import peer_lists
from homeserver.encryption.peer_lists import DeviceList
from homeserver.matrix.identifiers import UserId
from homeserver.storage.database import Database
from homeserver.storage.wake_ups import WakeUps
from homeserver.testing import device_secrets
from homeserver.testing.client import Client
from homeserver.testing.processes import Server
from tests.benchmark.measuring import Cost, Row, cost_of, ms
from tests.benchmark.one_server import logged_in

_V3 = "/_matrix/client/v3"
UPLOADS = 20
KEYS = 100
QUERIES = 100
USERS = 50
SESSIONS = 10_000
SESSIONS_AT_ONCE = 200


async def measure() -> list[Row]:
    """Start a server that knows fifty friends' devices, and measure it."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as directory:
        server = Server(directory=Path(directory))
        server.init()
        friends = await _befriend(server)
        server.start()
        try:
            async with logged_in(server) as client:
                rows = await _keys(server, client)
                rows.append(await _query(server, client, friends))
                return rows + await _backup(server, client)
        finally:
            server.kill()


async def _befriend(server: Server) -> list[str]:
    """Keep the device lists of fifty people, as their servers would have left them here."""
    users = [UserId(f"@friend:{number}.example") for number in range(USERS)]
    database = Database(f"sqlite:///{server.data_dir / 'homeserver.db'}", WakeUps())
    try:
        for user in users:
            names = ("PHONE", "LAPTOP", "TABLET")
            devices = {name: device_secrets.device_keys(user, name) for name in names}
            lists = DeviceList(device_keys=devices)
            await database.write(
                lambda work, user=user, lists=lists: peer_lists.save(work, user, lists, 1)  # type: ignore[misc]
            )
    finally:
        database.close()
    return [str(user) for user in users]


async def _keys(server: Server, client: Client) -> list[Row]:
    device = (client.user_id, client.device_id)
    own = device_secrets.device_keys(*device)
    await client.request("POST", f"{_V3}/keys/upload", {"device_keys": own})
    wanted = {"one_time_keys": {client.user_id: {client.device_id: "signed_curve25519"}}}
    uploading, claiming = Cost(), Cost()
    # A client has signed its keys before it uploads them. While it does, both processes grow cold,
    # which would be measured too: a millisecond of any request that comes after it.
    bodies = [
        {"one_time_keys": device_secrets.one_time_keys(*device, *_names(upload))}
        for upload in range(UPLOADS)
    ]
    with cost_of(server) as whole:
        for body in bodies:
            await uploading.time(
                lambda body=body: client.request("POST", f"{_V3}/keys/upload", body)  # type: ignore[misc]
            )
            for _ in range(KEYS):
                await claiming.time(lambda: client.request("POST", f"{_V3}/keys/claim", wanted))
    cpu = f"{whole.cpu_ms(UPLOADS * (KEYS + 1)):.2f} ms each"
    return [
        _row(f"upload of {KEYS} one-time keys, p50", uploading.p50_ms, 3.0, ""),
        _row("claim of one, p50", claiming.p50_ms, 1.0, cpu),
    ]


def _names(upload: int) -> list[str]:
    return [f"{upload}-{number}" for number in range(KEYS)]


async def _query(server: Server, client: Client, friends: list[str]) -> Row:
    asked: dict[str, Any] = {"device_keys": {user: [] for user in friends}}
    with cost_of(server) as cost:
        for _ in range(QUERIES):
            await cost.time(lambda: client.request("POST", f"{_V3}/keys/query", asked))
    return _row(f"query of {USERS} users, p50", cost.p50_ms, 5.0, ms(cost.cpu_ms(QUERIES)))


async def _backup(server: Server, client: Client) -> list[Row]:
    made = await client.request(
        "POST",
        f"{_V3}/room_keys/version",
        {
            "algorithm": "m.megolm_backup.v1.curve25519-aes-sha2",
            "auth_data": {"public_key": "p" * 43, "signatures": {}},
        },
    )
    version = {"version": made["version"]}
    with cost_of(server) as uploading:
        for start in range(0, SESSIONS, SESSIONS_AT_ONCE):
            await client.request("PUT", f"{_V3}/room_keys/keys", _sessions(start), version)
    with cost_of(server) as reading:
        began = time.perf_counter()
        got = await client.request("GET", f"{_V3}/room_keys/keys", None, version)
        read_s = time.perf_counter() - began
    count = sum(len(room["sessions"]) for room in got["rooms"].values())
    if count != SESSIONS:
        raise AssertionError(f"the backup holds {count} sessions")
    return [
        _seconds(f"backup of {SESSIONS} sessions", uploading.wall_s, 3.0, uploading.cpu_s),
        _seconds(f"reading {SESSIONS} sessions", read_s, 1.0, reading.cpu_s),
    ]


def _sessions(start: int) -> dict[str, Any]:
    session = {
        "first_message_index": 0,
        "forwarded_count": 0,
        "is_verified": True,
        "session_data": {"ciphertext": "c" * 700, "mac": "m" * 11, "ephemeral": "e" * 43},
    }
    rooms: dict[str, Any] = {}
    for number in range(start, start + SESSIONS_AT_ONCE):
        room = rooms.setdefault(f"!{number % 40}:example.org", {"sessions": {}})
        room["sessions"][f"session {number}"] = session
    return {"rooms": rooms}


def _row(name: str, measured_ms: float, limit_ms: float, cpu: str) -> Row:
    return Row(name, ms(measured_ms), cpu, f"≤ {limit_ms:.0f} ms", "", measured_ms <= limit_ms)


def _seconds(name: str, took_s: float, limit_s: float, cpu_s: float) -> Row:
    cpu = f"{cpu_s:.2f} s"
    return Row(name, f"{took_s:.2f} s", cpu, f"< {limit_s:.0f} s", "", took_s < limit_s)
