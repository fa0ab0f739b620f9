"""Log in and out, refresh, devices, passwords, profile, account data, tags."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.checking_proxy import CheckedServer
from tests.conformance.device import Device, part, password_login, state_path

FORBIDDEN = (403, "M_FORBIDDEN")


def test_the_password_opens(checked: CheckedServer, newcomer: Device) -> None:
    assert {"type": "m.login.password"} in newcomer.call("GET", "/login")["flows"]
    password = checked.server.password
    answer = newcomer.call("POST", "/login", password_login("alice", password))
    by_id = newcomer.call("POST", "/login", password_login(answer["user_id"], password))
    legacy = {"type": "m.login.password", "user": "alice", "password": password}
    by_name = newcomer.call("POST", "/login", legacy)
    assert by_id["user_id"] == by_name["user_id"] == answer["user_id"]
    assert len({one["device_id"] for one in (answer, by_id, by_name)}) == 3


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"password": "wrong"}, FORBIDDEN),
        ({"identifier": {"type": "m.id.user", "user": "zed"}}, FORBIDDEN),
        ({"identifier": {"type": "m.id.user", "user": "@alice:elsewhere"}}, FORBIDDEN),
        ({"identifier": {"type": "m.id.user", "user": "a\0lice"}}, FORBIDDEN),
        ({"identifier": {"type": "m.id.user", "user": "a" * 9000}}, FORBIDDEN),
        ({"type": "m.login.unknown"}, (400, "M_UNKNOWN")),
        ({"type": 1}, (400, "M_BAD_JSON")),
        ({"password": 1}, (400, "M_BAD_JSON")),
        ({"identifier": "alice"}, (400, "M_BAD_JSON")),
        ({"password": None}, (400, "M_MISSING_PARAM")),
        ({"identifier": None}, (400, "M_MISSING_PARAM")),
        ({"device_id": ""}, (400, "M_INVALID_PARAM")),
        ({"device_id": "x" * 300}, (400, "M_INVALID_PARAM")),
    ],
)
def test_nothing_else_opens(
    checked: CheckedServer, stranger: Device, change: dict[str, Any], refusal: tuple[int, str]
) -> None:
    body = password_login("alice", checked.server.password) | change
    assert stranger.refused("POST", "/login", body) == refusal


def test_a_device_has_one_session(log_in: Callable[..., Device]) -> None:
    first = log_in(device_id="SLATE", initial_device_display_name="Tablet")
    second = log_in(device_id="SLATE")
    assert first.refused("GET", "/account/whoami") == (401, "M_UNKNOWN_TOKEN")
    assert second.call("GET", "/devices/SLATE")["display_name"] == "Tablet"
    second.call("PUT", "/devices/SLATE", {"display_name": "Slate"})
    second.call("POST", "/logout", {})
    assert second.refused("POST", "/logout", {}) == (401, "M_UNKNOWN_TOKEN")


def test_tokens_can_be_renewed(checked: CheckedServer, newcomer: Device) -> None:
    body = password_login("alice", checked.server.password) | {"refresh_token": True}
    begun = newcomer.call("POST", "/login", body)
    renewed = newcomer.call("POST", "/refresh", {"refresh_token": begun["refresh_token"]})
    again = newcomer.call("POST", "/refresh", {"refresh_token": begun["refresh_token"]})
    newcomer.token = again["access_token"]
    assert newcomer.call("GET", "/account/whoami")["device_id"] == begun["device_id"]
    newcomer.token = renewed["access_token"]  # lost on the way, as the repetition shows
    assert newcomer.refused("GET", "/account/whoami") == (401, "M_UNKNOWN_TOKEN")
    newcomer.token = None
    for spent in (begun["refresh_token"], renewed["refresh_token"], "x"):
        unknown = newcomer.refused("POST", "/refresh", {"refresh_token": spent})
        assert unknown == (401, "M_UNKNOWN_TOKEN")
    assert newcomer.refused("POST", "/refresh", {}) == (400, "M_BAD_JSON")


def test_nobody_registers(stranger: Device) -> None:
    assert stranger.refused("POST", "/register", {}) == FORBIDDEN
    assert stranger.refused("GET", "/register/available", username="alice") == FORBIDDEN


def test_deleting_devices_takes_the_password(
    alice: Device, log_in: Callable[..., Device], checked: CheckedServer
) -> None:
    other = log_in(device_id="OLD")
    wanted = [one["device_id"] for one in alice.call("GET", "/devices")["devices"]]
    assert {"PHONE", "OLD"} <= set(wanted)
    asked = alice.ask("DELETE", "/devices/OLD", {})
    assert asked.status == 401
    session = asked.json["session"]
    proof = password_login("alice", "wrong") | {"session": session}
    assert alice.refused("DELETE", "/devices/OLD", {"auth": proof}) == (401, "M_FORBIDDEN")
    proof["password"] = checked.server.password
    alice.call("DELETE", "/devices/OLD", {"auth": proof})
    assert other.refused("GET", "/account/whoami") == (401, "M_UNKNOWN_TOKEN")
    assert alice.refused("GET", "/devices/OLD") == (404, "M_NOT_FOUND")
    assert alice.refused("PUT", "/devices/OLD", {}) == (404, "M_NOT_FOUND")
    assert alice.ask("POST", "/delete_devices", {"devices": ["X"]}).status == 401
    assert alice.ask("POST", "/account/password", {"new_password": "y" * 12}).status == 401


@pytest.mark.parametrize(
    ("field", "body", "refusal"),
    [
        ("displayname", {}, (400, "M_MISSING_PARAM")),
        ("displayname", {"displayname": 1}, (400, "M_INVALID_PARAM")),
        ("displayname", {"displayname": "x" * 300}, (400, "M_INVALID_PARAM")),
        ("avatar_url", {"avatar_url": "https://example.org"}, (400, "M_INVALID_PARAM")),
        ("org.example.x", {"other": 1}, (400, "M_MISSING_PARAM")),
        ("org.example.x", {"org.example.x": "x" * 66_000}, (400, "M_PROFILE_TOO_LARGE")),
        ("k" * 256, {"k" * 256: 1}, (400, "M_KEY_TOO_LARGE")),
        ("Not A Name", {"Not A Name": 1}, (400, "M_INVALID_PARAM")),
    ],
)
def test_a_profile_has_its_limits(
    alice: Device, field: str, body: Any, refusal: tuple[int, str]
) -> None:
    path = f"/profile/{alice.me}/{part(field)}"
    assert alice.refused("PUT", path, body) == refusal


def test_a_profile_is_told_to_rooms(alice: Device, bob: Device) -> None:
    room_id = alice.create_room()
    alice.call("PUT", f"/profile/{alice.me}/displayname", {"displayname": "Älice"})
    assert alice.call("GET", f"/profile/{alice.me}")["displayname"] == "Älice"
    assert alice.state(room_id, "m.room.member", alice.user_id)["displayname"] == "Älice"
    alice.call("PUT", f"/profile/{alice.me}/org.example.x", {"org.example.x": [1]})
    assert alice.call("GET", f"/profile/{alice.me}/org.example.x") == {"org.example.x": [1]}
    alice.call("DELETE", f"/profile/{alice.me}/org.example.x")
    missing = alice.refused("GET", f"/profile/{alice.me}/org.example.x")
    assert missing == (404, "M_NOT_FOUND")
    theirs = f"/profile/{bob.me}/displayname"
    assert alice.refused("PUT", theirs, {"displayname": "x"}) == FORBIDDEN
    nobody = part(f"@nobody:{alice.server_name}")
    assert alice.refused("GET", f"/profile/{nobody}") == (404, "M_NOT_FOUND")
    assert alice.refused("GET", "/profile/nobody") == (400, "M_INVALID_PARAM")


def test_account_data(alice: Device, bob: Device) -> None:
    room_id = alice.create_room()
    own, in_room = f"/user/{alice.me}", f"/user/{alice.me}/rooms/{part(room_id)}"
    since = alice.next_batch()
    for place in (own, in_room):
        alice.call("PUT", f"{place}/account_data/{part('org/x')}", {"a": 1})
        assert alice.call("GET", f"{place}/account_data/{part('org/x')}") == {"a": 1}
        nothing = alice.refused("GET", f"{place}/account_data/none")
        assert nothing == (404, "M_NOT_FOUND")
        by_server = alice.refused("PUT", f"{place}/account_data/m.fully_read", {})
        assert by_server == (405, "M_BAD_JSON")
    assert alice.refused("PUT", f"{own}/account_data/m.push_rules", {}) == (405, "M_BAD_JSON")
    bobs = f"/user/{bob.me}/account_data/x"
    assert alice.refused("PUT", bobs, {}) == alice.refused("GET", bobs) == FORBIDDEN
    bad_room = f"{own}/rooms/kitchen/account_data/x"
    assert alice.refused("PUT", bad_room, {}) == (400, "M_INVALID_PARAM")
    told = alice.sync(since)
    assert told["account_data"]["events"] == [{"type": "org/x", "content": {"a": 1}}]
    assert told["rooms"]["join"][room_id]["account_data"]["events"] == [
        {"type": "org/x", "content": {"a": 1}}
    ]


def test_tags(alice: Device) -> None:
    room_id = alice.create_room()
    tags = f"/user/{alice.me}/rooms/{part(room_id)}/tags"
    alice.call("PUT", f"{tags}/m.favourite", {"order": 0.5})
    alice.call("PUT", f"{tags}/{part('u.a/b')}", {})
    assert alice.call("GET", tags) == {"tags": {"m.favourite": {"order": 0.5}, "u.a/b": {}}}
    alice.call("DELETE", f"{tags}/m.favourite")
    assert alice.call("GET", tags) == {"tags": {"u.a/b": {}}}
    bad_order = alice.refused("PUT", f"{tags}/u.x", {"order": "first"})
    assert bad_order == (400, "M_INVALID_PARAM")
    too_long = alice.refused("PUT", f"{tags}/{'x' * 300}", {})
    assert too_long == (400, "M_INVALID_PARAM")


def test_a_member_event_is_not_lost_in_names(alice: Device) -> None:
    room_id = alice.create_room()
    path = state_path(room_id, "m.room.member", alice.user_id)
    first = alice.call("PUT", path, {"membership": "join"})
    assert alice.call("PUT", path, {"membership": "join"}) == first
