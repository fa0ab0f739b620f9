"""A dehydrated device: keys sent while no client is logged in wait for the next one (MSC3814).

It is a device of the owner like any other, but without a token: a client makes it, puts it here
locked with a key from the secret storage, and a later client takes out what came meanwhile.
"""

from dataclasses import dataclass
from typing import Any

import orjson

from homeserver import errors
from homeserver.encryption import device_keys, key_backup, uploading
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import DeviceId
from homeserver.ports import Clock, Requester
from homeserver.storage import accounts, encryption
from homeserver.storage.accounts import Device
from homeserver.storage.database import Database
from homeserver.storage.encryption import DehydratedDevice
from homeserver.storage.unit_of_work import UnitOfWork, View

_DATA_LIMIT = 65_536
_PAGE = 100
_DIGITS_LIMIT = 18


@dataclass(frozen=True, slots=True)
class PutAway:
    """What a client says of the device that it puts here."""

    device_id: DeviceId
    device_data: JsonObject
    display_name: str | None
    device_keys: JsonObject
    one_time_keys: dict[str, Any]
    fallback_keys: dict[str, Any]


class Dehydration:
    """The owner's dehydrated device; there is one at most."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def put(self, requester: Requester, device: PutAway) -> None:
        """Keep a device in place of the one before, whose keys and messages are deleted."""
        now_ms = self._clock.now_ms()
        itself = Requester(requester.user_id, device.device_id)
        upload = uploading.check(
            itself, device.device_keys, device.one_time_keys, device.fallback_keys, now_ms
        )
        stored = DehydratedDevice(
            requester.user_id, device.device_id, key_backup.to_json(device.device_data)
        )
        if len(stored.device_data) > _DATA_LIMIT:
            raise errors.TooLarge("The dehydrated device is too large.")

        def save(work: UnitOfWork) -> None:
            self._remove(work, requester)
            if accounts.find_device(work, requester.user_id, device.device_id) is not None:
                raise errors.InvalidParam("There is another device with that ID.")
            row = Device(device.device_id, device.display_name, now_ms)
            accounts.save_device(work, requester.user_id, row)
            encryption.save_dehydrated(work, stored)
            uploading.save(work, itself, upload)

        await self._database.write(save)

    def find(self, requester: Requester) -> JsonObject:
        """The device, for a client that wants to take it up again."""
        found = self._database.read(lambda view: _load(view, requester))
        return {"device_id": found.device_id, "device_data": orjson.loads(found.device_data)}

    async def delete(self, requester: Requester) -> DeviceId:
        """Forget the device with all that came for it."""

        def delete(work: UnitOfWork) -> DeviceId:
            found = _load(work, requester)
            self._remove(work, requester)
            return found.device_id

        return await self._database.write(delete)

    def events(
        self, requester: Requester, device_id: DeviceId, after: str | None
    ) -> tuple[list[JsonObject], str, bool]:
        """A page of messages for the device, where the next begins, and whether it may hold more.

        They stay until the device is replaced, so that a client that fails half-way can try again.
        """
        position = _position(after)

        def load(view: View) -> tuple[list[JsonObject], str, bool]:
            if _load(view, requester).device_id != device_id:
                raise errors.Forbidden("That is not the dehydrated device.")
            found = encryption.to_device_since(
                view, requester.user_id, device_id, position, self._database.position, _PAGE
            )
            reached = found[-1].position if found else position
            events = [orjson.loads(one.message) for one in found]
            return events, str(reached), len(found) == _PAGE

        return self._database.read(load)

    def _remove(self, work: UnitOfWork, requester: Requester) -> None:
        before = encryption.find_dehydrated(work, requester.user_id)
        if before is not None:
            accounts.delete_devices(work, requester.user_id, [before.device_id])
            device_keys.forget_devices(work, requester.user_id, [before.device_id])


def _load(view: View, requester: Requester) -> DehydratedDevice:
    found = encryption.find_dehydrated(view, requester.user_id)
    if found is None:
        raise errors.NotFound("There is no dehydrated device.")
    return found


def _position(after: str | None) -> int:
    if not after:
        return 0
    if not (after.isascii() and after.isdigit() and len(after) <= _DIGITS_LIMIT):
        raise errors.InvalidParam("That is not a token of this server.")
    return int(after)
