"""Device lists of peers' users, as their servers gave them to us."""

from contextlib import suppress
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from homeserver import errors
from homeserver.encryption import key_shapes
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import DeviceId, ServerName, UserId, parse_user_id, server_of
from homeserver.storage import encryption
from homeserver.storage.encryption import DeviceKeys
from homeserver.storage.unit_of_work import UnitOfWork

# A server has one owner; the rest is room for what comes later, and a bound for mischief.
USERS_LIMIT = 10
DEVICES_LIMIT = 100

ByDevice = Annotated[dict[str, Any], Field(max_length=DEVICES_LIMIT)]


class DeviceList(BaseModel):
    """A user's devices and the public cross-signing keys that everybody may see.

    Each is checked by itself when it is kept, so that a wrong one does not take the rest with it.
    """

    device_keys: ByDevice = Field(default_factory=dict)
    master_key: Any = None
    self_signing_key: Any = None


def check_user_of(peer: ServerName, user_id: str) -> UserId:
    """A peer speaks for users of its own server only."""
    checked = parse_user_id(user_id)
    if server_of(checked) != peer:
        raise errors.Forbidden("That user lives on another server.")
    return checked


def from_query(answer: JsonObject, user_id: UserId) -> DeviceList:
    """One user's part of a peer's answer to `user/keys/query`; empty where it knows none."""
    parts = {
        "device_keys": _part(answer, "device_keys", user_id),
        "master_key": _part(answer, "master_keys", user_id),
        "self_signing_key": _part(answer, "self_signing_keys", user_id),
    }
    try:
        return DeviceList.model_validate(
            {name: part for name, part in parts.items() if part is not None}
        )
    except ValidationError as error:
        raise errors.BadJson from error


def save(work: UnitOfWork, user_id: UserId, list_: DeviceList, now_ms: int) -> None:
    """Keep what is right of a user's list; syncs hear of it only if something in it is different.

    Raises BadJson where nothing is right, for no devices at all would be taken for the truth, and
    TooLarge for one more user than a server may have.
    """
    server = server_of(user_id)
    devices = _right_devices(user_id, list_)
    cross_signing = _right_cross_signing(user_id, list_)
    given = (list_.device_keys, list_.master_key, list_.self_signing_key)
    if any(given) and not devices and not cross_signing:
        raise errors.BadJson("There is no valid key in that list.")
    is_known = user_id in encryption.find_list_received_at(work, [user_id])
    if is_known and _is_stored(work, user_id, devices, cross_signing):
        encryption.mark_device_list_received(work, user_id, now_ms)
        return
    if not is_known and encryption.count_users_of_server(work, server) >= USERS_LIMIT:
        raise errors.TooLarge("That server has too many users.")
    encryption.replace_device_keys(
        work, user_id, [DeviceKeys(user_id, *device) for device in devices.items()]
    )
    encryption.replace_cross_signing_keys(work, user_id, cross_signing)
    encryption.mark_device_list_changed(work, user_id, server, now_ms)


def _is_stored(
    work: UnitOfWork,
    user_id: UserId,
    devices: dict[DeviceId, bytes],
    cross_signing: dict[str, bytes],
) -> bool:
    stored = {one.device_id: one.key_json for one in encryption.find_device_keys(work, [user_id])}
    keys = encryption.find_cross_signing_keys(work, [user_id]).get(user_id, {})
    return stored == devices and keys == cross_signing


def _right_devices(user_id: UserId, list_: DeviceList) -> dict[DeviceId, bytes]:
    found: dict[DeviceId, bytes] = {}
    for name, keys in list_.device_keys.items():
        device_id = DeviceId(name)
        with suppress(errors.HomeserverError):
            found[device_id] = key_shapes.check_device_keys(keys, user_id, device_id)
    return found


def _right_cross_signing(user_id: UserId, list_: DeviceList) -> dict[str, bytes]:
    given = {"master": list_.master_key, "self_signing": list_.self_signing_key}
    found: dict[str, bytes] = {}
    for usage, keys in given.items():
        with suppress(errors.HomeserverError):
            found[usage] = key_shapes.check_cross_signing_key(keys, user_id, usage)
    return found


def _part(answer: JsonObject, name: str, user_id: UserId) -> Any:
    by_user = answer.get(name)
    return by_user.get(user_id) if isinstance(by_user, dict) else None
