"""Account data, tags and filters: kept, shown to other clients, nobody else's."""

from typing import Any

import pytest

from homeserver.storage import account_data
from tests.accounts.serving import ALICE, Device, Served

MINE = f"/user/{ALICE}"
ROOM = f"{MINE}/rooms/!room:alice.example"


async def test_account_data_is_kept_for_all_rooms_and_for_one(alice: Device) -> None:
    await alice.put(f"{MINE}/account_data/org.example", {"a": 0.5})
    await alice.put(f"{ROOM}/account_data/org.example", {"b": 1})
    assert await alice.get(f"{MINE}/account_data/org.example") == {"a": 0.5}
    assert await alice.get(f"{ROOM}/account_data/org.example") == {"b": 1}


async def test_a_sync_sees_what_changed_since_it_looked(served: Served, alice: Device) -> None:
    await alice.put(f"{MINE}/account_data/before", {})
    after = served.database.position
    await alice.put(f"{MINE}/account_data/a", {"a": 1})
    await alice.put(f"{ROOM}/account_data/b", {"b": 1})
    await alice.put(f"{MINE}/account_data/a", {"a": 2})
    until = served.database.position
    await alice.put(f"{MINE}/account_data/later", {})
    changed = served.database.read(
        lambda view: account_data.account_data_since(view, ALICE, after, until)
    )
    assert [(one.room_id, one.type, one.content) for one in changed] == [
        ("!room:alice.example", "b", b'{"b":1}'),
        (None, "a", b'{"a":2}'),
    ]


@pytest.mark.parametrize("place", [MINE, ROOM])
async def test_missing_account_data_is_not_found(alice: Device, place: str) -> None:
    status, answer = await alice.ask("GET", f"{place}/account_data/none")
    assert (status, answer["errcode"]) == (404, "M_NOT_FOUND")


@pytest.mark.parametrize("kind", ["m.fully_read", "m.push_rules"])
async def test_what_the_server_keeps_cannot_be_set(alice: Device, kind: str) -> None:
    status, answer = await alice.ask("PUT", f"{ROOM}/account_data/{kind}", {})
    assert (status, answer["errcode"]) == (405, "M_BAD_JSON")


async def test_the_push_rules_can_be_read_as_account_data(alice: Device) -> None:
    rules = await alice.get(f"{MINE}/account_data/m.push_rules")
    assert rules == await alice.get("/pushrules/")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/account_data/x"),
        ("PUT", "/account_data/x"),
        ("GET", "/rooms/!r:x/account_data/x"),
        ("GET", "/rooms/!r:x/tags"),
        ("PUT", "/rooms/!r:x/tags/t"),
        ("DELETE", "/rooms/!r:x/tags/t"),
        ("POST", "/filter"),
        ("GET", "/filter/x"),
    ],
)
async def test_other_peoples_things_are_forbidden(alice: Device, method: str, path: str) -> None:
    body: Any = {} if method in ("PUT", "POST") else None
    status, answer = await alice.ask(method, f"/user/@bob:bob.example{path}", body)
    assert (status, answer["errcode"]) == (403, "M_FORBIDDEN")


async def test_a_wrong_room_id_is_refused(alice: Device) -> None:
    status, answer = await alice.ask("GET", f"{MINE}/rooms/@x:y/account_data/x")
    assert (status, answer["errcode"]) == (400, "M_INVALID_PARAM")


@pytest.mark.parametrize("body", ["[1]", '"text"', "no json"])
async def test_account_data_is_an_object(alice: Device, body: str) -> None:
    async with alice.http.put(
        f"/_matrix/client/v3{MINE}/account_data/x",
        data=body,
        headers={"Authorization": f"Bearer {alice.token}"},
    ) as response:
        answer = await response.json()
    assert response.status == 400
    assert answer["errcode"] in ("M_BAD_JSON", "M_NOT_JSON")


async def test_content_that_is_nested_too_deeply_is_refused(alice: Device) -> None:
    nested: dict[str, Any] = {}
    for _ in range(300):
        nested = {"a": nested}
    status, answer = await alice.ask("PUT", f"{MINE}/account_data/x", nested)
    assert (status, answer["errcode"]) == (400, "M_BAD_JSON")


async def test_numbers_come_back_as_they_were_or_are_refused(alice: Device) -> None:
    kept = {"a": [0.5, 1e-9, 2**53 - 1, -(2**60)], "b": {"c": 2**64 - 1}}
    await alice.put(f"{MINE}/account_data/x", kept)
    assert await alice.get(f"{MINE}/account_data/x") == kept
    for huge in (10**40, -(2**64), [{"a": 1e300}]):
        for path in (f"{MINE}/account_data/x", f"{ROOM}/tags/u.x"):
            status, answer = await alice.ask("PUT", path, {"a": huge})
            assert (status, answer["errcode"]) == (400, "M_BAD_JSON")


async def test_tags_come_and_go(alice: Device) -> None:
    await alice.put(f"{ROOM}/tags/m.favourite", {"order": 0.25})
    await alice.put(f"{ROOM}/tags/u.work", {})
    assert await alice.ask("DELETE", f"{ROOM}/tags/u.none") == (200, {})
    assert await alice.ask("DELETE", f"{ROOM}/tags/u.work") == (200, {})
    expected = {"tags": {"m.favourite": {"order": 0.25}}}
    assert await alice.get(f"{ROOM}/tags") == expected
    assert await alice.get(f"{ROOM}/account_data/m.tag") == expected
    assert (await alice.ask("PUT", f"{ROOM}/tags/a", {"order": "first"}))[0] == 400


async def test_a_filter_is_kept_once(alice: Device) -> None:
    wanted = {"room": {"timeline": {"limit": 5, "types": ["m.room.*"]}}, "org.example": 1}
    first = await alice.post(f"{MINE}/filter", wanted)
    assert await alice.post(f"{MINE}/filter", wanted) == first
    assert not first["filter_id"].startswith("{")
    assert await alice.get(f"{MINE}/filter/{first['filter_id']}") == wanted
    assert (await alice.ask("GET", f"{MINE}/filter/none"))[0] == 404


@pytest.mark.parametrize(
    "wrong",
    [
        {"room": []},
        {"room": {"timeline": {"limit": "5"}}},
        {"room": {"timeline": {"limit": 0}}},
        {"room": {"state": {"lazy_load_members": 1}}},
        {"room": {"rooms": ["@not:room"]}},
        {"presence": {"not_senders": ["bob"]}},
        {"event_fields": "content"},
        {"event_format": "html"},
    ],
)
async def test_a_filter_with_wrong_types_is_refused(alice: Device, wrong: Any) -> None:
    status, answer = await alice.ask("POST", f"{MINE}/filter", wrong)
    assert (status, answer["errcode"]) == (400, "M_BAD_JSON")
