"""What this server does not have is refused as the specification wants it refused."""

import base64
import hashlib
import hmac
from pathlib import Path

import pytest

from homeserver.config import VoipSettings
from homeserver.storage.database import Database
from tests.accounts.serving import ALICE, V3, Client, Device, Served, log_in

V1 = "/_matrix/client/v1"


@pytest.mark.parametrize(
    "path",
    [
        "/account/3pid/email/requestToken",
        "/account/3pid/msisdn/requestToken",
        "/account/password/email/requestToken",
        "/register/email/requestToken",
    ],
)
async def test_no_code_is_sent_to_anybody(http: Client, path: str) -> None:
    body = {"client_secret": "s", "email": "a@example.org", "send_attempt": 1}
    async with http.post(V3 + path, json=body) as response:
        assert response.status == 403
        assert (await response.json())["errcode"] == "M_THREEPID_DENIED"


async def test_no_address_is_kept(alice: Device) -> None:
    assert await alice.get("/account/3pid") == {"threepids": []}
    status, answer = await alice.ask(
        "POST", "/account/3pid/add", {"client_secret": "s", "sid": "1"}
    )
    assert (status, answer["errcode"]) == (403, "M_THREEPID_DENIED")
    gone = await alice.post("/account/3pid/delete", {"medium": "email", "address": "a@example.org"})
    assert gone == {"id_server_unbind_result": "no-support"}


async def test_there_are_no_bridges(alice: Device) -> None:
    assert await alice.get("/thirdparty/protocols") == {}
    assert await alice.get("/thirdparty/location?alias=%23a:b.example") == []
    status, answer = await alice.ask("GET", "/thirdparty/protocol/irc")
    assert (status, answer["errcode"]) == (404, "M_NOT_FOUND")


@pytest.mark.parametrize(
    ("path", "status", "errcode"),
    [
        (f"{V1}/auth_metadata", 404, "M_UNRECOGNIZED"),
        (f"{V3}/login/sso/redirect?redirectUrl=https://example.org", 404, "M_NOT_FOUND"),
        (f"{V1}/register/m.login.registration_token/validity?token=x", 403, "M_FORBIDDEN"),
        ("/.well-known/matrix/support", 404, "M_NOT_FOUND"),
        ("/.well-known/matrix/policy_server", 404, "M_NOT_FOUND"),
    ],
)
async def test_strangers_are_told_nothing(
    http: Client, path: str, status: int, errcode: str
) -> None:
    async with http.get(path) as response:
        assert (response.status, (await response.json())["errcode"]) == (status, errcode)


async def test_the_owner_cannot_be_locked_out_by_their_own_client(alice: Device) -> None:
    for what in ("lock", "suspend"):
        status, answer = await alice.ask("GET", f"/admin/{what}/{ALICE}", prefix=V1)
        assert (status, list(answer.values())) == (200, [False])
        body = {f"{what}ed": True}
        status, answer = await alice.ask("PUT", f"/admin/{what}/{ALICE}", body, prefix=V1)
        assert (status, answer["errcode"]) == (403, "M_FORBIDDEN")
        status, _ = await alice.ask("GET", f"/admin/{what}/@bob:bob.example", prefix=V1)
        assert status == 404


async def test_the_owner_sees_their_sessions(http: Client, alice: Device) -> None:
    await log_in(http, "LAPTOP")
    answer = await alice.get(f"/admin/whois/{ALICE}")
    assert sorted(answer["devices"]) == ["LAPTOP", alice.device_id]


async def test_without_a_relay_clients_are_told_that_there_is_none(alice: Device) -> None:
    status, answer = await alice.ask("GET", "/voip/turnServer")
    assert (status, answer["errcode"]) == (404, "M_NOT_FOUND")


async def test_a_relay_accepts_what_clients_are_given(database: Database, tmp_path: Path) -> None:
    (tmp_path / "turn").write_text("shared secret\n")
    voip = VoipSettings(turn_urls=("turn:turn.example.org",), turn_secret_file=Path("turn"))
    served = Served(database, voip=voip, directory=tmp_path)
    await served.register()
    async with served.client() as http:
        given = await (await log_in(http)).get("/voip/turnServer")
    expires_at, _, name = given["username"].partition(":")
    assert int(expires_at) == served.clock.now_ms() // 1_000 + given["ttl"]
    assert "alice" not in name
    expected = hmac.new(b"shared secret", given["username"].encode(), hashlib.sha1).digest()
    assert given["password"] == base64.b64encode(expected).decode()
    assert given["uris"] == ["turn:turn.example.org"]
