"""What every endpoint does alike: CORS, methods, tokens, JSON."""

import gzip
import re
from collections.abc import Iterator

import pytest

from api.client.tables import all_routes
from tests.checking_proxy import CheckedServer
from tests.conformance.device import Device, send_path

VERSIONS = "/_matrix/client/versions"
OPEN = {
    ("GET", VERSIONS),
    ("GET", "/.well-known/matrix/client"),
    ("GET", "/_matrix/client/v3/login"),
    ("POST", "/_matrix/client/v3/login"),
    ("POST", "/_matrix/client/v3/refresh"),
    ("POST", "/_matrix/client/v3/register"),
    ("GET", "/_matrix/client/v3/register/available"),
    ("GET", "/_matrix/client/v1/register/m.login.registration_token/validity"),
    ("POST", "/_matrix/client/v3/register/email/requestToken"),
    ("POST", "/_matrix/client/v3/register/msisdn/requestToken"),
    ("POST", "/_matrix/client/v3/account/3pid/email/requestToken"),
    ("POST", "/_matrix/client/v3/account/3pid/msisdn/requestToken"),
    ("POST", "/_matrix/client/v3/account/password/email/requestToken"),
    ("POST", "/_matrix/client/v3/account/password/msisdn/requestToken"),
    ("GET", "/_matrix/client/v3/login/sso/redirect"),
    ("GET", "/_matrix/client/v3/login/sso/redirect/x"),
    ("GET", "/_matrix/client/v1/auth_metadata"),
    ("POST", "/_matrix/client/v1/appservice/x/ping"),
    ("GET", "/_matrix/federation/v1/openid/userinfo"),
    ("GET", "/.well-known/matrix/support"),
    ("GET", "/.well-known/matrix/policy_server"),
    # Frozen: they find nothing, whoever asks.
    ("GET", "/_matrix/media/v3/download/x/x"),
    ("GET", "/_matrix/media/v3/download/x/x/x"),
    ("GET", "/_matrix/media/v3/thumbnail/x/x"),
}


def requests() -> Iterator[tuple[str, str]]:
    """Every route with `x` for each name in its path."""
    for route in all_routes():
        if "/r0/" not in route.path:
            yield route.method, re.sub(r"{[^}]+}", "x", route.path)


def test_only_a_few_answer_without_a_token(stranger: Device) -> None:
    for method, path in requests():
        reply = stranger.ask(method, path, None if method == "GET" else {})
        assert reply.headers["Access-Control-Allow-Origin"] == "*", path
        if (method, path) in OPEN:
            assert reply.status != 401, path
        else:
            assert reply.refusal == (401, "M_MISSING_TOKEN"), path


def test_an_unknown_token_is_called_so_whatever_is_asked(stranger: Device) -> None:
    stranger.token = "nobody's"
    for method, path in requests():
        if (method, path) not in OPEN:
            body = None if method == "GET" else b"{not json"
            assert stranger.refused(method, path, body) == (401, "M_UNKNOWN_TOKEN"), path


@pytest.mark.parametrize(
    "body",
    [b"{", b"\xff\xfe{}", b'{"a": NaN}', b'{"a": "\\ud800"}', b'{"a":' * 5000, b"\xef\xbb\xbf{}"],
)
def test_what_is_not_json_is_never_taken(alice: Device, body: bytes) -> None:
    for method, path in (
        ("POST", "/createRoom"),
        ("PUT", send_path("!x:y", "m.room.message")),
        ("PUT", f"/user/{alice.me}/account_data/m.x"),
        ("POST", "/keys/upload"),
        ("POST", "/login"),
        ("PUT", "/pushrules/global/override/x"),
    ):
        assert alice.refused(method, path, body) == (400, "M_NOT_JSON"), path


def test_a_body_may_be_compressed(alice: Device) -> None:
    headers = {"Content-Encoding": "gzip"}
    content = gzip.compress(b'{"name": "small"}')
    assert alice.ask("POST", "/createRoom", content, headers=headers).status == 200
    bomb = gzip.compress(b'{"name": "' + b"x" * 10_000_000)
    reply = alice.ask("POST", "/createRoom", bomb, headers=headers)
    assert reply.refusal == (413, "M_TOO_LARGE")


def test_a_body_that_is_not_compressed_as_it_says(stranger: Device) -> None:
    reply = stranger.ask("POST", "/login", b"{}", headers={"Content-Encoding": "gzip"})
    assert reply.refusal == (400, "M_NOT_JSON")


@pytest.mark.parametrize("body", [b"[]", b"1", b'"x"', b"null"])
def test_a_body_is_an_object(alice: Device, body: bytes) -> None:
    for method, path in requests():
        takes_files = path.startswith("/_matrix/media") or "room_keys/keys" in path
        if method in ("PUT", "POST") and not takes_files and "/log" not in path:
            assert alice.refused(method, path, body) == (400, "M_BAD_JSON"), path


@pytest.mark.parametrize(
    "path",
    [
        "/_matrix/client/v3/nothing",
        "/_matrix/client/v9/sync",
        "/_matrix/client/v3/rooms//state",
        "/_matrix/nothing",
        "/_matrix",
    ],
)
def test_what_is_unknown_is_unrecognized(stranger: Device, path: str) -> None:
    for method in ("GET", "PUT", "POST", "DELETE"):
        assert stranger.refused(method, path) == (404, "M_UNRECOGNIZED")


def test_a_wrong_method_is_unrecognized(stranger: Device) -> None:
    for method, path in (
        ("DELETE", "/sync"),
        ("PATCH", "/sync"),
        ("PUT", "/login"),
        ("POST", VERSIONS),
        ("GET", "/createRoom"),
    ):
        reply = stranger.ask(method, path)
        assert reply.refusal == (405, "M_UNRECOGNIZED")
        assert method not in reply.headers["Allow"]
        assert reply.headers["Access-Control-Allow-Origin"] == "*"


def test_browsers_may_ask_first(stranger: Device) -> None:
    for path in ("/sync", VERSIONS, "/.well-known/matrix/client", "/_matrix/media/v3/upload"):
        reply = stranger.ask("OPTIONS", path)
        assert reply.status in (200, 204)
        assert reply.headers["Access-Control-Allow-Origin"] == "*"
        assert {"GET", "POST", "PUT", "DELETE", "OPTIONS"} <= set(
            reply.headers["Access-Control-Allow-Methods"].split(", ")
        )
        assert {"X-Requested-With", "Content-Type", "Authorization"} <= set(
            reply.headers["Access-Control-Allow-Headers"].split(", ")
        )


def test_head_is_get_without_a_body(stranger: Device, checked: CheckedServer) -> None:
    reply = stranger.ask("HEAD", VERSIONS)
    assert (reply.status, reply.content) == (200, b"")
    assert reply.headers["Content-Type"].startswith("application/json")
    assert stranger.ask("HEAD", "/sync").status == 401


def test_tokens_come_in_the_header_or_the_query(alice: Device, stranger: Device) -> None:
    who = "/account/whoami"
    assert alice.call("GET", who)["device_id"] == "PHONE"
    assert stranger.call("GET", f"{who}?access_token={alice.token}")["user_id"] == alice.user_id
    for header, errcode in (
        (f"bearer {alice.token}", ""),
        ("Bearer", "M_MISSING_TOKEN"),
        ("Basic abc", "M_MISSING_TOKEN"),
        ("Bearer " + "x" * 5000, "M_UNKNOWN_TOKEN"),
        ("Bearer \xff", "M_UNKNOWN_TOKEN"),
    ):
        reply = stranger.ask("GET", who, headers={"Authorization": header})
        assert reply.json.get("errcode", "") == errcode, header


def test_names_hold_no_nul(alice: Device) -> None:
    for method, path in (
        ("GET", "/rooms/%00/state"),
        ("PUT", "/rooms/!x/send/m.room.message/%00"),
        ("PUT", "/rooms/!x/state/m.room.topic/%00"),
        ("GET", f"/user/{alice.me}/account_data/%00"),
        ("GET", "/publicRooms?server=%00"),
    ):
        assert alice.refused(method, path, b"{}") == (400, "M_INVALID_PARAM")


def test_what_this_server_is(stranger: Device, alice: Device) -> None:
    versions = stranger.call("GET", VERSIONS)["versions"]
    assert {f"v1.{minor}" for minor in range(1, 20)} <= set(versions)
    homeserver = stranger.call("GET", "/.well-known/matrix/client")["m.homeserver"]
    assert homeserver["base_url"].startswith("http")
    capabilities = alice.call("GET", "/capabilities")["capabilities"]
    assert capabilities["m.room_versions"]["default"] == "12"
    assert set(capabilities["m.room_versions"]["available"]) == {"10", "11", "12"}
