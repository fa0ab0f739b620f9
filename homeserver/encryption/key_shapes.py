"""What key objects from outside must look like before they are stored."""

import re
from typing import Any, TypeGuard

from homeserver import errors
from homeserver.matrix import canonical_json, signing
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import DeviceId, UserId

# A device's keys with a few dozen signatures stay far below this.
_KEYS_LIMIT = 16_384
_KEY_ID_LIMIT = 255

SIGNED_KEY = "signed_curve25519"

# All that a signed key has to have. Where that is all it has, each value was found to be a text.
_LOOKED_AT = {"key", "signatures"}

# 32 and 64 bytes in unpadded base64.
_PUBLIC_KEY = re.compile(r"[A-Za-z0-9+/]{43}")
_SIGNATURE = re.compile(r"[A-Za-z0-9+/]{86}")


def check_device_keys(keys: Any, user_id: UserId, device_id: DeviceId) -> bytes:
    """The identity keys of this very device, signed by itself, as canonical JSON.

    Spec: client-server-api#device-keys
    """
    if not isinstance(keys, dict):
        raise errors.BadJson("Device keys are an object.")
    if keys.get("user_id") != user_id or keys.get("device_id") != device_id:
        raise errors.InvalidParam("Those are another device's keys.")
    algorithms = keys.get("algorithms")
    if not isinstance(algorithms, list) or not all(isinstance(one, str) for one in algorithms):
        raise errors.BadJson("algorithms: a list of strings is required.")
    public = keys.get("keys")
    if not _is_texts(public):
        raise errors.BadJson("keys: strings by name are required.")
    for kind in ("ed25519", "curve25519"):
        if not _PUBLIC_KEY.fullmatch(public.get(f"{kind}:{device_id}", "")):
            raise errors.InvalidParam(f"keys: the device's {kind} key is required, 32 bytes.")
    check_signatures(keys)
    raw = _encode(without_unsigned(keys))
    _verify(keys, user_id, device_id, public[f"ed25519:{device_id}"])
    return raw


def identity_keys(device_keys: bytes, device_id: DeviceId) -> tuple[str, str]:
    """The ed25519 and the curve25519 key of a device, for which it is known."""
    public = canonical_json.decode(device_keys)["keys"]
    return public.get(f"ed25519:{device_id}", ""), public.get(f"curve25519:{device_id}", "")


def check_cross_signing_key(keys: Any, user_id: UserId, usage: str) -> bytes:
    """A cross-signing key of this user and for this usage as canonical JSON.

    Spec: client-server-api#post_matrixclientv3keysdevice_signingupload
    """
    if not isinstance(keys, dict):
        raise errors.BadJson("A cross-signing key is an object.")
    if keys.get("user_id") != user_id:
        raise errors.InvalidParam("That is another user's key.")
    named_usage = keys.get("usage")
    if not isinstance(named_usage, list) or usage not in named_usage:
        raise errors.InvalidParam(f"The key's usage is not {usage}.")
    public = keys.get("keys")
    if not _is_texts(public) or [f"ed25519:{key}" for key in public.values()] != list(public):
        raise errors.InvalidParam("keys: one ed25519 key is required, named by itself.")
    if len(public) != 1 or not all(_PUBLIC_KEY.fullmatch(key) for key in public.values()):
        raise errors.InvalidParam("keys: exactly one key of 32 bytes is required.")
    check_signatures(keys)
    return _encode(without_unsigned(keys))


def check_one_time_key(
    name: str, key: Any, user_id: UserId, device_id: DeviceId
) -> tuple[str, str, bytes]:
    """A one-time or fallback key of a device under its name: algorithm, ID, and canonical JSON.

    The signature is looked at and not verified: a client uploads a hundred keys at once, and as
    many verifications take longer than all else together. Who claims a key verifies it, and a
    wrong one harms its own device only. Device and fallback keys, which last, are verified.

    Spec: client-server-api#key-algorithms
    """
    algorithm, colon, key_id = name.partition(":")
    if not algorithm or not colon or not key_id or len(name) > _KEY_ID_LIMIT:
        raise errors.InvalidParam("One-time keys are named algorithm:key_id.")
    if algorithm == SIGNED_KEY:
        _check_signed_key(key, user_id, device_id)
        if key.keys() == _LOOKED_AT:
            return algorithm, key_id, _within_limit(canonical_json.encode_checked(key))
    elif isinstance(key, dict):
        if not isinstance(key.get("key"), str):
            raise errors.BadJson("A one-time key needs its key.")
        check_signatures(key)
    elif not isinstance(key, str):
        raise errors.BadJson("A one-time key is a string or an object.")
    return algorithm, key_id, _encode(key)


def verify_fallback_key(
    key: bytes, device_keys: bytes | None, user_id: UserId, device_id: DeviceId
) -> None:
    """Raise unless the device, whose identity keys these are, signed its fallback key."""
    if device_keys is None:
        raise errors.InvalidSignature("The device has published no key that this is signed with.")
    signed_with, _ = identity_keys(device_keys, device_id)
    _verify(canonical_json.decode(key), user_id, device_id, signed_with)


def check_signatures(signed: JsonObject) -> None:
    """Signatures are texts by user and key; none at all is for others to judge."""
    signatures = signed.get("signatures", {})
    if not isinstance(signatures, dict) or not all(map(_is_texts, signatures.values())):
        raise errors.BadJson("signatures: strings by user and key are required.")


def without_unsigned(keys: JsonObject) -> JsonObject:
    """Only the server that answers says what is unsigned."""
    return {name: value for name, value in keys.items() if name != "unsigned"}


def _check_signed_key(key: Any, user_id: UserId, device_id: DeviceId) -> None:
    if not isinstance(key, dict):
        raise errors.BadJson("A signed key is an object.")
    public = key.get("key")
    if not isinstance(public, str) or not _PUBLIC_KEY.fullmatch(public):
        raise errors.BadJson("key: 32 bytes in base64 are required.")
    check_signatures(key)
    own = key.get("signatures", {}).get(user_id, {})
    if not _SIGNATURE.fullmatch(own.get(f"ed25519:{device_id}", "")):
        raise errors.InvalidSignature("A signed key needs the signature of its device.")


def _verify(signed: JsonObject, user_id: UserId, device_id: DeviceId, public: str) -> None:
    try:
        signing.verify_json(signed, user_id, f"ed25519:{device_id}", public)
    except errors.BadSignature:
        raise errors.InvalidSignature("The device itself has not signed that.") from None


def _is_texts(value: Any) -> TypeGuard[dict[str, str]]:
    return isinstance(value, dict) and {str}.issuperset(map(type, value.values()))


def _encode(keys: Any) -> bytes:
    return _within_limit(canonical_json.encode(keys))


def _within_limit(raw: bytes) -> bytes:
    if len(raw) > _KEYS_LIMIT:
        raise errors.TooLarge
    return raw
