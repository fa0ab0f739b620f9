from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from api import application
from api.client import sliding_sync
from homeserver import errors
from homeserver.ports import Requester
from homeserver.sync import tokens
from homeserver.sync.sliding.service import SlidingSync
from tests import sliding_schema
from tests.sliding_schema import ACCEPTED, BEFORE
from tests.sync.alice import Alice
from tests.sync.conftest import alice
from tests.sync.sliding import serve

__all__ = ["alice"]

Client = TestClient[web.Request, web.Application]
WISH = {"timeline_limit": 1, "required_state": []}


@pytest.fixture
async def client(alice: Alice) -> AsyncIterator[Client]:
    def authenticate(token: str) -> Requester:
        if token != "right":
            raise errors.UnknownToken
        return alice.requester

    routes = sliding_sync.unstable.all + sliding_sync.stable.all
    served = application.build(routes, {SlidingSync: serve(alice)}, authenticate)
    headers = {"Authorization": "Bearer right"}
    async with TestClient(TestServer(served), headers=headers) as client:
        yield client


async def _post(client: Client, path: str, body: Any) -> tuple[int, Any]:
    async with client.post(path, json=body) as response:
        answer = await response.json()
        if response.status == 200:
            sliding_schema.check(path.partition("?")[0], answer)
        return response.status, answer


async def test_both_forms_go_on_from_their_position(client: Client, alice: Alice) -> None:
    room_id = await alice.create()
    status, answer = await _post(client, BEFORE, {"lists": {"a": WISH | {"ranges": [[0, 9]]}}})
    assert status == 200
    assert set(answer["rooms"]) == {room_id}
    path = f"{BEFORE}?pos={answer['pos']}&timeout=0"
    _, answer = await _post(client, path, {"lists": {"a": WISH | {"ranges": [[0, 9]]}}})
    assert answer["rooms"] == {}
    stable = {"conn_id": "x", "lists": {"a": {"timeline_limit": 1, "required_state": {}}}}
    _, answer = await _post(client, ACCEPTED, stable)
    assert answer["rooms"][room_id]["lists"] == ["a"]
    _, answer = await _post(client, ACCEPTED, stable | {"pos": answer["pos"]})
    assert answer["rooms"] == {}


async def test_a_position_is_a_token_of_classic_sync_too(client: Client, alice: Alice) -> None:
    await alice.create()
    _, answer = await _post(client, ACCEPTED, {})
    assert tokens.parse(answer["pos"]).position == alice.database.position - 1


async def test_an_unknown_position_is_said_to_be_so(client: Client) -> None:
    status, answer = await _post(client, f"{BEFORE}?pos=s1_0_ab_c1v0", {})
    assert (status, answer["errcode"]) == (400, "M_UNKNOWN_POS")


@pytest.mark.parametrize(
    "body",
    [
        {"lists": []},
        {"lists": {"a": {"timeline_limit": "1", "required_state": []}}},
        {"lists": {"a": {"timeline_limit": -1, "required_state": []}}},
        {"lists": {"a": WISH | {"ranges": [[0]]}}},
        {"lists": {"a": WISH | {"ranges": [[9, 0]]}}},
        {"lists": {"a": WISH | {"filters": {"is_dm": "yes"}}}},
        {"lists": {"a": {"timeline_limit": 1, "required_state": [["m.room.name"]]}}},
        {"lists": {"a": {"timeline_limit": 1, "required_state": {"include": [1]}}}},
        {"lists": {"a" * 256: WISH}},
        {"lists": {str(number): WISH for number in range(101)}},
        {"room_subscriptions": {f"!{number}": WISH for number in range(101)}},
        {"extensions": []},
        {"extensions": {"to_device": {"enabled": "yes"}}},
        {"extensions": {"to_device": {"enabled": True, "limit": 0}}},
        {"conn_id": 7},
        {"timeout": -1},
        {"set_presence": "asleep"},
    ],
)
async def test_what_makes_no_sense_is_refused(client: Client, body: Any) -> None:
    for path in (BEFORE, ACCEPTED):
        status, answer = await _post(client, path, body)
        assert (status, answer["errcode"] in ("M_BAD_JSON", "M_INVALID_PARAM")) == (400, True)


@pytest.mark.parametrize(
    "body", [{"set_presence": "asleep"}, {"lists": {"ä b": WISH}}, {"conn_id": "a b"}]
)
async def test_names_and_presence_are_as_the_accepted_form_has_them(
    client: Client, body: Any
) -> None:
    status, answer = await _post(client, ACCEPTED, body)
    assert (status, answer["errcode"]) == (400, "M_INVALID_PARAM")
    named = {"lists": {"a" * 255: WISH}, "conn_id": "A_~.-1", "set_presence": "offline"}
    assert (await _post(client, ACCEPTED, named))[0] == 200


async def test_what_is_not_known_is_passed_over(client: Client) -> None:
    body = {"extensions": {"org.example": {"enabled": True}, "e2ee": {"enabled": False}}, "x": 1}
    status, answer = await _post(client, BEFORE, body)
    assert (status, answer["extensions"]) == (200, {})


async def test_without_a_token_there_is_nothing(client: Client) -> None:
    async with client.post(BEFORE, json={}, headers={"Authorization": ""}) as response:
        assert response.status == 401
