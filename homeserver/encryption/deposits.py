"""Keys we leave with peers, so that their owners can write to ours while this server sleeps.

A deposit holds our user's device list and, for each device, its fallback key or, where it has
none, a few reserved one-time keys. It travels the ordered channel, so only the newest one counts.
"""

import hashlib
from typing import Annotated

from pydantic import BaseModel, Field, ValidationError

from homeserver import errors
from homeserver.encryption import key_material, peer_lists, reserving
from homeserver.matrix import canonical_json
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import DeviceId, ServerName, UserId
from homeserver.storage import accounts, encryption, frames, peers, withdrawing
from homeserver.storage.encryption import FallbackKey, OneTimeKey
from homeserver.storage.unit_of_work import UnitOfWork, View

DEPOSIT = "deposit"
DEPOSIT_USED = "deposit_used"
DEPOSIT_RENEW = "deposit_renew"

# A deposit of a server that was silent for longer is not handed out: its fallback keys may be
# gone from the devices.
LIFETIME_MS = 14 * 86_400_000
# How many one-time keys of one device a peer may use up in a day; a new device of a friend takes
# one. Whoever takes more gets the fallback key.
TAKEN_A_DAY = 100
DAY_MS = 86_400_000


# No device leaves more with a peer.
_KeyIds = Annotated[set[str], Field(max_length=200)]


class DepositUsed(BaseModel):
    """Keys of a deposit that were handed out: key IDs by user and device."""

    used: Annotated[
        dict[str, Annotated[dict[str, _KeyIds], Field(max_length=peer_lists.DEVICES_LIMIT)]],
        Field(max_length=peer_lists.USERS_LIMIT),
    ]


def deposit_for(work: UnitOfWork, peer: ServerName) -> JsonObject:
    """Everything a peer needs to write to our user, with keys that only this peer hands out."""
    owner = accounts.find_owner(work)
    if owner is None:
        return {"users": {}}
    keys = key_material.gather(work, [owner], asked_by=None)
    fallback = encryption.fallback_keys_of(work, owner)
    with_fallback = {one.device_id for one in fallback}
    for device_id in keys["device_keys"][owner]:
        is_greedy = _took_too_many(work, (owner, device_id), peer)
        if device_id not in with_fallback and not is_greedy:
            reserving.top_up(work, owner, device_id, peer)
    reserved = named(encryption.reserved_keys_of(work, owner, peer))
    before = {one.device_id: one.previous_key_id for one in fallback if one.previous_key_id}
    return {
        "round": encryption.given_round(work, peer),
        "users": {
            owner: {
                "device_keys": keys["device_keys"][owner],
                "master_key": keys["master_keys"].get(owner),
                "self_signing_key": keys["self_signing_keys"].get(owner),
                "one_time_keys": reserved,
                "fallback_keys": named(fallback),
                "previous_fallback_keys": before,
            }
        },
    }


def queue_for(work: UnitOfWork, peer: ServerName) -> None:
    """Send a peer a fresh deposit in place of those that wait."""
    _queue(work, peer, deposit_for(work, peer))


def queue_if_changed(work: UnitOfWork, peer: ServerName) -> None:
    """At a start: most peers hold already what they would be given."""
    body = deposit_for(work, peer)
    if encryption.deposited(work, peer) != _digest(work, peer, body):
        _queue(work, peer, body)


def _queue(work: UnitOfWork, peer: ServerName, body: JsonObject) -> None:
    withdrawing.withdraw(work, peer, DEPOSIT)
    frames.queue_item(work, peer, frames.CONTROL, DEPOSIT, body)
    encryption.note_deposited(work, peer, _digest(work, peer, body))


def _digest(view: View, peer: ServerName, body: JsonObject) -> str:
    """What was deposited; another one once something for the peer has fallen out of the outbox."""
    lost = sum(frames.losses(view, peer).values())
    return hashlib.sha256(canonical_json.encode({"lost": lost, "body": body})).hexdigest()


def greet(work: UnitOfWork, peer: ServerName, now_ms: int) -> None:
    """Send a peer whose connection opened a deposit, and those a smaller one that have to share."""
    owner = accounts.find_owner(work)
    sharing = set() if owner is None else reserving.take_back(work, owner, now_ms)
    for one in sorted(sharing | {peer}):
        queue_for(work, one)


def queue_for_peers(work: UnitOfWork, user_id: UserId) -> None:
    """Send every connected peer a fresh deposit, because this user's keys changed."""
    if user_id != accounts.find_owner(work):
        return
    for peer in sorted(peers.connected_servers(work)):
        queue_for(work, peer)


def take_in_deposit_used(work: UnitOfWork, peer: ServerName, body: JsonObject, now_ms: int) -> None:
    """Replace the reserved keys that a peer has handed out; note its use of fallback keys."""
    owner = accounts.find_owner(work)
    if owner is None:
        return
    try:
        used = DepositUsed.model_validate(body).used.get(owner, {})
    except ValidationError as error:
        raise errors.BadJson from error
    held = {(one.device_id, one.key_id): one for one in _reserved(work, owner, peer)}
    gone = []
    for device_id, key_ids in used.items():
        device, named = DeviceId(device_id), sorted(key_ids)
        gone += [held[device, key_id] for key_id in named if (device, key_id) in held]
        encryption.mark_fallback_used(work, owner, device, named)
    if gone:
        _release(work, peer, gone, now_ms)
        queue_for(work, peer)


def take_in_renewal(work: UnitOfWork, peer: ServerName, round_name: str, now_ms: int) -> None:
    """A peer lost its memory of which keys it handed out: give it others, and only those."""
    owner = accounts.find_owner(work)
    if owner is None:
        return
    encryption.give_round(work, peer, round_name)
    _release(work, peer, _reserved(work, owner, peer), now_ms)
    queue_for(work, peer)


def unused_fallback_types(
    view: View, user_id: UserId, device_id: DeviceId, now_ms: int
) -> list[str]:
    """The algorithms for which a device needs no new fallback key.

    A device keeps two. So it is told that its key was used, and makes another, only when no peer
    that may still hand out the one before is without the newest.
    """
    used, unused = encryption.fallback_types(view, user_id, device_id)
    return used + unused if used and _is_some_peer_behind(view, now_ms) else unused


def named(keys: list[FallbackKey] | list[OneTimeKey]) -> dict[str, JsonObject]:
    """Keys by device, under their full names."""
    by_device: dict[str, JsonObject] = {}
    for one in keys:
        by_name = by_device.setdefault(one.device_id, {})
        by_name[f"{one.algorithm}:{one.key_id}"] = canonical_json.decode(one.key)
    return by_device


def _is_some_peer_behind(view: View, now_ms: int) -> bool:
    return any(
        (peer.heard_at or 0) >= now_ms - LIFETIME_MS
        and withdrawing.is_waiting(view, peer.server_name, DEPOSIT)
        for peer in peers.load_peers(view)
        if peer.standing in peers.CONNECTED
    )


def _reserved(view: View, owner: UserId, peer: ServerName) -> list[OneTimeKey]:
    return encryption.reserved_keys_of(view, owner, peer)


def _release(work: UnitOfWork, peer: ServerName, keys: list[OneTimeKey], now_ms: int) -> None:
    """Forget reserved keys that the peer has handed out, or may have; they never come back."""
    for one in keys:
        device, key = (one.user_id, one.device_id), (one.algorithm, one.key_id)
        encryption.release_reserved(work, peer, *device, [one.key_id])
        encryption.note_spent(work, device, key, peer, now_ms)


def _took_too_many(view: View, device: tuple[UserId, DeviceId], peer: ServerName) -> bool:
    """Whether a peer had its share in the day before it last took a key.

    By that, and not by the clock, it gets no keys to keep before it took one in moderation.
    """
    last = encryption.last_spent_at(view, *device, peer)
    return last is not None and has_taken_enough(view, device, peer, last)


def has_taken_enough(
    view: View, device: tuple[UserId, DeviceId], peer: ServerName, now_ms: int
) -> bool:
    """Whether a peer has had its share of a device's one-time keys for today."""
    return encryption.count_spent(view, *device, peer, now_ms - DAY_MS) >= TAKEN_A_DAY
