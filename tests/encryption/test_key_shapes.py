"""What a device may not publish: keys that are none, that are another's, or that nobody signed."""

from typing import Any

import pytest

from homeserver.matrix.canonical_json import JsonObject
from tests.accounts.serving import ALICE, BOB, Device
from tests.encryption import keys
from tests.encryption.test_device_keys import UPLOAD, claim, query


def with_key(kind: str, public: str) -> JsonObject:
    own = keys.device_keys("PHONE")["keys"] | {f"{kind}:PHONE": public}
    return keys.device_keys("PHONE", keys=own)


def only_signed_by_a_stranger() -> JsonObject:
    signatures = keys.device_keys("PHONE")["signatures"][ALICE]
    return keys.device_keys("PHONE") | {"signatures": {BOB: signatures}}


@pytest.mark.parametrize(
    ("given", "status", "errcode"),
    [
        (keys.device_keys("OTHER"), 400, "M_INVALID_PARAM"),
        (keys.device_keys("PHONE", BOB), 400, "M_INVALID_PARAM"),
        (keys.device_keys("PHONE", algorithms="olm"), 400, "M_BAD_JSON"),
        (keys.device_keys("PHONE", keys={"a": 1}), 400, "M_BAD_JSON"),
        (keys.device_keys("PHONE", keys={}), 400, "M_INVALID_PARAM"),
        (keys.device_keys("PHONE", keys=keys.device_keys("X")["keys"]), 400, "M_INVALID_PARAM"),
        (with_key("ed25519", "!!!"), 400, "M_INVALID_PARAM"),
        (with_key("curve25519", "curve"), 400, "M_INVALID_PARAM"),
        (with_key("curve25519", "A" * 44), 400, "M_INVALID_PARAM"),
        (keys.device_keys("PHONE") | {"signatures": []}, 400, "M_BAD_JSON"),
        (keys.device_keys("PHONE") | {"signatures": {}}, 400, "M_INVALID_SIGNATURE"),
        (keys.device_keys("PHONE") | {"algorithms": []}, 400, "M_INVALID_SIGNATURE"),
        (only_signed_by_a_stranger(), 400, "M_INVALID_SIGNATURE"),
        (keys.device_keys("PHONE") | {"extra": 0.5}, 400, "M_BAD_JSON"),
        (keys.device_keys("PHONE", extra="x" * 20_000), 413, "M_TOO_LARGE"),
    ],
)
async def test_wrong_device_keys_are_refused(
    alice: Device, given: JsonObject, status: int, errcode: str
) -> None:
    answered, answer = await alice.ask("POST", UPLOAD, {"device_keys": given})
    assert (answered, answer["errcode"]) == (status, errcode)


async def test_a_device_keeps_its_identity(alice: Device) -> None:
    await alice.post(UPLOAD, {"device_keys": keys.device_keys("PHONE")})
    status, answer = await alice.ask(
        "POST", UPLOAD, {"device_keys": with_key("curve25519", "A" * 43)}
    )
    assert (status, answer["errcode"]) == (400, "M_INVALID_PARAM")
    assert (await query(alice, ALICE))["device_keys"][ALICE]["PHONE"]["keys"] == (
        keys.device_keys("PHONE")["keys"]
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"signed_curve25519": {"key": "x"}},
        {":a": "x"},
        {"curve25519:a": 5},
        {"signed_curve25519:a": "A" * 43},
        {"signed_curve25519:a": {"signatures": {}}},
        {"signed_curve25519:a": {"key": "A" * 43}},
        {"signed_curve25519:a": {"key": "A" * 43, "signatures": {"@a:b": "x"}}},
        {"signed_curve25519:a": {"key": "A" * 43, "signatures": {ALICE: {"ed25519:PHONE": "x"}}}},
        keys.one_time_keys("a", key="\u2603"),
        keys.one_time_keys("a", device_id="OTHER"),
        keys.one_time_keys("a", user_id=BOB, device_id="PHONE"),
    ],
)
@pytest.mark.parametrize("kind", ["one_time_keys", "fallback_keys"])
async def test_wrong_one_time_keys_are_refused(alice: Device, kind: str, wrong: Any) -> None:
    await alice.post(UPLOAD, {"device_keys": keys.device_keys("PHONE")})
    status, _ = await alice.ask("POST", UPLOAD, {kind: wrong})
    assert status == 400


async def test_a_fallback_key_is_signed_by_a_device_that_is_known(alice: Device) -> None:
    fallback = keys.one_time_keys("f", fallback=True)
    forged = {name: key | {"fallback": False} for name, key in fallback.items()}
    for device, given, expected in (
        ({}, fallback, "M_INVALID_SIGNATURE"),
        ({"device_keys": keys.device_keys("PHONE")}, forged, "M_INVALID_SIGNATURE"),
        ({"device_keys": keys.device_keys("PHONE")}, fallback, None),
        ({}, forged, "M_INVALID_SIGNATURE"),
    ):
        _, answer = await alice.ask("POST", UPLOAD, device | {"fallback_keys": given})
        assert answer.get("errcode") == expected
    assert (await claim(alice, ALICE, "PHONE"))["one_time_keys"] == {ALICE: {"PHONE": fallback}}


async def test_there_is_one_fallback_key_for_each_algorithm(alice: Device) -> None:
    two = {"fallback_keys": keys.one_time_keys("f", "g", fallback=True)}
    status, answer = await alice.ask("POST", UPLOAD, two)
    assert (status, answer["errcode"]) == (400, "M_INVALID_PARAM")
