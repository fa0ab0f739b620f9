"""Keys left with peers, so that their owners can write to ours while this server sleeps.

A deposit holds our user's device list and, for each device, its fallback key or, where it has
none, a few reserved one-time keys. It travels the ordered channel, so the newest one counts.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field, ValidationError

from homeserver import errors
from homeserver.encryption import key_material, key_shapes, peer_lists
from homeserver.encryption.peer_lists import DeviceList
from homeserver.matrix import canonical_json
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import DeviceId, ServerName, UserId
from homeserver.storage import accounts, encryption, frames, peers
from homeserver.storage.encryption import FallbackKey, OneTimeKey
from homeserver.storage.unit_of_work import UnitOfWork

DEPOSIT = "deposit"
DEPOSIT_USED = "deposit_used"

# A deposit older than this is not handed out: its fallback keys may be gone from the device.
LIFETIME_MS = 14 * 86_400_000

_RESERVED_PER_PEER = 3
_RESERVED_PER_DEVICE = 40
_KEYS_PER_DEVICE = 50

ModelT = TypeVar("ModelT", bound=BaseModel)

_Keys = Annotated[dict[str, Any], Field(max_length=_KEYS_PER_DEVICE)]
_KeysByDevice = Annotated[dict[str, _Keys], Field(max_length=peer_lists.DEVICES_LIMIT)]


class DepositOfUser(DeviceList):
    """One user's part of a deposit."""

    one_time_keys: _KeysByDevice = Field(default_factory=dict)
    fallback_keys: _KeysByDevice = Field(default_factory=dict)


class Deposit(BaseModel):
    """What a peer leaves with us, by user."""

    users: Annotated[dict[str, DepositOfUser], Field(max_length=peer_lists.USERS_LIMIT)]


class DepositUsed(BaseModel):
    """One-time keys of a deposit that were handed out: key IDs by user and device."""

    used: Annotated[
        dict[str, Annotated[dict[str, list[str]], Field(max_length=peer_lists.DEVICES_LIMIT)]],
        Field(max_length=peer_lists.USERS_LIMIT),
    ]


def deposit_for(work: UnitOfWork, peer: ServerName) -> JsonObject:
    """Everything a peer needs to write to our user, with keys that only this peer hands out."""
    owner = accounts.find_owner(work)
    if owner is None:
        return {"users": {}}
    keys = key_material.gather(work, [owner], asked_by=None)
    fallback = _named(encryption.fallback_keys_of(work, owner))
    for device_id in keys["device_keys"][owner]:
        if device_id not in fallback:
            _top_up(work, owner, device_id, peer)
    reserved = _named(encryption.reserved_keys_of(work, owner, peer))
    return {
        "users": {
            owner: {
                "device_keys": keys["device_keys"][owner],
                "master_key": keys["master_keys"].get(owner),
                "self_signing_key": keys["self_signing_keys"].get(owner),
                "one_time_keys": reserved,
                "fallback_keys": fallback,
            }
        }
    }


def queue_for_peers(work: UnitOfWork, user_id: UserId) -> None:
    """Send every connected peer a fresh deposit, because this user's keys changed."""
    if user_id != accounts.find_owner(work):
        return
    for peer in sorted(peers.connected_servers(work)):
        frames.queue_item(work, peer, "control", DEPOSIT, deposit_for(work, peer))


def lacks_reserved_keys(work: UnitOfWork, user_id: UserId, device_id: DeviceId) -> bool:
    """Whether some peer holds fewer keys of this device than it should, though there are some."""
    if device_id in _named(encryption.fallback_keys_of(work, user_id)):
        return False
    held = Counter(
        one.reserved_for
        for one in encryption.reserved_keys_of(work, user_id)
        if one.device_id == device_id
    )
    return held.total() < _RESERVED_PER_DEVICE and any(
        held[peer] < _RESERVED_PER_PEER for peer in peers.connected_servers(work)
    )


def take_in_deposit(work: UnitOfWork, peer: ServerName, body: JsonObject, now_ms: int) -> None:
    """Keep what a peer deposited for its own users, in place of what it deposited before."""
    for user_id, given in _parse(Deposit, body).users.items():
        checked = peer_lists.check_user_of(peer, user_id)
        peer_lists.save(work, checked, given, now_ms)
        spent = {
            (one.device_id, one.algorithm, one.key_id)
            for one in encryption.reserved_keys_of(work, checked)
        }
        encryption.replace_keys_of_user(
            work,
            checked,
            _one_time_keys(checked, given, spent, now_ms),
            _fallback_keys(checked, given, now_ms),
        )


def take_in_deposit_used(work: UnitOfWork, peer: ServerName, body: JsonObject) -> None:
    """Replace the reserved keys that a peer has handed out."""
    owner = accounts.find_owner(work)
    if owner is None:
        return
    used = _parse(DepositUsed, body).used.get(owner, {})
    for device_id, key_ids in used.items():
        encryption.release_reserved(work, peer, owner, DeviceId(device_id), key_ids)
    if used:
        frames.queue_item(work, peer, "control", DEPOSIT, deposit_for(work, peer))


def take_from_deposit(
    work: UnitOfWork, peer: ServerName, wanted: Mapping[UserId, Mapping[DeviceId, str]], now_ms: int
) -> JsonObject:
    """Hand out keys a peer deposited, and tell it which of its one-time keys are gone.

    The answer has the form of `one_time_keys` in a claim; what is not there is missing in it.
    """
    found: JsonObject = {}
    used: JsonObject = {}
    not_before = now_ms - LIFETIME_MS
    for user_id, devices in wanted.items():
        for device_id, algorithm in devices.items():
            key = encryption.spend_one_time_key(work, user_id, device_id, algorithm, not_before)
            if key is not None:
                used.setdefault(user_id, {}).setdefault(device_id, []).append(key[0])
            else:
                key = encryption.claim_fallback_key(work, user_id, device_id, algorithm, not_before)
            if key is not None:
                name = f"{algorithm}:{key[0]}"
                given = {name: canonical_json.decode(key[1])}
                found.setdefault(user_id, {})[device_id] = given
    if used and peer in peers.connected_servers(work):
        frames.queue_item(work, peer, "control", DEPOSIT_USED, {"used": used})
    return found


def _top_up(work: UnitOfWork, owner: UserId, device_id: DeviceId, peer: ServerName) -> None:
    reserved = [
        one for one in encryption.reserved_keys_of(work, owner) if one.device_id == device_id
    ]
    for_this_peer = sum(one.reserved_for == peer for one in reserved)
    missing = min(_RESERVED_PER_PEER - for_this_peer, _RESERVED_PER_DEVICE - len(reserved))
    if missing > 0:
        encryption.reserve_one_time_keys(work, owner, device_id, peer, missing)


def _named(keys: list[FallbackKey] | list[OneTimeKey]) -> dict[str, JsonObject]:
    """Keys by device, under their full names."""
    named: dict[str, JsonObject] = {}
    for one in keys:
        by_name = named.setdefault(one.device_id, {})
        by_name[f"{one.algorithm}:{one.key_id}"] = canonical_json.decode(one.key)
    return named


def _one_time_keys(
    user_id: UserId, given: DepositOfUser, spent: set[tuple[DeviceId, str, str]], now_ms: int
) -> list[OneTimeKey]:
    """The keys of a deposit. One that we handed out while it was on its way stays spent."""
    return [
        OneTimeKey(
            user_id,
            device_id,
            algorithm,
            key_id,
            key,
            now_ms,
            encryption.SPENT if (device_id, algorithm, key_id) in spent else None,
        )
        for device_id, algorithm, key_id, key in _checked(given.one_time_keys)
    ]


def _fallback_keys(user_id: UserId, given: DepositOfUser, now_ms: int) -> list[FallbackKey]:
    keys = {
        (device_id, algorithm): FallbackKey(user_id, device_id, algorithm, key_id, key, now_ms)
        for device_id, algorithm, key_id, key in _checked(given.fallback_keys)
    }
    return list(keys.values())


def _checked(given: Mapping[str, Mapping[str, Any]]) -> list[tuple[DeviceId, str, str, bytes]]:
    return [
        (DeviceId(device_id), *key_shapes.check_one_time_key(name, key))
        for device_id, keys in given.items()
        for name, key in keys.items()
    ]


def _parse(model: type[ModelT], body: JsonObject) -> ModelT:
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise errors.BadJson from error
