"""Keys that peers left here, and what is handed out of them while their servers sleep."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from homeserver import errors
from homeserver.encryption import deposits, key_shapes, peer_lists, reports
from homeserver.encryption.deposits import DEPOSIT_RENEW, DEPOSIT_USED, LIFETIME_MS
from homeserver.encryption.peer_lists import DeviceList
from homeserver.matrix import canonical_json
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import DeviceId, ServerName, UserId
from homeserver.storage import accounts, encryption, frames, peers, withdrawing
from homeserver.storage.encryption import FallbackKey, OneTimeKey
from homeserver.storage.unit_of_work import UnitOfWork, View

_KEYS_PER_DEVICE = 50
_ByDevice = peer_lists.ByDevice
_Spent = set[tuple[DeviceId, str, str, bytes]]


class DepositOfUser(DeviceList):
    """One user's part of a deposit; keys by device and name."""

    one_time_keys: _ByDevice = Field(default_factory=dict)
    fallback_keys: _ByDevice = Field(default_factory=dict)
    previous_fallback_keys: Annotated[
        dict[str, str], Field(max_length=peer_lists.DEVICES_LIMIT)
    ] = Field(default_factory=dict)


class Deposit(BaseModel):
    """What a peer leaves with us, by user; `round` is what we asked for after a restore."""

    users: Annotated[dict[str, DepositOfUser], Field(max_length=peer_lists.USERS_LIMIT)]
    round: Annotated[str, Field(max_length=64)] | None = None


def take_in_deposit(work: UnitOfWork, peer: ServerName, body: JsonObject, now_ms: int) -> None:
    """Keep what a peer deposited for its own users, in place of what it deposited before.

    Keys that are no keys, or that their device did not sign, are left out.
    """
    try:
        deposit = Deposit.model_validate(body)
    except ValidationError as error:
        raise errors.BadJson from error
    asked = encryption.asked_round(work, peer)
    is_trusted = asked is None or deposit.round == asked
    for user_id, given in deposit.users.items():
        checked = peer_lists.check_user_of(peer, user_id)
        peer_lists.save(work, checked, given, now_ms)
        fallback = _signed(work, checked, _fallback_keys(checked, given, now_ms))
        known = {
            (one.device_id, one.algorithm): one
            for one in encryption.fallback_keys_of(work, checked)
        }
        reports.report_unreadable(work, peer, checked, _gone(known, fallback), now_ms)
        spent = {
            (one.device_id, one.algorithm, one.key_id, one.key)
            for one in encryption.reserved_keys_of(work, checked)
        }
        one_time = _one_time_keys(checked, given, spent, now_ms) if is_trusted else []
        encryption.replace_keys_of_user(work, checked, one_time, _remembering(known, fallback))
    if not is_trusted and asked is not None:
        _ask_again(work, peer, asked)


def take_from_deposit(
    work: UnitOfWork, peer: ServerName, wanted: Mapping[UserId, Mapping[DeviceId, str]], now_ms: int
) -> JsonObject:
    """Hand out keys a peer deposited, and tell it which of them.

    The answer has the form of `one_time_keys` in a claim; what is not there is missing in it.
    """
    found: JsonObject = {}
    used: JsonObject = {}
    not_before = _not_before(work, peer, now_ms)
    for user_id, devices in wanted.items():
        for device_id, algorithm in devices.items():
            taken = _take(work, (user_id, device_id), algorithm, not_before)
            if taken is None:
                continue
            key_id, key, is_news = taken
            given = {f"{algorithm}:{key_id}": canonical_json.decode(key)}
            found.setdefault(user_id, {})[device_id] = given
            if is_news:
                used.setdefault(user_id, {}).setdefault(device_id, []).append(key_id)
    if used and peer in peers.connected_servers(work):
        frames.queue_item(work, peer, frames.CONTROL, DEPOSIT_USED, {"used": used})
    return found


def _take(
    work: UnitOfWork, device: tuple[UserId, DeviceId], algorithm: str, not_before: int
) -> tuple[str, bytes, bool] | None:
    """A key's ID and JSON, and whether its owner does not know yet that it is used."""
    one_time = encryption.spend_one_time_key(work, *device, algorithm, not_before)
    if one_time is not None:
        return *one_time, True
    fallback = encryption.claim_fallback_key(work, *device, algorithm, not_before)
    return None if fallback is None else (fallback[0], fallback[1], not fallback[2])


def forget_after_restore(work: UnitOfWork, round_name: str) -> None:
    """This database is an old copy: nobody knows which one-time keys were given away since.

    Those of the owner's devices are deleted (`encryption.void_keys_of_owner`). Those that peers
    deposited are not handed out; each peer is asked for others.
    """
    owner = accounts.find_owner(work)
    if owner is not None:
        encryption.void_keys_of_owner(work, owner)
    for peer in sorted(peers.connected_servers(work)):
        forget_of_peer(work, peer, round_name)


def forget_of_peer(work: UnitOfWork, peer: ServerName, round_name: str) -> None:
    """Hand out nothing more of what a peer deposited so far; leave ours, and ask for other keys."""
    encryption.spend_all_of_server(work, peer)
    encryption.ask_round(work, peer, round_name)
    deposits.queue_for(work, peer)
    _ask_again(work, peer, round_name)


def _ask_again(work: UnitOfWork, peer: ServerName, round_name: str) -> None:
    withdrawing.withdraw(work, peer, DEPOSIT_RENEW)
    frames.queue_item(work, peer, frames.CONTROL, DEPOSIT_RENEW, {"round": round_name})


def was_heard_lately(view: View, peer: ServerName, now_ms: int) -> bool:
    """Whether what a peer deposited may be handed out, however long ago.

    As long as it is heard it sends each new deposit at once, so what we hold is the newest.
    """
    known = peers.find_peer(view, peer)
    return known is not None and (known.heard_at or 0) >= now_ms - LIFETIME_MS


def _not_before(view: View, peer: ServerName, now_ms: int) -> int:
    """The oldest deposit that may be handed out."""
    return 0 if was_heard_lately(view, peer, now_ms) else now_ms - LIFETIME_MS


def _one_time_keys(
    user_id: UserId, given: DepositOfUser, spent: _Spent, now_ms: int
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
            encryption.SPENT if (device_id, algorithm, key_id, key) in spent else None,
        )
        for device_id, algorithm, key_id, key in _right_ones(user_id, given.one_time_keys)
    ]


def _fallback_keys(user_id: UserId, given: DepositOfUser, now_ms: int) -> list[FallbackKey]:
    keys = {
        (device_id, algorithm): FallbackKey(
            user_id,
            device_id,
            algorithm,
            key_id,
            key,
            now_ms,
            previous_key_id=given.previous_fallback_keys.get(device_id),
        )
        for device_id, algorithm, key_id, key in _right_ones(user_id, given.fallback_keys)
    }
    return list(keys.values())


def _remembering(
    known: Mapping[tuple[DeviceId, str], FallbackKey], fresh: list[FallbackKey]
) -> list[FallbackKey]:
    """The fresh keys, with what was handed out: of the same key, and of the one before it.

    In rows of peers' devices `previous_key_id` stands only where that key was handed out here.
    """
    remembering = []
    for one in fresh:
        held = known.get((one.device_id, one.algorithm))
        is_used, previous = False, None
        if held is not None and (held.key_id, held.key) == (one.key_id, one.key):
            is_used, previous = held.is_used, held.previous_key_id
        elif held is not None and held.is_used:
            previous = held.key_id
        remembering.append(replace(one, is_used=is_used, previous_key_id=previous))
    return remembering


def _gone(
    known: Mapping[tuple[DeviceId, str], FallbackKey], fresh: list[FallbackKey]
) -> list[DeviceId]:
    """Devices that got something under a fallback key which they may not have any more."""
    gone = []
    for one in fresh:
        held = known.get((one.device_id, one.algorithm))
        if held is None:
            continue
        handed_out = {held.previous_key_id} | ({held.key_id} if held.is_used else set())
        if handed_out - {one.key_id, one.previous_key_id, None}:
            gone.append(one.device_id)
    return gone


def _signed(view: View, user_id: UserId, keys: list[FallbackKey]) -> list[FallbackKey]:
    """The keys with a right signature of their device; one for each device and algorithm."""
    devices = {one.device_id: one.key_json for one in encryption.find_device_keys(view, [user_id])}
    signed = []
    for one in keys:
        with suppress(errors.HomeserverError):
            if one.algorithm == key_shapes.SIGNED_KEY:
                key_shapes.verify_fallback_key(
                    one.key, devices.get(one.device_id), user_id, one.device_id
                )
            signed.append(one)
    return signed


def _right_ones(
    user_id: UserId, given: Mapping[str, Any]
) -> list[tuple[DeviceId, str, str, bytes]]:
    found = []
    for name, keys in given.items():
        device_id = DeviceId(name)
        named = keys.items() if isinstance(keys, dict) else ()
        for key_name, key in islice(named, _KEYS_PER_DEVICE):
            with suppress(errors.HomeserverError):
                checked = key_shapes.check_one_time_key(key_name, key, user_id, device_id)
                found.append((device_id, *checked))
    return found
