"""What key objects from outside must look like before they are stored."""

from typing import Any, TypeGuard

from homeserver import errors
from homeserver.matrix import canonical_json
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import DeviceId, UserId

# A device's keys with a few dozen signatures stay far below this.
_KEYS_LIMIT = 16_384
_KEY_ID_LIMIT = 255


def check_device_keys(keys: Any, user_id: UserId, device_id: DeviceId) -> bytes:
    """The identity keys of this very device as canonical JSON.

    Spec: client-server-api#post_matrixclientv3keysupload
    """
    if not isinstance(keys, dict):
        raise errors.BadJson("Device keys are an object.")
    if keys.get("user_id") != user_id or keys.get("device_id") != device_id:
        raise errors.InvalidParam("Those are another device's keys.")
    algorithms = keys.get("algorithms")
    if not isinstance(algorithms, list) or not all(isinstance(one, str) for one in algorithms):
        raise errors.BadJson("algorithms: a list of strings is required.")
    if not _is_texts(keys.get("keys")):
        raise errors.BadJson("keys: strings by name are required.")
    check_signatures(keys)
    return _encode(without_unsigned(keys))


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
    if len(public) != 1:
        raise errors.InvalidParam("keys: exactly one key is required.")
    check_signatures(keys)
    return _encode(without_unsigned(keys))


def check_one_time_key(name: str, key: Any) -> tuple[str, str, bytes]:
    """A one-time or fallback key under its name: algorithm, ID, and canonical JSON."""
    algorithm, colon, key_id = name.partition(":")
    if not algorithm or not colon or not key_id or len(name) > _KEY_ID_LIMIT:
        raise errors.InvalidParam("One-time keys are named algorithm:key_id.")
    if isinstance(key, dict):
        if not isinstance(key.get("key"), str):
            raise errors.BadJson("A one-time key needs its key.")
        check_signatures(key)
    elif not isinstance(key, str):
        raise errors.BadJson("A one-time key is a string or an object.")
    return algorithm, key_id, _encode(key)


def check_signatures(signed: JsonObject) -> None:
    """Signatures are texts by user and key; none at all is for others to judge."""
    signatures = signed.get("signatures", {})
    if not isinstance(signatures, dict) or not all(_is_texts(one) for one in signatures.values()):
        raise errors.BadJson("signatures: strings by user and key are required.")


def without_unsigned(keys: JsonObject) -> JsonObject:
    """Only the server that answers says what is unsigned."""
    return {name: value for name, value in keys.items() if name != "unsigned"}


def _is_texts(value: Any) -> TypeGuard[dict[str, str]]:
    return isinstance(value, dict) and all(isinstance(one, str) for one in value.values())


def _encode(keys: Any) -> bytes:
    raw = canonical_json.encode(keys)
    if len(raw) > _KEYS_LIMIT:
        raise errors.TooLarge
    return raw
