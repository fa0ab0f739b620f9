"""A device with matrix-nio in a simulation: real end-to-end encryption, virtual time, no sockets.

Nothing happens by itself: the device does something only when a story lets it `catch_up` or `say`.
"""

from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import nio
import orjson

from homeserver.testing.encrypted_client import ENCRYPTION, NioRefused
from homeserver.testing.memory_http import MemoryConnector
from homeserver.testing.simulated_server import PASSWORD, SimulatedServer

ResponseT = TypeVar("ResponseT")

_MOST_SYNCS = 200
_CONFIG = nio.AsyncClientConfig(encryption_enabled=True, request_timeout=600, max_timeouts=3)


class SimulatedDevice:
    """One logged-in nio client. `read` are the texts it could decrypt, by event ID."""

    def __init__(self, client: nio.AsyncClient, server: SimulatedServer) -> None:
        self.server = server
        self.read: dict[str, str] = {}
        self._seen: set[str] = set()
        self._client = client

    @property
    def device_id(self) -> str:
        """Its ID."""
        return str(self._client.device_id)

    @property
    def user_id(self) -> str:
        """Whose it is."""
        return str(self._client.user_id)

    @property
    def one_time_keys(self) -> int:
        """How many keys its server has left, as the last sync said."""
        return int(self._client.olm.uploaded_key_count or 0)

    @classmethod
    async def log_in(cls, server: SimulatedServer, store: Path) -> "SimulatedDevice":
        """Log in at a running server and publish keys; `store` is a directory."""
        client = nio.AsyncClient(
            "http://simulated.test", server.name, store_path=str(store), config=_CONFIG
        )
        connector = MemoryConnector(server.listener)
        client.client_session = aiohttp.ClientSession(connector=connector)
        _check(await client.login(PASSWORD), nio.LoginResponse)
        _survive_forgotten_keys(client.olm)
        device = cls(client, server)
        await device.catch_up()
        return device

    async def close(self) -> None:
        """Let go of files; the session stays."""
        await self._client.close()
        if self._client.store is not None:
            self._client.store.database.close()

    async def log_out(self) -> None:
        """End the session. What the device holds it keeps, as a stolen phone would."""
        _check(await self._client.logout(), nio.LogoutResponse)

    async def catch_up(self) -> None:
        """Sync until nothing is new, doing after each sync what clients do."""
        for _ in range(_MOST_SYNCS):
            before = self._client.next_batch
            answer = _check(await self._client.sync(timeout=0), nio.SyncResponse)
            for room_id, room in answer.rooms.join.items():
                self._remember(room.timeline.events)
                if room.timeline.limited:
                    await self._read_back(room_id, room.timeline.prev_batch)
            await self._do_chores()
            if answer.next_batch == before:
                return
        raise AssertionError(f"{self.device_id} never finishes to sync")

    async def create_room(self, *others: str) -> str:
        """Create an encrypted room and invite people."""
        made = await self._client.room_create(invite=list(others), initial_state=[ENCRYPTION])
        room_id = str(_check(made, nio.RoomCreateResponse).room_id)
        await self.catch_up()
        return room_id

    async def join(self, room_id: str) -> None:
        """Accept an invite."""
        _check(await self._client.join(room_id), nio.JoinResponse)
        await self.catch_up()

    async def say(self, room_id: str, text: str) -> str:
        """Send a text, encrypted for every device that this one knows; the event's ID."""
        content = {"msgtype": "m.text", "body": text}
        sent = await self._client.room_send(
            room_id, "m.room.message", content, ignore_unverified_devices=True
        )
        event_id = str(_check(sent, nio.RoomSendResponse).event_id)
        self.read[event_id] = text
        return event_id

    def can_read(self, room_id: str, encrypted: dict[str, Any]) -> bool:
        """Whether it can decrypt an event, wherever it got it from."""
        event = nio.Event.parse_encrypted_event(encrypted)
        event.room_id = room_id
        try:
            self._client.decrypt_event(event)
        except nio.EncryptionError:
            return False
        return True

    async def publish_fallback_key(self) -> None:
        """Make a new fallback key; the one before is kept, as other libraries do it."""
        machine = self._client.olm
        account = machine.account._account  # noqa: SLF001 - nio has no name for it
        account.generate_fallback_key()
        keys = {}
        for key_id, key in account.fallback_key.items():
            content = {"key": key.to_base64(), "fallback": True}
            signature = machine.sign_json(content)
            signer = {f"ed25519:{self.device_id}": signature}
            signed = content | {"signatures": {self.user_id: signer}}
            keys[f"signed_curve25519:{key_id}"] = signed
        account.mark_keys_as_published()
        machine.save_account()
        await self.ask("POST", "keys/upload", {"fallback_keys": keys})

    async def needs_fallback_key(self) -> bool:
        """Whether its server says that the newest one was used."""
        answer = await self.ask("GET", "sync?timeout=0")
        return "signed_curve25519" not in answer["device_unused_fallback_key_types"]

    async def claim(self, user_id: str, device_id: str) -> dict[str, Any]:
        """Take a key of a device, by its name."""
        wanted = {user_id: {device_id: "signed_curve25519"}}
        answer = await self.ask("POST", "keys/claim", {"one_time_keys": wanted})
        found: dict[str, Any] = answer["one_time_keys"].get(user_id, {}).get(device_id, {})
        return found

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        """A request that nio does not know."""
        headers = {"Authorization": f"Bearer {self._client.access_token}"}
        data = None if body is None else orjson.dumps(body)
        answer = await self._client.send(method, f"/_matrix/client/v3/{path}", data, headers)
        return orjson.loads(await answer.read())

    async def _do_chores(self) -> None:
        if self._client.should_upload_keys:
            _check(await self._client.keys_upload(), nio.KeysUploadResponse)
        if self._client.should_query_keys:
            _check(await self._client.keys_query(), nio.KeysQueryResponse)
        await self._client.send_to_device_messages()

    async def _read_back(self, room_id: str, start: str) -> None:
        """Fetch what a sync left out, back to what was seen before."""
        while start:
            got = await self._client.room_messages(room_id, start, limit=100)
            page = _check(got, nio.RoomMessagesResponse)
            is_known = any(event.event_id in self._seen for event in page.chunk)
            self._remember(page.chunk)
            if is_known or not page.chunk:
                return
            start = page.end

    def _remember(self, events: list[Any]) -> None:
        for event in events:
            self._seen.add(event.event_id)
            if isinstance(event, nio.RoomMessageText) and event.decrypted:
                self.read.setdefault(event.event_id, event.body)


def _survive_forgotten_keys(machine: Any) -> None:
    """Leave out what was sealed with a key that the device has forgotten; nio itself stops there.

    It has no fallback keys, so this does not happen to it.
    """
    take_in = machine.handle_to_device_event

    def take_in_if_possible(event: Any) -> Any:
        try:
            return take_in(event)
        except Exception as error:
            if type(error).__name__ != "SessionCreationException":
                raise
            return None

    machine.handle_to_device_event = take_in_if_possible


def _check(response: Any, wanted: type[ResponseT]) -> ResponseT:
    if not isinstance(response, wanted):
        raise NioRefused(str(response))
    return response
