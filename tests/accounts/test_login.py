"""Logging in and out, refreshing, and what is told to nobody."""

import asyncio
from typing import Any

import pytest

from homeserver import errors
from homeserver.matrix.identifiers import DeviceId
from homeserver.storage import accounts
from homeserver.storage.database import Database
from tests.accounts.serving import (
    ALICE,
    PASSWORD,
    V3,
    Client,
    Device,
    Served,
    log_in,
    with_password,
)


async def post(http: Client, path: str, body: Any) -> tuple[int, Any]:
    async with http.post(V3 + path, json=body) as response:
        return response.status, await response.json()


def password_login(user: str, password: str = PASSWORD) -> dict[str, Any]:
    identifier = {"type": "m.id.user", "user": user}
    return {"type": "m.login.password", "identifier": identifier, "password": password}


async def test_the_flows_are_told_to_everybody(http: Client) -> None:
    response = await http.get(f"{V3}/login")
    flows = {flow["type"] for flow in (await response.json())["flows"]}
    assert flows == {"m.login.password", "m.login.token"}


@pytest.mark.parametrize(
    "name", ["alice", "Alice", "@alice", ALICE, "@Alice:ALICE.example", "alice:alice.example"]
)
async def test_any_spelling_of_the_name_logs_in(http: Client, name: str) -> None:
    status, answer = await post(http, "/login", password_login(name))
    assert status == 200
    assert answer["user_id"] == ALICE
    assert answer["home_server"] == "alice.example"
    assert "refresh_token" not in answer
    whoami = await Device(http, answer["device_id"], answer["access_token"]).get("/account/whoami")
    assert whoami == {"user_id": ALICE, "device_id": answer["device_id"], "is_guest": False}


async def test_the_name_may_stand_where_older_clients_put_it(http: Client) -> None:
    body = {"type": "m.login.password", "user": "alice", "password": PASSWORD}
    assert (await post(http, "/login", body))[0] == 200


@pytest.mark.parametrize(
    ("user", "password"),
    [("alice", "wrong"), ("bob", PASSWORD), ("@alice:bob.example", PASSWORD), ("alice", "")],
)
async def test_a_wrong_name_is_refused_like_a_wrong_password(
    http: Client, user: str, password: str
) -> None:
    status, answer = await post(http, "/login", password_login(user, password))
    assert status == 403
    assert answer == {"errcode": "M_FORBIDDEN", "error": "Wrong user name or password."}


async def test_an_unknown_user_takes_as_long_as_a_wrong_password(
    http: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[str] = []
    real = asyncio.to_thread

    async def counting(work: Any, *arguments: Any) -> Any:
        checked.append("argon2")
        return await real(work, *arguments)

    monkeypatch.setattr(asyncio, "to_thread", counting)
    await post(http, "/login", password_login("nobody"))
    assert checked == ["argon2"]


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        ({}, "M_BAD_JSON"),
        ({"type": "m.login.dummy", "token": "x"}, "M_UNKNOWN"),
        ({"type": "m.login.password", "user": "alice"}, "M_MISSING_PARAM"),
        ({"type": "m.login.password", "password": "x"}, "M_MISSING_PARAM"),
        (
            {
                "type": "m.login.password",
                "password": "x",
                "identifier": {"type": "m.id.thirdparty", "medium": "email"},
            },
            "M_INVALID_PARAM",
        ),
    ],
)
async def test_other_ways_in_are_refused(http: Client, body: Any, errcode: str) -> None:
    status, answer = await post(http, "/login", body)
    assert (status, answer["errcode"]) == (400, errcode)


async def test_a_device_that_logs_in_again_keeps_its_name_and_loses_its_token(
    http: Client, alice: Device
) -> None:
    again = await log_in(http, "PHONE", initial_device_display_name="another name")
    assert again.device_id == "PHONE"
    assert (await again.get("/devices/PHONE"))["display_name"] == "Alice's phone"
    status, answer = await alice.ask("GET", "/account/whoami")
    assert (status, answer["errcode"]) == (401, "M_UNKNOWN_TOKEN")


async def test_tokens_are_stored_as_hashes_only(alice: Device, database: Database) -> None:
    raw = database.read(lambda view: view.all(accounts.tokens.select()))
    assert len(raw) == 1
    assert alice.token not in repr(raw)


async def test_logging_out_ends_the_session_and_its_device(http: Client, alice: Device) -> None:
    other = await log_in(http, "LAPTOP")
    await alice.post("/logout", {})
    assert (await alice.ask("GET", "/account/whoami"))[0] == 401
    devices = (await other.get("/devices"))["devices"]
    assert [device["device_id"] for device in devices] == ["LAPTOP"]


async def test_logging_out_everywhere_ends_every_session(http: Client, alice: Device) -> None:
    other = await log_in(http)
    await other.post("/logout/all", {})
    for device in (alice, other):
        status, answer = await device.ask("GET", "/account/whoami")
        assert (status, answer["errcode"]) == (401, "M_UNKNOWN_TOKEN")


async def test_a_session_survives_a_restart(served: Served, alice: Device) -> None:
    restarted = Served(served.database)
    assert restarted.sessions.authenticate(alice.token).device_id == "PHONE"


async def test_a_token_that_is_not_text_is_unknown(served: Served) -> None:
    with pytest.raises(errors.UnknownToken):
        served.sessions.authenticate("\udcff")


async def refreshable(http: Client) -> tuple[Device, str]:
    status, answer = await post(http, "/login", password_login("alice") | {"refresh_token": True})
    assert status == 200
    assert answer["expires_in_ms"] == 3_600_000
    return Device(http, answer["device_id"], answer["access_token"]), answer["refresh_token"]


async def test_the_old_tokens_work_until_the_fresh_ones_are_used(http: Client) -> None:
    device, refresh_token = await refreshable(http)
    _, lost = await post(http, "/refresh", {"refresh_token": refresh_token})
    _, fresh = await post(http, "/refresh", {"refresh_token": refresh_token})
    assert lost["access_token"] != fresh["access_token"]
    assert (await device.ask("GET", "/account/whoami"))[0] == 200

    renewed = Device(http, device.device_id, fresh["access_token"])
    assert (await renewed.ask("GET", "/account/whoami"))[0] == 200
    await renewed.put("/user/@alice:alice.example/account_data/a", {})  # a write comes after

    assert (await device.ask("GET", "/account/whoami"))[0] == 401
    status, answer = await post(http, "/refresh", {"refresh_token": refresh_token})
    assert (status, answer["errcode"]) == (401, "M_UNKNOWN_TOKEN")
    assert (await post(http, "/refresh", {"refresh_token": fresh["refresh_token"]}))[0] == 200


async def test_an_expired_token_is_refused_softly(served: Served, http: Client) -> None:
    device, refresh_token = await refreshable(http)
    served.clock.seconds += 3_601
    status, answer = await device.ask("GET", "/account/whoami")
    assert (status, answer["errcode"], answer["soft_logout"]) == (401, "M_UNKNOWN_TOKEN", True)
    assert (await post(http, "/refresh", {"refresh_token": refresh_token}))[0] == 200


async def test_too_many_tries_are_told_to_come_back_later(database: Database) -> None:
    served = Served(database, logins_per_minute=2)
    await served.register()
    async with served.client() as http:
        for _ in range(2):
            assert (await post(http, "/login", password_login("alice", "wrong")))[0] == 403
        async with http.post(f"{V3}/login", json=password_login("alice")) as response:
            answer = await response.json()
            assert (response.status, answer["errcode"]) == (429, "M_LIMIT_EXCEEDED")
            assert 0 < answer["retry_after_ms"] <= 30_001
            assert response.headers["Retry-After"] in ("30", "31")
        served.clock.seconds += 31
        assert (await post(http, "/login", password_login("alice")))[0] == 200


async def test_nobody_registers_and_nobody_learns_who_lives_here(http: Client) -> None:
    assert (await post(http, "/register", {}))[0] == 403
    answers = set()
    for name in ("alice", "nobody", "not a name"):
        response = await http.get(f"{V3}/register/available", params={"username": name})
        answers.add((response.status, await response.text()))
    assert len(answers) == 1


async def test_the_password_can_be_changed_with_the_password(http: Client, alice: Device) -> None:
    other = await log_in(http, "LAPTOP")
    body: dict[str, Any] = {"new_password": "battery staple"}
    status, challenge = await alice.ask("POST", "/account/password", body)
    assert status == 401
    assert challenge["flows"] == [{"stages": ["m.login.password"]}]

    status, wrong = await alice.ask(
        "POST", "/account/password", body | {"auth": with_password(challenge, "guess")}
    )
    assert (status, wrong["errcode"], wrong["session"]) == (
        401,
        "M_FORBIDDEN",
        challenge["session"],
    )
    await alice.post("/account/password", body | {"auth": with_password(challenge)})

    assert (await alice.ask("GET", "/account/whoami"))[0] == 200
    assert (await other.ask("GET", "/account/whoami"))[0] == 401
    assert (await post(http, "/login", password_login("alice")))[0] == 403
    assert (await post(http, "/login", password_login("alice", "battery staple")))[0] == 200


async def test_other_sessions_may_stay_when_the_password_changes(
    http: Client, alice: Device
) -> None:
    other = await log_in(http, "LAPTOP")
    body: dict[str, Any] = {"new_password": "battery staple", "logout_devices": False}
    _, challenge = await alice.ask("POST", "/account/password", body)
    await alice.post("/account/password", body | {"auth": with_password(challenge)})
    assert (await other.ask("GET", "/account/whoami"))[0] == 200


async def test_a_device_may_not_be_named_like_a_cross_signing_key(
    http: Client, alice: Device
) -> None:
    name = "A" * 43
    key = {"user_id": ALICE, "usage": ["master"], "keys": {f"ed25519:{name}": name}}
    await alice.post("/keys/device_signing/upload", {"master_key": key})
    status, answer = await post(http, "/login", password_login("alice") | {"device_id": name})
    assert (status, answer["errcode"]) == (403, "M_FORBIDDEN")
    assert DeviceId(name) not in {
        device["device_id"] for device in (await alice.get("/devices"))["devices"]
    }


async def test_a_password_that_changes_while_it_is_checked_lets_nobody_in(
    served: Served, http: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = asyncio.to_thread

    async def overtaken(work: Any, *arguments: Any) -> Any:
        result = await real(work, *arguments)
        await served.database.write(
            lambda work: accounts.save_password_hash(work, ALICE, "another hash")
        )
        return result

    monkeypatch.setattr(asyncio, "to_thread", overtaken)
    status, answer = await post(http, "/login", password_login("alice"))
    assert (status, answer["errcode"]) == (403, "M_FORBIDDEN")
    assert served.database.read(lambda view: accounts.list_devices(view, ALICE)) == []
