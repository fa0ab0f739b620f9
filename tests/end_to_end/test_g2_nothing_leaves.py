"""G2: nothing leaves to anyone I did not accept: not a connection, not a look-up of a name.

A server is asked for everything that would make others call servers all over the world. It calls
those its owner is connected to, whoever gave the owner a link that was opened, and the push
gateway that the settings name.
"""

import contextlib
import json
import re
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web

from federation import invitation_links
from federation.invitation_links import Link
from homeserver.matrix.identifiers import ServerName
from homeserver.testing import processes
from homeserver.testing.client import Client, Refused
from homeserver.testing.processes import VODOZEMAC, Server
from tests.end_to_end import story
from tests.end_to_end.conftest import WithClient
from tests.end_to_end.watched_way_out import WayOut

_V1, _V3 = "/_matrix/client/v1", "/_matrix/client/v3"
_FAR = "matrix.example"
_OPENED = "opened.example"


@dataclass(frozen=True, slots=True)
class Gateway:
    """A push gateway that counts how often it was told something."""

    url: str
    place: str
    told: list[Any]


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    told: list[Any] = []

    async def answer(request: web.Request) -> web.Response:
        told.append(await request.json())
        return web.json_response({"rejected": []})

    application = web.Application()
    application.router.add_post("/_matrix/push/v1/notify", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    place = f"127.0.0.1:{runner.addresses[0][1]}"
    yield Gateway(f"http://{place}/_matrix/push/v1/notify", place, told)
    await runner.cleanup()


@dataclass(frozen=True, slots=True)
class Scene:
    """Alice, who is watched; a friend, one whom she revokes, and somebody she never met."""

    alice: Server
    bob: Server
    dave: Server
    stranger: Server
    way_out: WayOut

    def place(self, server: Server) -> str:
        return f"127.0.0.1:{server.port}"


@pytest.fixture
def scene(tmp_path: Path, gateway: Gateway) -> Iterator[Scene]:
    way_out = WayOut(tmp_path / "way-out")
    gateways = json.dumps([gateway.url])
    alice = Server(
        directory=tmp_path / "alice",
        environment={"HOMESERVER__PUSH__GATEWAYS": gateways, **way_out.environment},
        launcher=way_out.launcher,
    )
    bob = Server(directory=tmp_path / "bob", user="bob", environment=VODOZEMAC)
    dave, mallory = (Server(directory=tmp_path / user, user=user) for user in ("dave", "mallory"))
    with processes.running(alice, bob, dave, mallory):
        yield Scene(alice, bob, dave, mallory, way_out)


async def test_a_server_calls_only_whom_its_owner_named(
    scene: Scene, gateway: Gateway, with_client: WithClient
) -> None:
    assert scene.way_out.connected() == scene.way_out.looked_up() == set()
    for friend in (scene.bob, scene.dave):
        processes.connect(scene.alice, friend)
    scene.alice.command("peers", "invite")  # nobody opens it
    client, bobs = await with_client(scene.alice), await with_client(scene.bob)
    room_id = await story.meet(client, bobs)
    await _set_pusher(client, gateway.url)
    await client.send_text(room_id, "hello")
    await bobs.send_text(room_id, "hello yourself")
    await story.until(lambda: _is_told(gateway), "the gateway was told")
    named = {scene.place(one) for one in (scene.bob, scene.dave)} | {gateway.place}
    assert scene.way_out.connected() == named
    assert scene.way_out.looked_up() == set()

    scene.alice.command("peers", "revoke", scene.dave.status()["server_name"])
    scene.way_out.forget()
    await _ask_for_the_world(client, room_id, scene.stranger.status()["server_name"])
    await _ask_for_the_world(client, room_id, _FAR)
    with pytest.raises(Refused, match=r"push\.gateways"):
        await _set_pusher(client, f"https://{_FAR}/_matrix/push/v1/notify")
    scene.dave.stop()
    scene.dave.start()
    await _open(scene.alice, link_to(f"https://{_OPENED}:8448"))
    await story.until(lambda: _has(scene.way_out, _OPENED), "the link's route was tried")
    await client.send_text(room_id, "still here?")
    await story.until_heard(bobs, room_id, client.user_id, ["still here?"])
    assert scene.way_out.connected() <= {scene.place(scene.bob), gateway.place}
    assert scene.way_out.looked_up() == {_OPENED}


def link_to(route: str) -> str:
    """A link that somebody handed over, to a server that is far away."""
    expires_at = int(time.time() * 1000) + 86_400_000
    node_id = "b" * 52
    name = ServerName(f"{node_id}.p2p.alt")
    link = Link(node_id, name, (route,), "0f" * 16, b"s" * 32, expires_at)
    return invitation_links.write(link)


async def _open(server: Server, link: str) -> None:
    async with Client(server.url) as admin:
        admin.access_token = (server.data_dir / "admin.token").read_text().strip()
        await admin.request("POST", "/_homeserver/admin/v1/peers", {"link": link})


async def _has(way_out: WayOut, name: str) -> bool:
    return name in way_out.looked_up()


async def _is_told(gateway: Gateway) -> bool:
    return bool(gateway.told)


async def _set_pusher(client: Client, url: str) -> None:
    pusher = {
        "kind": "http",
        "app_id": "org.example.app",
        "pushkey": "key",
        "lang": "en",
        "app_display_name": "app",
        "device_display_name": "telephone",
        "data": {"url": url},
    }
    await client.request("POST", f"{_V3}/pushers/set", pusher)


async def _ask_for_the_world(client: Client, room_id: str, server: str) -> None:
    """Whatever a client can say that names another server; what is answered does not matter."""
    user, room, alias = f"@somebody:{server}", f"!room:{server}", f"#alias:{server}"
    filtered = {"filter": {"generic_search_term": "x"}}
    tries: list[tuple[str, str, Any]] = [
        ("POST", f"{_V3}/join/{quote(alias)}", {}),
        ("POST", f"{_V3}/join/{quote(room)}?server_name={server}&via={server}", {}),
        ("POST", f"{_V3}/knock/{quote(alias)}?via={server}", {}),
        ("GET", f"{_V3}/directory/room/{quote(alias)}", None),
        ("GET", f"{_V1}/room_summary/{quote(alias)}?via={server}", None),
        ("GET", f"{_V1}/rooms/{quote(room)}/hierarchy", None),
        ("GET", f"{_V3}/profile/{quote(user)}", None),
        ("GET", f"{_V3}/presence/{quote(user)}/status", None),
        ("GET", f"{_V3}/publicRooms?server={server}", None),
        ("POST", f"{_V3}/publicRooms?server={server}", filtered),
        ("POST", f"{_V3}/user_directory/search", {"search_term": user}),
        ("POST", f"{_V3}/rooms/{quote(room_id)}/invite", {"user_id": user}),
        ("POST", f"{_V3}/createRoom", {"invite": [user]}),
        ("POST", f"{_V3}/keys/query", {"device_keys": {user: []}}),
        ("POST", f"{_V3}/keys/claim", {"one_time_keys": {user: {"D": "signed_curve25519"}}}),
        ("PUT", f"{_V3}/sendToDevice/org.example.x/1", {"messages": {user: {"*": {}}}}),
        ("GET", f"{_V1}/media/download/{server}/media", None),
        ("GET", f"{_V1}/media/thumbnail/{server}/media?width=32&height=32", None),
        ("GET", f"{_V1}/media/preview_url?url=https://{server}/", None),
        ("GET", f"{_V3}/rooms/{quote(room)}/timestamp_to_event?ts=0", None),
        (
            "PUT",
            f"{_V3}/rooms/{quote(room_id)}/send/m.room.message/{server}",
            {"msgtype": "m.text", "body": f"https://{server}/ {user} {alias}"},
        ),
    ]
    for method, path, body in tries:
        with contextlib.suppress(Refused):
            await client.request(method, path, body)


@pytest.mark.skipif(shutil.which("strace") is None, reason="there is no strace here")
async def test_the_system_saw_no_other_call(tmp_path: Path, with_client: WithClient) -> None:
    """What Python is not told of, strace sees: uvloop, and libraries that are not Python's."""
    calls, nobody = tmp_path / "calls", processes.free_port()
    tracer = ("strace", "-D", "-f", "-qq", "-e", "trace=connect,sendto,sendmsg", "-o", str(calls))
    alice, bob = (Server(directory=tmp_path / user, user=user) for user in ("alice", "bob"))
    plain = alice.launcher
    with processes.running(alice, bob):
        alice.stop()
        alice.launcher = (*tracer, *plain)
        alice.start()
        alice.launcher = plain
        processes.connect(alice, bob)
        client, bobs = await with_client(alice), await with_client(bob)
        room_id = await story.meet(client, bobs)
        await client.send_text(room_id, "hello")
        await story.until_heard(bobs, room_id, client.user_id, ["hello"])
        await _ask_for_the_world(client, room_id, _FAR)
        await _open(alice, link_to(f"http://127.0.0.1:{nobody}"))
        await story.until(lambda: _was_called(calls, nobody), "the link's route was tried")
    assert internet_calls(calls) == {("127.0.0.1", bob.port), ("127.0.0.1", nobody)}


async def _was_called(calls: Path, port: int) -> bool:
    return ("127.0.0.1", port) in internet_calls(calls)


def internet_calls(calls: Path) -> set[tuple[str, int]]:
    """The addresses in strace's lines, also those of datagrams."""
    found = re.compile(
        r"sin6?_port=htons\((\d+)\), .*?(?:inet_addr\(|inet_pton\(AF_INET6, )\"([^\"]+)"
    )
    return {(host, int(port)) for port, host in found.findall(calls.read_text())}
