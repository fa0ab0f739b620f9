from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from api import application
from api.client import ephemeral, sync
from homeserver import errors
from homeserver.ephemeral import Presences, Receipts, Typing
from homeserver.ports import Requester
from homeserver.storage import encryption
from homeserver.sync.classic import ClassicSync
from tests.sync.alice import ALICE, BOB, Alice, bodies
from tests.sync.conftest import alice

__all__ = ["alice"]

Client = TestClient[web.Request, web.Application]
V3 = "/_matrix/client/v3"


@pytest.fixture
async def client(alice: Alice) -> AsyncIterator[Client]:
    def authenticate(token: str) -> Requester:
        if token != "right":
            raise errors.UnknownToken
        return alice.requester

    services = {
        ClassicSync: alice.classic,
        Typing: alice.typing,
        Receipts: alice.receipts,
        Presences: alice.presences,
    }
    routes = sync.routes.all + ephemeral.routes.all
    served = application.build(routes, services, authenticate)
    headers = {"Authorization": "Bearer right"}
    async with TestClient(TestServer(served), headers=headers) as client:
        yield client


async def asked(client: Client, method: str, path: str, **what: Any) -> tuple[int, Any]:
    response = await client.request(method, V3 + path, **what)
    return response.status, await response.json()


async def test_syncing_over_http(client: Client, alice: Alice) -> None:
    room_id = await alice.create()
    _, first = await asked(client, "GET", "/sync", params={"filter": '{"room":{}}'})
    await alice.say(room_id, "news")
    query = {"since": first["next_batch"], "timeout": "30000", "set_presence": "offline"}
    status, answer = await asked(client, "GET", "/sync", params=query)
    assert status == 200
    assert bodies(answer["rooms"]["join"][room_id]) == ["news"]


async def test_more_messages_than_an_answer_carries_come_before_the_event_they_are_for(
    client: Client, alice: Alice
) -> None:
    room_id = await alice.create()
    _, answer = await asked(client, "GET", "/sync")
    user_id, device = alice.requester.user_id, alice.requester.device_id
    keys = [(device, b'{"content":{"n":%d}}' % number) for number in range(2_100)]
    await alice.database.write(lambda work: encryption.save_to_device(work, user_id, keys))
    await alice.say(room_id, "sealed with the last of them")
    heard: list[int] = []
    while "rooms" not in answer or not heard:
        query = {"since": answer["next_batch"], "timeout": "30000", "set_presence": "offline"}
        _, answer = await asked(client, "GET", "/sync", params=query)
        assert answer["next_batch"] != query["since"]
        heard += [one["content"]["n"] for one in answer["to_device"]["events"]]
    assert heard == list(range(2_100))
    assert bodies(answer["rooms"]["join"][room_id]) == ["sealed with the last of them"]


@pytest.mark.parametrize(
    "query",
    [
        {"since": "x"},
        {"timeout": "-1"},
        {"timeout": "x"},
        {"set_presence": "x"},
        {"filter": "x"},
        {"full_state": "x"},
    ],
)
async def test_bad_parameters_are_refused(client: Client, query: dict[str, str]) -> None:
    status, answer = await asked(client, "GET", "/sync", params=query)
    assert (status, answer["errcode"]) == (400, "M_INVALID_PARAM")


async def test_receipts_and_markers_over_http(client: Client, alice: Alice) -> None:
    room_id = await alice.create()
    event_id = await alice.say(room_id, "hello")
    since = (await alice.sync())["next_batch"]
    receipt = f"/rooms/{room_id}/receipt/m.read/{event_id}"
    assert await asked(client, "POST", receipt, json={"thread_id": "main"}) == (200, {})
    markers = {"m.fully_read": event_id, "m.read.private": event_id}
    assert await asked(client, "POST", f"/rooms/{room_id}/read_markers", json=markers) == (200, {})
    room = (await alice.sync(since))["rooms"]["join"][room_id]
    [event] = room["ephemeral"]["events"]
    assert event["content"][event_id].keys() == {"m.read", "m.read.private"}
    assert room["account_data"]["events"][0]["content"] == {"event_id": event_id}


@pytest.mark.parametrize("thread_id", ["", 5, []])
async def test_a_thread_has_a_name(client: Client, alice: Alice, thread_id: object) -> None:
    path = f"/rooms/{await alice.create()}/receipt/m.read/$x"
    status, answer = await asked(client, "POST", path, json={"thread_id": thread_id})
    assert (status, answer["errcode"]) == (400, "M_INVALID_PARAM")


async def test_typing_over_http(client: Client, alice: Alice) -> None:
    room_id = await alice.create()
    path = f"/rooms/{room_id}/typing/{ALICE}"
    assert await asked(client, "PUT", path, json={"typing": True, "timeout": 500}) == (200, {})
    assert alice.board.typists(room_id) == [ALICE]
    assert await asked(client, "PUT", path, json={"typing": False}) == (200, {})
    assert alice.board.typists(room_id) == []
    status, _ = await asked(client, "PUT", f"/rooms/{room_id}/typing/{BOB}", json={"typing": True})
    assert status == 403


async def test_presence_over_http(client: Client) -> None:
    path = f"/presence/{ALICE}/status"
    body = {"presence": "unavailable", "status_msg": "tea"}
    assert await asked(client, "PUT", path, json=body) == (200, {})
    status, answer = await asked(client, "GET", path)
    assert (status, answer["presence"], answer["status_msg"]) == (200, "unavailable", "tea")
    assert (await asked(client, "PUT", path, json={"presence": "x"}))[0] == 400
    assert (await asked(client, "GET", "/presence/@no:where/status"))[0] == 404
