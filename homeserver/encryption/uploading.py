"""Take in the keys of the owner's devices.

Spec: client-server-api#uploading-keys
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from homeserver import errors
from homeserver.encryption import deposits, key_material, key_shapes, peer_lists, reserving
from homeserver.matrix import canonical_json
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import server_of
from homeserver.ports import Clock, Requester
from homeserver.storage import encryption
from homeserver.storage.database import Database
from homeserver.storage.encryption import DeviceKeys, FallbackKey, OneTimeKey
from homeserver.storage.unit_of_work import UnitOfWork, View

# Clients keep 50 to 100; what is beyond this is a mistake or mischief.
_ONE_TIME_KEYS_LIMIT = 1_000
# Peers take no more in a deposit; clients use one algorithm.
_FALLBACK_KEYS_LIMIT = 8
# How long a key that was given away is known, should its upload be repeated: no client does it
# for that long. What is older is looked for once a day.
_REMEMBERED_MS = 30 * deposits.DAY_MS


@dataclass(frozen=True, slots=True)
class Upload:
    """The keys of one upload, checked."""

    device_keys: bytes | None
    one_time_keys: tuple[OneTimeKey, ...]
    fallback_keys: tuple[FallbackKey, ...]


class KeyUploads:
    """Keys that the owner's devices publish."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._forgot_at = 0

    async def upload(
        self,
        requester: Requester,
        device_keys: JsonObject | None,
        one_time_keys: Mapping[str, Any],
        fallback_keys: Mapping[str, Any],
    ) -> dict[str, int]:
        """Store a device's keys; how many one-time keys it has now, by algorithm.

        Spec: client-server-api#post_matrixclientv3keysupload
        """
        now_ms = self._clock.now_ms()
        upload = check(requester, device_keys, one_time_keys, fallback_keys, now_ms)
        if upload == Upload(None, (), ()):
            return self._database.read(
                lambda view: encryption.one_time_key_counts(
                    view, requester.user_id, requester.device_id
                )
            )
        is_day_over = abs(now_ms - self._forgot_at) >= deposits.DAY_MS

        def store(work: UnitOfWork) -> dict[str, int]:
            if is_day_over:
                encryption.forget_spent(work, now_ms - _REMEMBERED_MS)
            return save(work, requester, upload)

        counts = await self._database.write(store)
        if is_day_over:
            self._forgot_at = now_ms
        return counts


def check(
    requester: Requester,
    device_keys: JsonObject | None,
    one_time_keys: Mapping[str, Any],
    fallback_keys: Mapping[str, Any],
    now_ms: int,
) -> Upload:
    """The keys of a device as they are stored; raises where one has a wrong form."""
    return Upload(
        None
        if device_keys is None
        else key_shapes.check_device_keys(device_keys, requester.user_id, requester.device_id),
        _one_time_keys(requester, one_time_keys, now_ms),
        _fallback_keys(requester, fallback_keys, now_ms),
    )


def save(work: UnitOfWork, requester: Requester, upload: Upload) -> dict[str, int]:
    """Store what is new of an upload, and give peers a fresh deposit if it concerns them."""
    user_id, device_id = requester.user_id, requester.device_id
    is_changed = False
    if upload.device_keys is not None:
        is_changed = _save_device_keys(work, requester, upload.device_keys)
    if _save_fallback_keys(work, requester, upload.fallback_keys):
        is_changed = True
    counts, has_new_keys = _save_one_time_keys(work, requester, upload.one_time_keys)
    if is_changed or (has_new_keys and reserving.lacks_keys(work, user_id, device_id)):
        deposits.queue_for_peers(work, user_id)
        counts = encryption.one_time_key_counts(work, user_id, device_id)
    return counts


def _save_device_keys(work: UnitOfWork, requester: Requester, keys: bytes) -> bool:
    known = _device_keys(work, requester)
    if known == keys:
        return False
    if known is None:
        _check_room_for_another(work, requester)
    else:
        _check_continues(work, requester, known, keys)
    encryption.save_device_keys(work, DeviceKeys(requester.user_id, requester.device_id, keys))
    encryption.mark_device_list_changed(work, requester.user_id, server_of(requester.user_id))
    return True


def _check_room_for_another(view: View, requester: Requester) -> None:
    most = peer_lists.DEVICES_LIMIT
    if len(encryption.find_device_keys(view, [requester.user_id])) >= most:
        raise errors.TooLarge(f"You have {most} devices with keys. Remove one that you do not use.")


def _check_continues(work: UnitOfWork, requester: Requester, known: bytes, keys: bytes) -> None:
    """A device keeps its identity for life; what others signed holds while that is the same."""
    device_id = requester.device_id
    if key_shapes.identity_keys(known, device_id) != key_shapes.identity_keys(keys, device_id):
        raise errors.InvalidParam("This device has other identity keys. Log in as another device.")
    if _signed_part(known) != _signed_part(keys):
        encryption.delete_signatures_on(work, requester.user_id, [device_id])


def _signed_part(keys: bytes) -> JsonObject:
    return key_material.without_signatures(canonical_json.decode(keys))


def _device_keys(view: View, requester: Requester) -> bytes | None:
    for one in encryption.find_device_keys(view, [requester.user_id]):
        if one.device_id == requester.device_id:
            return one.key_json
    return None


def _save_fallback_keys(
    work: UnitOfWork, requester: Requester, keys: tuple[FallbackKey, ...]
) -> bool:
    if not keys:
        return False
    known = {
        (one.device_id, one.algorithm): one
        for one in encryption.fallback_keys_of(work, requester.user_id)
    }
    kept = {algorithm for device_id, algorithm in known if device_id == requester.device_id}
    if len(kept | {one.algorithm for one in keys}) > _FALLBACK_KEYS_LIMIT:
        raise errors.TooLarge(f"A device keeps at most {_FALLBACK_KEYS_LIMIT} fallback keys here.")
    fresh = []
    for one in keys:
        before = known.get((one.device_id, one.algorithm))
        if before is None:
            fresh.append(one)
        elif (before.key_id, before.key) != (one.key_id, one.key):
            fresh.append(replace(one, previous_key_id=before.key_id))
    _verify(work, requester, fresh)
    encryption.save_fallback_keys(work, fresh)
    return bool(fresh)


def _verify(view: View, requester: Requester, keys: Sequence[FallbackKey]) -> None:
    device_keys = _device_keys(view, requester)
    for one in keys:
        if one.algorithm == key_shapes.SIGNED_KEY:
            key_shapes.verify_fallback_key(
                one.key, device_keys, requester.user_id, requester.device_id
            )


def _save_one_time_keys(
    work: UnitOfWork, requester: Requester, keys: tuple[OneTimeKey, ...]
) -> tuple[dict[str, int], bool]:
    """Store the keys that are not here yet; the counts, and whether there were any.

    A key that was given away meanwhile, while its upload was repeated, does not come back.
    """
    stored = encryption.one_time_keys_of(work, requester.user_id, requester.device_id)
    fresh = _fresh(work, requester, stored, keys)
    if len(stored) + len(fresh) > _ONE_TIME_KEYS_LIMIT:
        raise errors.TooLarge(f"A device keeps at most {_ONE_TIME_KEYS_LIMIT} one-time keys here.")
    encryption.save_one_time_keys(work, fresh)
    counts = {"signed_curve25519": 0}
    for one in (*stored, *fresh):
        if one.reserved_for is None:
            counts[one.algorithm] = counts.get(one.algorithm, 0) + 1
    return counts, bool(fresh)


def _fresh(
    work: UnitOfWork,
    requester: Requester,
    stored: Sequence[OneTimeKey],
    keys: tuple[OneTimeKey, ...],
) -> list[OneTimeKey]:
    """The keys that were never here, in the order of their uploads even if the clock goes back."""
    if not keys:
        return []
    known = {(one.algorithm, one.key_id): one.key for one in stored}
    if any(known.get((one.algorithm, one.key_id), one.key) != one.key for one in keys):
        raise errors.InvalidParam("A one-time key with that ID exists already.")
    spent = _spent(work, requester, keys)
    now_ms = keys[0].uploaded_at
    newest = max((one.uploaded_at for one in stored), default=0)
    fresh = [
        one
        for one in keys
        if (one.algorithm, one.key_id) not in known and (one.algorithm, one.key_id) not in spent
    ]
    return fresh if newest <= now_ms else [replace(one, uploaded_at=newest) for one in fresh]


def _spent(view: View, requester: Requester, keys: tuple[OneTimeKey, ...]) -> set[tuple[str, str]]:
    """Those of these keys that were given away before: algorithm and ID."""
    device = requester.user_id, requester.device_id
    by_algorithm: dict[str, list[str]] = {}
    for one in keys:
        by_algorithm.setdefault(one.algorithm, []).append(one.key_id)
    return {
        (algorithm, key_id)
        for algorithm, key_ids in by_algorithm.items()
        for key_id in encryption.spent_among(view, *device, algorithm, key_ids)
    }


def _one_time_keys(
    requester: Requester, keys: Mapping[str, Any], now_ms: int
) -> tuple[OneTimeKey, ...]:
    return tuple(
        OneTimeKey(requester.user_id, requester.device_id, *one, uploaded_at=now_ms)
        for one in _checked(requester, keys)
    )


def _fallback_keys(
    requester: Requester, keys: Mapping[str, Any], now_ms: int
) -> tuple[FallbackKey, ...]:
    checked = _checked(requester, keys)
    if len({algorithm for algorithm, _, _ in checked}) != len(checked):
        raise errors.InvalidParam("There can be only one fallback key for each algorithm.")
    return tuple(
        FallbackKey(requester.user_id, requester.device_id, *one, uploaded_at=now_ms)
        for one in checked
    )


def _checked(requester: Requester, keys: Mapping[str, Any]) -> list[tuple[str, str, bytes]]:
    return [
        key_shapes.check_one_time_key(name, key, requester.user_id, requester.device_id)
        for name, key in keys.items()
    ]
