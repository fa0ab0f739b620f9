"""Devices: shown, renamed, and deleted with the password only."""

from typing import Any

import pytest

from homeserver import errors
from homeserver.accounts.interactive_auth import InteractiveAuth
from homeserver.matrix.identifiers import DeviceId
from homeserver.ports import Requester
from tests.accounts.serving import ALICE, Client, Device, Served, log_in, with_password

PHONE = Requester(ALICE, DeviceId("PHONE"))


async def test_devices_are_listed_with_the_time_they_were_seen(
    served: Served, http: Client, alice: Device
) -> None:
    await log_in(http, "LAPTOP")
    served.clock.seconds += 60
    devices = (await alice.get("/devices"))["devices"]
    now = served.clock.now_ms()
    assert devices == [
        {
            "device_id": "LAPTOP",
            "display_name": "",
            "last_seen_ip": "",
            "last_seen_ts": now - 60_000,
        },
        {
            "device_id": "PHONE",
            "display_name": "Alice's phone",
            "last_seen_ip": "",
            "last_seen_ts": now,
        },
    ]


async def test_a_device_is_renamed(alice: Device) -> None:
    await alice.put("/devices/PHONE", {"display_name": "red"})
    await alice.put("/devices/PHONE", {})
    assert (await alice.get("/devices/PHONE"))["display_name"] == "red"


@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_an_unknown_device_is_not_found(alice: Device, method: str) -> None:
    status, answer = await alice.ask(method, "/devices/NONE", None if method == "GET" else {})
    assert (status, answer["errcode"]) == (404, "M_NOT_FOUND")


async def test_deleting_a_device_needs_the_password_and_ends_its_session(
    http: Client, alice: Device
) -> None:
    other = await log_in(http, "LAPTOP")
    status, challenge = await alice.ask("DELETE", "/devices/LAPTOP")
    assert status == 401
    assert set(challenge) == {"flows", "params", "session", "completed"}
    auth = {"auth": with_password(challenge)}
    assert await alice.ask("DELETE", "/devices/LAPTOP", auth) == (200, {})
    assert (await other.ask("GET", "/account/whoami"))[0] == 401
    assert (await alice.ask("GET", "/devices/LAPTOP"))[0] == 404


async def test_a_confirmation_is_good_for_one_thing_once(http: Client, alice: Device) -> None:
    for name in ("A", "B", "C"):
        await log_in(http, name)
    _, challenge = await alice.ask("POST", "/delete_devices", {"devices": ["A"]})
    auth = {"auth": with_password(challenge)}

    status, another = await alice.ask("POST", "/delete_devices", {"devices": ["B"]} | auth)
    assert status == 401
    assert another["session"] != challenge["session"]
    await alice.post("/delete_devices", {"devices": ["A"]} | auth)
    assert (await alice.ask("POST", "/delete_devices", {"devices": ["A"]} | auth))[0] == 401
    devices = (await alice.get("/devices"))["devices"]
    assert [device["device_id"] for device in devices] == ["B", "C", "PHONE"]


async def test_a_password_without_a_session_is_enough(http: Client, alice: Device) -> None:
    await log_in(http, "LAPTOP")
    auth: dict[str, Any] = with_password({"session": ""})
    del auth["session"]
    await alice.post("/delete_devices", {"devices": ["LAPTOP"], "auth": auth})
    assert (await alice.ask("GET", "/devices/LAPTOP"))[0] == 404


async def test_another_persons_name_confirms_nothing(alice: Device) -> None:
    _, challenge = await alice.ask("DELETE", "/devices/PHONE")
    auth = with_password(challenge) | {"identifier": {"type": "m.id.user", "user": "bob"}}
    assert (await alice.ask("DELETE", "/devices/PHONE", {"auth": auth}))[0] == 401


async def challenge_of(confirmation: InteractiveAuth, operation: str) -> str:
    with pytest.raises(errors.UserInteractionRequired) as raised:
        await confirmation.confirm(PHONE, operation, None)
    return str(raised.value.extra["session"])


async def test_confirmations_expire_and_only_so_many_wait(served: Served) -> None:
    confirmation: InteractiveAuth = served.services[InteractiveAuth]
    first = await challenge_of(confirmation, "x")
    assert await _is_remembered(confirmation, "x", first)
    served.clock.seconds += 16 * 60
    assert not await _is_remembered(confirmation, "x", first)

    second = await challenge_of(confirmation, "y")
    for number in range(100):
        await challenge_of(confirmation, f"flood {number}")
    assert not await _is_remembered(confirmation, "y", second)


async def _is_remembered(confirmation: InteractiveAuth, operation: str, session: str) -> bool:
    with pytest.raises(errors.UserInteractionRequired) as raised:
        await confirmation.confirm(PHONE, operation, {"session": session})
    return bool(raised.value.extra["session"] == session)
