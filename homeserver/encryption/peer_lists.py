"""Device lists of peers' users, as their servers gave them to us."""

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

ByDevice = Annotated[dict[str, JsonObject], Field(max_length=DEVICES_LIMIT)]


class DeviceList(BaseModel):
    """A user's devices and the public cross-signing keys that everybody may see."""

    device_keys: ByDevice = Field(default_factory=dict)
    master_key: JsonObject | None = None
    self_signing_key: JsonObject | None = None


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
    """Keep a user's list; syncs hear of it only if something in it is different.

    Raises TooLarge for one more user than a server may have.
    """
    server = server_of(user_id)
    devices = _checked_devices(user_id, list_)
    cross_signing = _checked_cross_signing(user_id, list_)
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


def _checked_devices(user_id: UserId, list_: DeviceList) -> dict[DeviceId, bytes]:
    return {
        DeviceId(device_id): key_shapes.check_device_keys(keys, user_id, DeviceId(device_id))
        for device_id, keys in list_.device_keys.items()
    }


def _checked_cross_signing(user_id: UserId, list_: DeviceList) -> dict[str, bytes]:
    given = {"master": list_.master_key, "self_signing": list_.self_signing_key}
    return {
        usage: key_shapes.check_cross_signing_key(keys, user_id, usage)
        for usage, keys in given.items()
        if keys is not None
    }


def _part(answer: JsonObject, name: str, user_id: UserId) -> Any:
    by_user = answer.get(name)
    return by_user.get(user_id) if isinstance(by_user, dict) else None
