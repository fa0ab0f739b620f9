"""What is remembered of a device between its syncs; forgetting it costs a question or two."""

from collections import OrderedDict
from dataclasses import dataclass, field

from homeserver.matrix.canonical_json import JsonObject
from homeserver.ports import Requester
from homeserver.storage import accounts
from homeserver.storage.database import Database
from homeserver.sync.told_members import ToldMembers

_REMEMBERED = 200
_NOTED_EVERY_MS = 86_400_000


@dataclass(slots=True)
class SyncingDevice:
    """The key counts and members a device was told, and up to where nothing waits for it."""

    told_keys: JsonObject | None = None
    empty_up_to: int = -1
    told_members: ToldMembers = field(default_factory=ToldMembers)
    noted_at: int | None = None

    def tell_keys(self, keys: JsonObject) -> bool:
        """Whether these counts are news to a device that was told others."""
        is_news = self.told_keys is not None and self.told_keys != keys
        self.told_keys = keys
        return is_news

    def saw_inbox(self, after: int, until: int, count: int) -> None:
        """So many messages were found between two positions."""
        if count == 0 and after <= self.empty_up_to:
            self.empty_up_to = max(self.empty_up_to, until)


class SyncingDevices:
    """The devices that synced lately."""

    def __init__(self) -> None:
        self._devices: OrderedDict[Requester, SyncingDevice] = OrderedDict()

    def of(self, requester: Requester) -> SyncingDevice:
        """What is remembered of one device."""
        device = self._devices.pop(requester, None) or SyncingDevice()
        self._devices[requester] = device
        if len(self._devices) > _REMEMBERED:
            self._devices.popitem(last=False)
        return device

    async def note_seen(self, requester: Requester, database: Database, now_ms: int) -> None:
        """Keep once a day that the device is in use: whoever is not may lose messages some day."""
        device, (user_id, device_id) = self.of(requester), (requester.user_id, requester.device_id)
        if device.noted_at is None:
            stored = database.read(lambda view: accounts.find_device(view, user_id, device_id))
            device.noted_at = now_ms if stored is None else stored.last_seen_at
        if now_ms - device.noted_at >= _NOTED_EVERY_MS:
            device.noted_at = now_ms
            await database.write(lambda work: accounts.note_seen(work, user_id, device_id, now_ms))
