"""The owner's devices.

Spec: client-server-api#device-management
"""

from pydantic import BaseModel, Field, StrictStr

from api.routing import Routes
from homeserver.accounts.devices import Device, Devices
from homeserver.accounts.interactive_auth import InteractiveAuth
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import DeviceId
from homeserver.ports import Requester

routes = Routes("/_matrix/client/v3", "/_matrix/client/r0")


class DeviceAnswer(BaseModel):
    """A device as clients show it. Addresses are not kept; matrix-nio wants every field there."""

    device_id: str
    display_name: str
    last_seen_ip: str = ""
    last_seen_ts: int


class RenameBody(BaseModel):
    """A device's new name."""

    display_name: StrictStr | None = None


class DeleteBody(BaseModel):
    """The password, once it was asked for."""

    auth: JsonObject | None = None


class DeleteSeveralBody(BaseModel):
    """Which devices to delete."""

    devices: list[StrictStr] = Field(max_length=1_000)
    auth: JsonObject | None = None


@routes.get("/devices")
async def list_devices(requester: Requester, devices: Devices) -> JsonObject:
    """All devices.

    Spec: client-server-api#get_matrixclientv3devices
    """
    shown = [_shown(device) for device in devices.list_all(requester)]
    return {"devices": [device.model_dump() for device in shown]}


@routes.get("/devices/{device_id}")
async def get_device(requester: Requester, device_id: DeviceId, devices: Devices) -> DeviceAnswer:
    """One device.

    Spec: client-server-api#get_matrixclientv3devicesdeviceid
    """
    return _shown(devices.load(requester, device_id))


@routes.put("/devices/{device_id}")
async def rename_device(
    requester: Requester, device_id: DeviceId, body: RenameBody, devices: Devices
) -> JsonObject:
    """Give a device another name.

    Spec: client-server-api#put_matrixclientv3devicesdeviceid
    """
    await devices.rename(requester, device_id, body.display_name)
    return {}


@routes.delete("/devices/{device_id}")
async def delete_device(
    requester: Requester,
    device_id: DeviceId,
    body: DeleteBody,
    devices: Devices,
    confirmation: InteractiveAuth,
) -> JsonObject:
    """Log a device out and forget it, after asking for the password.

    Spec: client-server-api#delete_matrixclientv3devicesdeviceid
    """
    await confirmation.confirm(requester, _deletion_of([device_id]), body.auth)
    await devices.delete(requester, [device_id])
    return {}


@routes.post("/delete_devices")
async def delete_devices(
    requester: Requester,
    body: DeleteSeveralBody,
    devices: Devices,
    confirmation: InteractiveAuth,
) -> JsonObject:
    """Log several devices out and forget them, after asking for the password.

    Spec: client-server-api#post_matrixclientv3delete_devices
    """
    device_ids = [DeviceId(device_id) for device_id in body.devices]
    await confirmation.confirm(requester, _deletion_of(device_ids), body.auth)
    await devices.delete(requester, device_ids)
    return {}


def _deletion_of(device_ids: list[DeviceId]) -> str:
    return "delete " + "\n".join(sorted(device_ids))


def _shown(device: Device) -> DeviceAnswer:
    return DeviceAnswer(
        device_id=device.device_id,
        display_name=device.display_name or "",
        last_seen_ts=device.last_seen_at,
    )
