from typing import Any

import nacl.signing
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.errors import BadSignature, InvalidParam
from homeserver.matrix import signing
from homeserver.matrix.redaction import redact

from .histories import V10

# Seed, names and signatures are the test vectors of the specification's appendices.
SEED = signing.decode_b64("YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1")
KEY = signing.generate(SEED, "1")

_EMPTY = "K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ"
_TWO_KEYS = "KqmLSbO39/Bzb0QIYE82zqLwsA+PDzYIpIRA2sRQ4sL53+sN6/fpNSoqE7BP7vBZhG6kYdD13EIMJpvhJI+6Bw"


def minimal_event() -> dict[str, Any]:
    return {
        "room_id": "!x:domain",
        "sender": "@a:domain",
        "origin": "domain",
        "origin_server_ts": 1000000,
        "signatures": {},
        "hashes": {},
        "type": "X",
        "content": {},
        "prev_events": [],
        "auth_events": [],
        "depth": 3,
        "unsigned": {"age_ts": 1000000},
    }


def redactable_event() -> dict[str, Any]:
    return {
        "content": {"body": "Here is the message content"},
        "event_id": "$0:domain",
        "origin": "domain",
        "origin_server_ts": 1000000,
        "type": "m.room.message",
        "room_id": "!r:domain",
        "sender": "@u:domain",
        "signatures": {},
        "unsigned": {"age_ts": 1000000},
    }


@pytest.mark.parametrize(
    ("unsigned", "signature"), [({}, _EMPTY), ({"one": 1, "two": "Two"}, _TWO_KEYS)]
)
def test_signing_json_as_in_the_specification(unsigned: dict[str, Any], signature: str) -> None:
    signed = signing.sign_json(unsigned, "domain", KEY)
    assert signed == unsigned | {"signatures": {"domain": {"ed25519:1": signature}}}
    signing.verify_json(signed, "domain", "ed25519:1", KEY.public)


@pytest.mark.parametrize(
    ("event", "content_hash", "signature"),
    [
        (
            minimal_event(),
            "5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos",
            "KxwGjPSDEtvnFgU00fwFz+l6d2pJM6XBIaMEn81SXPTRl16AqLAYqfIReFGZlHi5KLjAWbOoMszkwsQma+lYAg",
        ),
        (
            redactable_event(),
            "onLKD1bGljeBWQhWZ1kaP9SorVmRQNdN5aM2JYU2n/g",
            "Wm+VzmOUOz08Ds+0NTWb1d4CZrVsJSikkeRxh6aCcUwu6pNC78FunoD7KNWzqFn241eYHYMGCA5McEiVPdhzBA",
        ),
    ],
)
def test_signing_events_as_in_the_specification(
    event: dict[str, Any], content_hash: str, signature: str
) -> None:
    assert signing.content_hash(event) == content_hash
    hashed = event | {"hashes": {"sha256": content_hash}}
    signed = signing.sign_json(redact(hashed, V10), "domain", KEY)
    assert signed["signatures"] == {"domain": {"ed25519:1": signature}}


def test_a_second_signature_stands_beside_the_first() -> None:
    other = signing.generate(bytes(32), "other")
    once = signing.sign_json({"a": 1, "unsigned": {"b": 2}}, "domain", KEY)
    twice = signing.sign_json(once, "domain", other)
    assert set(twice["signatures"]["domain"]) == {"ed25519:1", "ed25519:other"}
    assert twice["unsigned"] == {"b": 2}
    signing.verify_json(twice, "domain", "ed25519:1", KEY.public)
    signing.verify_json(twice, "domain", "ed25519:other", other.public)


def _signed(**changes: Any) -> dict[str, Any]:
    return signing.sign_json({"a": 1}, "domain", KEY) | changes


@pytest.mark.parametrize(
    "spoiled",
    [
        _signed(a=2),
        _signed(b=3),
        {"a": 1},
        _signed(signatures=[]),
        _signed(signatures={"domain": []}),
        _signed(signatures={"domain": {"ed25519:1": 7}}),
        _signed(signatures={"domain": {"ed25519:1": "not base64!"}}),
        _signed(signatures={"domain": {"ed25519:1": "c2hvcnQ"}}),
        _signed(signatures={"elsewhere": {"ed25519:1": _EMPTY}}),
    ],
)
def test_a_signature_that_does_not_fit_is_refused(spoiled: dict[str, Any]) -> None:
    with pytest.raises(BadSignature):
        signing.verify_json(spoiled, "domain", "ed25519:1", KEY.public)


@pytest.mark.parametrize("public_key", ["", "c2hvcnQ", "not base64!"])
def test_a_key_that_is_none_verifies_nothing(public_key: str) -> None:
    with pytest.raises(BadSignature):
        signing.verify_json(_signed(), "domain", "ed25519:1", public_key)


def test_a_signature_has_one_form_only() -> None:
    # Adding the group's order to the second half makes another signature that careless
    # libraries accept (CVE-2024-45193).
    order = 2**252 + 27742317777372353535851937790883648493
    signature = KEY.sign(b"message")
    scalar = int.from_bytes(signature[32:], "little") + order
    forged = signing.unpadded_b64(signature[:32] + scalar.to_bytes(32, "little"))
    with pytest.raises(BadSignature):
        signing.verify_bytes(b"message", forged, KEY.public)


def test_a_key_is_made_again_from_its_seed_and_shows_it_to_nobody() -> None:
    assert signing.generate(KEY.seed, "1").public == KEY.public
    assert KEY.seed == SEED
    assert repr(KEY) == "SigningKey(key_id='ed25519:1')"
    assert nacl.signing.VerifyKey(signing.decode_b64(KEY.public)).verify(
        b"message", KEY.sign(b"message")
    )


@given(st.binary())
def test_base64_reads_back_padded_or_not(raw: bytes) -> None:
    encoded = signing.unpadded_b64(raw)
    assert "=" not in encoded
    assert signing.decode_b64(encoded) == raw
    assert signing.decode_b64(encoded + "=" * (-len(encoded) % 4)) == raw
    assert signing.url_safe_b64(raw) == encoded.replace("+", "-").replace("/", "_")


@pytest.mark.parametrize("text", ["a", "a b=", "é", "ab==cd", "a-_b"])
def test_what_is_not_base64_is_refused(text: str) -> None:
    with pytest.raises(InvalidParam):
        signing.decode_b64(text)
