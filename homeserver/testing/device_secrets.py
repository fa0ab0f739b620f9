"""The keys that a client makes for a device, signed as they must be, without the client.

A device's secret follows from its name, so that a story can tell its keys again at any time.
"""

from hashlib import sha256
from typing import Any

from homeserver.matrix import signing
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.signing import SigningKey

ALGORITHMS = ("m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2")


def signer(name: str) -> SigningKey:
    """The ed25519 key of a device or of cross-signing: always the same for the same name."""
    return signing.generate(sha256(name.encode()).digest(), name)


def device_keys(user_id: str, device_id: str, **more: Any) -> JsonObject:
    """A device's identity keys; `more` is signed with them."""
    keys = {
        "user_id": user_id,
        "device_id": device_id,
        "algorithms": list(ALGORITHMS),
        "keys": {
            f"curve25519:{device_id}": _public(f"identity of {device_id}"),
            f"ed25519:{device_id}": signer(device_id).public,
        },
        **more,
    }
    return signed_by_device(user_id, device_id, keys)


def one_time_keys(user_id: str, device_id: str, *names: str, **more: Any) -> JsonObject:
    """One-time keys by full name, or, with `fallback=True`, fallback keys."""
    return {
        f"signed_curve25519:{name}": signed_by_device(
            user_id, device_id, {"key": _public(f"{name} of {device_id}"), **more}
        )
        for name in names
    }


def signed_by_device(user_id: str, device_id: str, value: JsonObject) -> JsonObject:
    """A copy with the signature of a device."""
    return signing.sign_json(value, user_id, signer(device_id))


def _public(name: str) -> str:
    """A Curve25519 key: any 32 bytes are one."""
    return signing.unpadded_b64(sha256(name.encode()).digest())
