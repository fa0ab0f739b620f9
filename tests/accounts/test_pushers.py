"""Pushers name gateways that the owner allowed, and go with the device that set them."""

from typing import Any

import pytest

from tests.accounts.serving import GATEWAY, PASSWORD, Client, Device, log_in, with_password

PUSHER = {
    "app_id": "org.example.app",
    "pushkey": "key 1",
    "kind": "http",
    "app_display_name": "App",
    "device_display_name": "Phone",
    "lang": "en",
    "data": {"url": GATEWAY, "format": "event_id_only", "brand": "kept"},
}


async def set_pusher(device: Device, **changes: Any) -> tuple[int, Any]:
    return await device.ask("POST", "/pushers/set", PUSHER | changes)


async def test_a_pusher_is_kept_as_it_was_set(alice: Device) -> None:
    assert await alice.get("/pushers") == {"pushers": []}
    assert await set_pusher(alice) == (200, {})
    assert await alice.get("/pushers") == {"pushers": [PUSHER]}
    assert await set_pusher(alice, lang="eo") == (200, {})
    assert await alice.get("/pushers") == {"pushers": [PUSHER | {"lang": "eo"}]}


async def test_a_pusher_of_no_kind_is_deleted(alice: Device) -> None:
    await set_pusher(alice)
    assert await set_pusher(alice, kind=None) == (200, {})
    assert await set_pusher(alice, kind=None) == (200, {})
    assert await alice.get("/pushers") == {"pushers": []}


async def test_a_gateway_that_the_owner_has_not_allowed_is_refused(alice: Device) -> None:
    for data in ({"url": "https://elsewhere.example/_matrix/push/v1/notify"}, {}):
        status, answer = await set_pusher(alice, data=data)
        assert (status, answer["errcode"]) == (403, "M_FORBIDDEN")
        assert "push.gateways" in answer["error"]
    assert await alice.get("/pushers") == {"pushers": []}


@pytest.mark.parametrize(
    "changes",
    [{"kind": "email"}, {"pushkey": ""}, {"app_id": "a" * 65}, {"pushkey": "k" * 513}],
)
async def test_what_is_no_pusher_is_refused(alice: Device, changes: dict[str, Any]) -> None:
    status, answer = await set_pusher(alice, **changes)
    assert (status, answer["errcode"]) == (400, "M_BAD_JSON")


async def test_pushers_are_bounded(alice: Device) -> None:
    for number in range(50):
        assert (await set_pusher(alice, pushkey=str(number)))[0] == 200
    assert (await set_pusher(alice, pushkey="one more"))[0] == 429
    assert (await set_pusher(alice, pushkey="0", lang="eo"))[0] == 200


async def test_pushers_go_with_the_device_that_set_them(http: Client, alice: Device) -> None:
    laptop = await log_in(http, "LAPTOP")
    await set_pusher(alice)
    await set_pusher(laptop, pushkey="key 2")
    await laptop.post("/logout", {})
    assert [one["pushkey"] for one in (await alice.get("/pushers"))["pushers"]] == ["key 1"]


async def test_a_new_password_ends_the_pushers_of_the_others(http: Client, alice: Device) -> None:
    laptop = await log_in(http, "LAPTOP")
    await set_pusher(alice)
    await set_pusher(laptop, pushkey="key 2")
    _, challenge = await alice.ask("POST", "/account/password", {"new_password": "another one"})
    body = {"new_password": "another one", "auth": with_password(challenge, PASSWORD)}
    await alice.post("/account/password", body)
    assert [one["pushkey"] for one in (await alice.get("/pushers"))["pushers"]] == ["key 1"]
