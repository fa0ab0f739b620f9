"""Messages addressed to devices: each is delivered once, to ours or into a peer's outbox.

Spec: client-server-api#send-to-device-messaging
"""

from collections.abc import Iterator, Mapping, Sequence

from homeserver import errors
from homeserver.encryption import peer_lists, reports
from homeserver.matrix import canonical_json
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import DeviceId, ServerName, UserId, parse_user_id, server_of
from homeserver.ports import Clock, Requester
from homeserver.rooms import ignoring
from homeserver.storage import accounts, encryption, frames, peers
from homeserver.storage.database import Database
from homeserver.storage.unit_of_work import UnitOfWork, View

Messages = Mapping[str, Mapping[str, JsonObject]]

EDU_TYPE = "m.direct_to_device"

# What one frame to a peer carries beside other things; one message may be no larger.
_ITEM_LIMIT = 65_536
_ALL_DEVICES = "*"
_ENCRYPTED = "m.room.encrypted"
_DEVICES_LIMIT = 1_000
# After how long a device counts as abandoned: the oldest of what waits for it makes room.
_ABANDONED_MS = 90 * 86_400_000
_LATER_MS = 60_000


class ToDevice:
    """Sends messages from the owner's devices to devices."""

    def __init__(self, database: Database, clock: Clock, server_name: ServerName) -> None:
        self._database = database
        self._clock = clock
        self._server_name = server_name

    async def send(
        self, requester: Requester, event_type: str, txn_id: str, messages: Messages
    ) -> None:
        """Send to devices, by user and device; the same txn_id again changes nothing.

        What is for people whose servers are not connected is dropped without a word. Raises
        `LimitExceeded` where one of the owner's devices has fetched nothing for too long.

        Spec: client-server-api#put_matrixclientv3sendtodeviceeventtypetxnid
        """
        if sum(len(devices) for devices in messages.values()) > _DEVICES_LIMIT:
            raise errors.TooLarge("Write to fewer devices at once.")
        local = {user: messages[user] for user in messages if self._is_local(user)}
        remote = {user: messages[user] for user in messages if user not in local}
        edus = list(_edus(requester.user_id, event_type, txn_id, remote))

        def deliver(work: UnitOfWork) -> None:
            name, now_ms = f"to_device/{event_type}/{txn_id}", self._clock.now_ms()
            if not accounts.use_transaction(
                work, requester.user_id, requester.device_id, name, now_ms
            ):
                return
            _put_into_inboxes(work, (requester.user_id, event_type, now_ms), local)
            connected = peers.connected_servers(work) if edus else frozenset()
            for server, edu in edus:
                if server in connected:
                    frames.queue_item(work, server, "to_device", EDU_TYPE, edu)

        await self._database.write(deliver)

    def _is_local(self, user_id: str) -> bool:
        return server_of(parse_user_id(user_id)) == self._server_name


def take_in_to_device(work: UnitOfWork, peer: ServerName, edu: JsonObject, now_ms: int) -> None:
    """Put what a peer's user sent into our devices' inboxes.

    Raises `LimitExceeded` where there is no room; it has to come again then.

    Spec: server-server-api#send-to-device-messaging
    """
    sender, event_type, messages = edu.get("sender"), edu.get("type"), edu.get("messages")
    if not isinstance(sender, str) or not isinstance(event_type, str):
        raise errors.BadJson("A to-device message has a sender and a type.")
    if not isinstance(messages, dict) or len(messages) > peer_lists.USERS_LIMIT:
        raise errors.BadJson("A to-device message has messages by user and device.")
    checked = peer_lists.check_user_of(peer, sender)
    _put_into_inboxes(work, (checked, event_type, now_ms), messages, peer)


def _put_into_inboxes(
    work: UnitOfWork,
    sent: tuple[UserId, str, int],
    messages: Mapping[str, object],
    peer: ServerName | None = None,
) -> None:
    """Deliver messages by user and device; `sent` is by whom, of which type, and when.

    Of those whom the user ignores only what is encrypted comes in: it may be the keys of what they
    say meanwhile, which is shown once they are ignored no more.

    Spec: client-server-api#ignoring-users
    """
    sender, event_type, now_ms = sent
    for user_id in sorted(accounts.users_with_accounts(work, [UserId(user) for user in messages])):
        by_device = messages[user_id]
        if not isinstance(by_device, dict):
            raise errors.BadJson("A to-device message has messages by device.")
        if event_type != _ENCRYPTED and sender in ignoring.ignored_by(work, user_id):
            continue
        rows = [
            (device_id, _encode({"sender": sender, "type": event_type, "content": content}))
            for device_id, content in _addressed(work, user_id, by_device)
        ]
        _make_room(work, user_id, [device_id for device_id, _ in rows], peer, now_ms)
        encryption.save_to_device(work, user_id, rows, peer)


def _make_room(
    work: UnitOfWork,
    user_id: UserId,
    devices: Sequence[DeviceId],
    peer: ServerName | None,
    now_ms: int,
) -> None:
    """Refuse what is for a full inbox, unless nobody has used the device for very long.

    What was accepted is never dropped for what comes later while somebody may still read it.
    """
    most = encryption.limit_for(peer)
    for device_id, count in encryption.count_to_device(work, user_id, devices, peer).items():
        if count + 1 == most:
            reports.report_filled(work, device_id, most, now_ms)
        if count < most:
            continue
        device = accounts.find_device(work, user_id, device_id)
        if device is None or device.last_seen_at > now_ms - _ABANDONED_MS:
            raise errors.LimitExceeded(_LATER_MS, f"Too much waits for the device {device_id}.")
        dropped = encryption.drop_oldest(work, user_id, device_id, peer, most - 1)
        reports.report_dropped(work, user_id, device_id, dropped, now_ms)


def _addressed(
    view: View, user_id: UserId, by_device: Mapping[str, JsonObject]
) -> Iterator[tuple[DeviceId, JsonObject]]:
    """Each existing device and what it gets: its own message before the one for all."""
    for device in accounts.list_devices(view, user_id):
        content = by_device.get(device.device_id, by_device.get(_ALL_DEVICES))
        if isinstance(content, dict):
            yield device.device_id, content


def _edus(
    sender: UserId, event_type: str, txn_id: str, messages: Messages
) -> Iterator[tuple[ServerName, JsonObject]]:
    for user_id, by_device in messages.items():
        for part in _parts(by_device):
            edu: JsonObject = {
                "sender": sender,
                "type": event_type,
                "message_id": txn_id,
                "messages": {user_id: part},
            }
            _encode(edu)
            yield server_of(user_id), edu


def _parts(by_device: Mapping[str, JsonObject]) -> list[JsonObject]:
    """One for each device, so that none outgrows a frame.

    What is for all devices means all that get nothing of their own, so it stays with what those
    get, if there is room.
    """
    is_mixed = _ALL_DEVICES in by_device and len(by_device) > 1
    if is_mixed and len(canonical_json.encode(by_device)) < _ITEM_LIMIT // 2:
        return [dict(by_device)]
    return [{device_id: content} for device_id, content in by_device.items()]


def _encode(message: JsonObject) -> bytes:
    raw = canonical_json.encode(message)
    if len(raw) > _ITEM_LIMIT:
        raise errors.TooLarge
    return raw
