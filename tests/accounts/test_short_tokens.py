"""Tokens that count for a moment: for the owner's next client, and for widgets."""

from typing import Any

from tests.accounts.serving import ALICE, V3, Client, Device, Served, with_password

V1 = "/_matrix/client/v1"
USERINFO = "/_matrix/federation/v1/openid/userinfo"


async def login_token(alice: Device) -> str:
    status, challenge = await alice.ask("POST", "/login/get_token", {}, prefix=V1)
    assert status == 401
    body = {"auth": with_password(challenge)}
    status, answer = await alice.ask("POST", "/login/get_token", body, prefix=V1)
    assert status == 200, answer
    assert answer["expires_in_ms"] == 120_000
    return str(answer["login_token"])


async def enter(http: Client, token: Any) -> tuple[int, Any]:
    body = {"type": "m.login.token", "token": token}
    async with http.post(f"{V3}/login", json=body) as response:
        return response.status, await response.json()


async def test_a_login_token_logs_in_the_next_client_once(http: Client, alice: Device) -> None:
    token = await login_token(alice)
    status, answer = await enter(http, token)
    assert (status, answer["user_id"]) == (200, ALICE)
    assert answer["device_id"] != alice.device_id
    status, answer = await enter(http, token)
    assert (status, answer["errcode"]) == (403, "M_FORBIDDEN")


async def test_a_new_password_ends_login_tokens_too(http: Client, alice: Device) -> None:
    token = await login_token(alice)
    _, challenge = await alice.ask("POST", "/account/password", {"new_password": "another one"})
    body = {"new_password": "another one", "auth": with_password(challenge)}
    await alice.post("/account/password", body)
    assert (await enter(http, token))[0] == 403


async def test_a_login_token_does_not_wait_for_ever(
    served: Served, http: Client, alice: Device
) -> None:
    token = await login_token(alice)
    served.clock.seconds += 121
    assert (await enter(http, token))[0] == 403


async def test_what_is_no_token_is_told_so(http: Client) -> None:
    assert (await enter(http, None))[1]["errcode"] == "M_MISSING_PARAM"
    assert (await enter(http, "made up"))[1]["errcode"] == "M_FORBIDDEN"


async def test_tokens_that_nobody_uses_are_bounded(served: Served, alice: Device) -> None:
    path = f"/user/{ALICE}/openid/request_token"
    given = [await alice.ask("POST", path, {}) for _ in range(101)]
    assert [status for status, _ in given].count(200) == 100
    assert given[-1][0] == 429
    served.clock.seconds += 3_601
    assert (await alice.ask("POST", path, {}))[0] == 200


async def test_a_widget_learns_who_the_owner_is_and_nothing_else(
    http: Client, alice: Device
) -> None:
    given = await alice.post(f"/user/{ALICE}/openid/request_token", {})
    assert given["matrix_server_name"] == "alice.example"
    assert given["expires_in"] == 3_600
    asked = {"access_token": given["access_token"]}
    async with http.get(USERINFO, params=asked) as response:
        assert await response.json() == {"sub": ALICE}
    status, answer = await Device(http, "", given["access_token"]).ask("GET", "/account/whoami")
    assert (status, answer["errcode"]) == (401, "M_UNKNOWN_TOKEN")
    assert (await enter(http, given["access_token"]))[0] == 403


async def test_a_made_up_token_shows_nobody(http: Client, alice: Device) -> None:
    async with http.get(USERINFO, params={"access_token": alice.token}) as response:
        assert response.status == 401
        assert (await response.json())["errcode"] == "M_UNKNOWN_TOKEN"


async def test_nobody_gets_a_token_for_somebody_else(alice: Device) -> None:
    status, answer = await alice.ask("POST", "/user/@bob:bob.example/openid/request_token", {})
    assert (status, answer["errcode"]) == (403, "M_FORBIDDEN")
