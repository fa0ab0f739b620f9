"""Device and cross-signing keys put together for an answer, each with its signatures."""

from collections.abc import Collection, Iterable

from homeserver.matrix import canonical_json
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import UserId
from homeserver.storage import accounts, encryption
from homeserver.storage.encryption import Signature
from homeserver.storage.unit_of_work import View

USAGES = ("master", "self_signing", "user_signing")

_Signed = dict[tuple[UserId, str], list[Signature]]


def gather(view: View, users: Collection[UserId], asked_by: UserId | None) -> JsonObject:
    """The stored keys of these users, as `/keys/query` answers them.

    `asked_by` is one of our own users, who also sees what is only theirs: their user-signing key,
    the signatures they put on other people's keys, and the names of their devices. None for a peer.
    """
    signed = _visible_signatures(encryption.signatures_on(view, users), asked_by)
    answer: JsonObject = {f"{usage}_keys": {} for usage in USAGES}
    answer["device_keys"] = {user_id: {} for user_id in users}
    for device in encryption.find_device_keys(view, users):
        keys = _with_signatures(device.key_json, signed.get((device.user_id, device.device_id), ()))
        answer["device_keys"][device.user_id][device.device_id] = keys
    for user_id, by_usage in encryption.find_cross_signing_keys(view, users).items():
        for usage, raw in by_usage.items():
            if usage == "user_signing" and user_id != asked_by:
                continue
            key_id = public_key(canonical_json.decode(raw))
            answer[f"{usage}_keys"][user_id] = _with_signatures(
                raw, signed.get((user_id, key_id), ())
            )
    if asked_by is not None and asked_by in users:
        _name_devices(view, asked_by, answer["device_keys"][asked_by])
    return answer


def public_key(cross_signing_key: JsonObject) -> str:
    """The one public key in a cross-signing key object, which is also its ID."""
    key: str = next(iter(cross_signing_key["keys"].values()))
    return key


def without_signatures(keys: JsonObject) -> JsonObject:
    """What the signatures on a key object sign."""
    return {name: keys[name] for name in keys if name not in ("signatures", "unsigned")}


def _visible_signatures(signatures: Iterable[Signature], asked_by: UserId | None) -> _Signed:
    """Everybody sees what users sign of their own; what they sign of others only they see."""
    found: _Signed = {}
    for one in signatures:
        if one.signer_id in (one.user_id, asked_by):
            found.setdefault((one.user_id, one.key_id), []).append(one)
    return found


def _with_signatures(raw: bytes, signatures: Iterable[Signature]) -> JsonObject:
    keys: JsonObject = canonical_json.decode(raw)
    for one in signatures:
        by_user = keys.setdefault("signatures", {})
        by_user.setdefault(one.signer_id, {})[one.signing_key_id] = one.signature
    return keys


def _name_devices(view: View, user_id: UserId, device_keys: JsonObject) -> None:
    for device in accounts.list_devices(view, user_id):
        if device.device_id in device_keys and device.display_name is not None:
            device_keys[device.device_id]["unsigned"] = {"device_display_name": device.display_name}
