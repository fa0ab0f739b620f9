"""The owner's devices: list, rename, delete.

Spec: client-server-api#device-management
"""

from collections.abc import Sequence
from dataclasses import replace

from homeserver import errors
from homeserver.accounts.sessions import Sessions
from homeserver.matrix.identifiers import DeviceId
from homeserver.ports import Requester
from homeserver.storage import accounts, encryption
from homeserver.storage.accounts import Device
from homeserver.storage.database import Database
from homeserver.storage.unit_of_work import UnitOfWork

__all__ = ["Device", "Devices"]

_NAME_LIMIT = 255


class Devices:
    """The clients the owner is logged in with."""

    def __init__(self, database: Database, sessions: Sessions) -> None:
        self._database = database
        self._sessions = sessions

    def list_all(self, requester: Requester) -> list[Device]:
        """Every device, with the time it was last heard from."""
        stored = self._database.read(lambda view: accounts.list_devices(view, requester.user_id))
        return [self._with_last_seen(requester, device) for device in stored]

    def load(self, requester: Requester, device_id: DeviceId) -> Device:
        """One device. Raises NotFound."""
        device = self._database.read(
            lambda view: accounts.find_device(view, requester.user_id, device_id)
        )
        if device is None:
            raise errors.NotFound("There is no such device.")
        return self._with_last_seen(requester, device)

    async def rename(self, requester: Requester, device_id: DeviceId, name: str | None) -> None:
        """Give a device another name; None leaves it as it is. Raises NotFound.

        Only the owner sees the name, so no device list changes.

        Spec: client-server-api#put_matrixclientv3devicesdeviceid
        """
        if name is not None and len(name) > _NAME_LIMIT:
            raise errors.InvalidParam(f"A device's name has at most {_NAME_LIMIT} characters.")

        def save(work: UnitOfWork) -> None:
            device = accounts.find_device(work, requester.user_id, device_id)
            if device is None:
                raise errors.NotFound("There is no such device.")
            if name is not None:
                accounts.save_device(work, requester.user_id, replace(device, display_name=name))

        await self._database.write(save)

    async def delete(self, requester: Requester, device_ids: Sequence[DeviceId]) -> None:
        """Log devices out and forget them; those that are gone already are no mistake."""
        await self._sessions.end(requester.user_id, device_ids)

    async def delete_all(self, requester: Requester) -> None:
        """Log out everywhere. A dehydrated device is nobody's session and stays.

        Spec: client-server-api#post_matrixclientv3logoutall
        """

        def end(work: UnitOfWork) -> None:
            dehydrated = encryption.find_dehydrated(work, requester.user_id)
            kept = None if dehydrated is None else dehydrated.device_id
            devices = [one.device_id for one in accounts.list_devices(work, requester.user_id)]
            ended = [device_id for device_id in devices if device_id != kept]
            self._sessions.end_within(work, requester.user_id, ended)

        await self._database.write(end)

    def _with_last_seen(self, requester: Requester, device: Device) -> Device:
        seen_at = self._sessions.last_seen_at(requester.user_id, device.device_id)
        return device if seen_at is None else replace(device, last_seen_at=seen_at)
