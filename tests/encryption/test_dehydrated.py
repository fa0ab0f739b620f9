"""A dehydrated device receives what is sent while no client is logged in."""

from typing import Any

import pytest

from homeserver.encryption import peer_deposits, to_device
from homeserver.matrix.canonical_json import JsonObject
from tests.accounts.serving import ALICE, BOB, BOBS, Client, Device, Served, log_in
from tests.encryption import keys

UNSTABLE = "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device"


def put_away(device_id: str = "DRY", **more: Any) -> JsonObject:
    return {
        "device_id": device_id,
        "device_data": {"algorithm": "m.dehydration.v1.olm", "device": "locked"},
        "initial_device_display_name": "Dehydrated device",
        "device_keys": keys.device_keys(device_id, dehydrated=True),
        "one_time_keys": keys.one_time_keys("a", device_id=device_id),
        "fallback_keys": keys.one_time_keys("f", device_id=device_id, fallback=True),
        **more,
    }


async def ask(device: Device, method: str, path: str = "", body: Any = None) -> tuple[int, Any]:
    return await device.ask(method, path, body, prefix=UNSTABLE)


async def device_list(alice: Device) -> list[str]:
    answer = await alice.post("/keys/query", {"device_keys": {ALICE: []}})
    return sorted(answer["device_keys"][ALICE])


async def test_a_device_is_put_away_found_and_deleted(alice: Device) -> None:
    assert (await ask(alice, "GET"))[1]["errcode"] == "M_NOT_FOUND"
    assert await ask(alice, "PUT", body=put_away()) == (200, {"device_id": "DRY"})
    assert await ask(alice, "GET") == (
        200,
        {"device_id": "DRY", "device_data": put_away()["device_data"]},
    )
    assert await device_list(alice) == ["DRY"]
    wanted = {"one_time_keys": {ALICE: {"DRY": "signed_curve25519"}}}
    for named in (put_away()["one_time_keys"], put_away()["fallback_keys"]):
        claimed = await alice.post("/keys/claim", wanted)
        assert claimed["one_time_keys"][ALICE]["DRY"] == named
    assert await ask(alice, "DELETE", body={}) == (200, {"device_id": "DRY"})
    assert (await ask(alice, "DELETE", body={}))[0] == 404
    assert await device_list(alice) == []


async def test_another_one_takes_its_place(alice: Device) -> None:
    await ask(alice, "PUT", body=put_away())
    await send(alice, "1", {ALICE: {"DRY": {"a": 1}}})
    await ask(alice, "PUT", body=put_away("DRIER"))
    assert await device_list(alice) == ["DRIER"]
    assert (await ask(alice, "GET", "/DRY/events"))[0] == 403
    assert await ask(alice, "GET", "/DRIER/events") == (200, {"events": []})
    await ask(alice, "PUT", body=put_away("DRIER"))
    assert await device_list(alice) == ["DRIER"]


async def send(alice: Device, txn_id: str, messages: Any) -> None:
    await alice.put(f"/sendToDevice/m.test/{txn_id}", {"messages": messages})


async def test_what_came_for_it_is_read_in_pages_and_stays_until_it_is_replaced(
    served: Served, alice: Device
) -> None:
    await ask(alice, "PUT", body=put_away())
    for number in range(103):
        body = {"sender": BOB, "type": "m.test", "messages": {ALICE: {"*": {"a": number}}}}
        await served.database.write(
            lambda work, body=body: to_device.take_in_to_device(work, BOBS, body, 1)  # type: ignore[misc]
        )
    for _ in range(2):
        _, first = await ask(alice, "GET", "/DRY/events")
        _, second = await ask(alice, "GET", f"/DRY/events?from={first['next_batch']}")
        assert "next_batch" not in second
        seen = [one["content"]["a"] for one in first["events"] + second["events"]]
        assert seen == list(range(103))
    assert first["events"][0] == {"sender": BOB, "type": "m.test", "content": {"a": 0}}


async def test_a_client_may_go_on_until_a_page_is_empty(alice: Device) -> None:
    await ask(alice, "PUT", body=put_away())
    await send(alice, "1", {ALICE: {"DRY": {"a": 1}}})
    status, page = await ask(alice, "POST", "/DRY/events", {})
    assert (status, len(page["events"])) == (200, 1)
    status, after = await ask(alice, "POST", "/DRY/events", {"next_batch": page["next_batch"]})
    assert (status, after["events"]) == (200, [])


async def test_it_outlives_every_session(http: Client, alice: Device) -> None:
    await ask(alice, "PUT", body=put_away())
    await alice.post("/logout/all", {})
    later = await log_in(http, "LATER")
    assert (await ask(later, "GET"))[1]["device_id"] == "DRY"
    devices = (await later.get("/devices"))["devices"]
    assert sorted(one["device_id"] for one in devices) == ["DRY", "LATER"]


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"device_id": ""}, 400),
        ({"device_keys": keys.device_keys("OTHER")}, 400),
        ({"device_keys": None}, 400),
        ({"device_data": "text"}, 400),
        ({"device_data": {"device": "x" * 70_000}}, 413),
        (put_away("PHONE"), 400),
        ({"fallback_keys": keys.one_time_keys("f", device_id="OTHER")}, 400),
        ({"one_time_keys": {"nonsense": "x"}}, 400),
    ],
)
async def test_what_is_no_device_is_refused(alice: Device, wrong: JsonObject, status: int) -> None:
    assert (await ask(alice, "PUT", body=put_away() | wrong))[0] == status
    assert (await ask(alice, "GET"))[0] == 404


async def test_a_token_that_is_none_is_refused(alice: Device) -> None:
    await ask(alice, "PUT", body=put_away())
    assert (await ask(alice, "GET", "/DRY/events?from=x"))[0] == 400


async def test_in_an_old_copy_of_a_database_its_fallback_key_alone_is_left(
    served: Served, alice: Device
) -> None:
    """Nobody hears that it lacks keys, and what opens its fallback key lies beside it."""
    await ask(alice, "PUT", body=put_away())
    stock = {"one_time_keys": keys.one_time_keys("a")}
    stock["fallback_keys"] = keys.one_time_keys("f", fallback=True)
    await alice.post("/keys/upload", {"device_keys": keys.device_keys("PHONE"), **stock})
    await served.database.write(lambda work: peer_deposits.forget_after_restore(work, "round"))
    wanted = {ALICE: dict.fromkeys(("DRY", "PHONE"), "signed_curve25519")}
    answer = await alice.post("/keys/claim", {"one_time_keys": wanted})
    assert answer["one_time_keys"] == {ALICE: {"DRY": put_away()["fallback_keys"]}}
