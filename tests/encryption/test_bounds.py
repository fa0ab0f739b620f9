"""What an owner publishes stays within what peers take; where it does not, the owner is told."""

from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from federation import filling
from homeserver.encryption import deposits, peer_deposits, peer_lists
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import DeviceId
from homeserver.storage import encryption, frames, notices
from homeserver.storage.encryption import DeviceKeys, OneTimeKey
from homeserver.storage.unit_of_work import UnitOfWork
from tests.accounts.serving import ALICE, BOB, BOBS, Client, Device, Served, log_in
from tests.encryption import keys

UPLOAD = "/keys/upload"
# What the owner's cross-signing key adds to a device.
SIGNATURE = {"ed25519:" + "k" * 43: "s" * 86}


async def test_no_more_devices_have_keys_than_a_peer_takes(
    served: Served, http: Client, alice: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer_lists, "DEVICES_LIMIT", 2)
    await alice.post(UPLOAD, {"device_keys": keys.device_keys("PHONE")})
    laptop, tablet = await log_in(http, "LAPTOP"), await log_in(http, "TABLET")
    await laptop.post(UPLOAD, {"device_keys": keys.device_keys("LAPTOP")})
    wish = {"device_keys": keys.device_keys("TABLET")}
    status, answer = await tablet.ask("POST", UPLOAD, wish)
    assert (status, answer["errcode"]) == (413, "M_TOO_LARGE")
    assert "Remove one" in answer["error"]
    await alice.post("/logout", {})
    await tablet.post(UPLOAD, wish)
    listed = served.database.read(lambda view: encryption.find_device_keys(view, [ALICE]))
    assert {one.device_id for one in listed} == {"LAPTOP", "TABLET"}


def largest_device(number: int) -> tuple[DeviceKeys, list[OneTimeKey]]:
    """What matrix-nio publishes, cross-signed."""
    device_id = DeviceId(f"DEVICE{number:04}")
    listed = cross_signed(device_id, ALICE)
    one_time = {"key": "k" * 43, "signatures": {ALICE: {f"ed25519:{device_id}": "s" * 86}}}
    stock = [
        OneTimeKey(ALICE, device_id, "signed_curve25519", f"{n:06}", orjson.dumps(one_time), 1)
        for n in range(50)
    ]
    return DeviceKeys(ALICE, device_id, orjson.dumps(listed)), stock


def cross_signed(device_id: str, user_id: str) -> JsonObject:
    listed = keys.device_keys(device_id, user_id)
    signatures = {user_id: listed["signatures"][user_id] | SIGNATURE}
    return listed | {"signatures": signatures}


async def test_the_most_devices_fit_into_a_deposit(served: Served, alice: Device) -> None:
    await keys.connect(served)

    def publish(work: UnitOfWork) -> JsonObject:
        for number in range(peer_lists.DEVICES_LIMIT):
            device, stock = largest_device(number)
            encryption.save_device_keys(work, device)
            encryption.save_one_time_keys(work, stock)
        return deposits.deposit_for(work, BOBS)

    raw = orjson.dumps(await served.database.write(publish))
    of_usual_length = raw.replace(b"alice.example", b"n" * 52 + b".p2p.alt")
    assert len(of_usual_length) < filling.FRAME_BYTES - 1_024
    theirs = orjson.loads(raw.replace(ALICE.encode(), BOB.encode()))
    listed = theirs["users"][BOB]["device_keys"]
    listed |= {device_id: cross_signed(device_id, BOB) for device_id in listed}
    await served.database.write(lambda work: peer_deposits.take_in_deposit(work, BOBS, theirs, 1))
    taken = served.database.read(lambda view: encryption.find_device_keys(view, [BOB]))
    assert len(taken) == peer_lists.DEVICES_LIMIT


async def test_a_device_has_only_so_many_fallback_keys(alice: Device) -> None:
    def fallback(*numbers: int) -> JsonObject:
        return {"fallback_keys": {f"algorithm{number}:A": f"key {number}" for number in numbers}}

    assert (await alice.ask("POST", UPLOAD, fallback(*range(9))))[0] == 413
    await alice.post(UPLOAD, fallback(*range(8)))
    assert (await alice.ask("POST", UPLOAD, fallback(8)))[0] == 413
    await alice.post(UPLOAD, fallback(7))


class NoRooms:
    """Nothing waits but deposits."""

    def pdus_for(self, *_asked: Any) -> Sequence[tuple[int, bytes]]:
        return []

    def catch_up_from(self, *asked: Any) -> int:
        return int(asked[-1])

    def audience(self, *_asked: Any) -> Any:
        raise AssertionError


async def test_the_owner_is_told_once_a_day_of_a_deposit_that_is_too_large(
    served: Served, alice: Device
) -> None:
    await keys.connect(served)
    told = []
    for hours in (0, 1, 24):
        served.clock.seconds += hours * 3_600
        now_ms = served.clock.now_ms()

        def send(work: UnitOfWork, now_ms: int = now_ms) -> None:
            body = {"users": {"x": "x" * filling.FRAME_BYTES}}
            frames.queue_item(work, BOBS, frames.CONTROL, deposits.DEPOSIT, body)
            assert filling.next_frame(work, BOBS, filling.Offer(), NoRooms(), now_ms) is None

        await served.database.write(send)
        told.append([one.kind for one in served.database.read(notices.newest)])
    assert told == [["deposit_dropped"], ["deposit_dropped"], ["deposit_dropped"] * 2]
