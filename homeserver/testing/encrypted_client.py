"""Somebody who uses matrix-nio, a real client library, with end-to-end encryption.

Needs `matrix-nio[e2e]`, which is installed for development only. What the person waits for fails
with `DidNotHappen` after `PATIENCE_S`.
"""

import asyncio
import contextlib
import io
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import nio
from nio.crypto import attachments

from homeserver.testing.client import DidNotHappen

ResponseT = TypeVar("ResponseT")
T = TypeVar("T")

PATIENCE_S = 30.0

ENCRYPTION = {
    "type": "m.room.encryption",
    "state_key": "",
    "content": {"algorithm": "m.megolm.v1.aes-sha2"},
}


class NioRefused(AssertionError):
    """The server did not answer as the client expected; the message is nio's."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A message as the one who reads it sees it, decrypted."""

    event_id: str
    sender: str
    content: dict[str, Any]
    was_encrypted: bool


class NioClient:
    """A logged-in nio client that syncs in the background and remembers what it saw."""

    def __init__(self, client: nio.AsyncClient) -> None:
        self._client = client
        self._events: list[tuple[str, nio.Event]] = []
        self._ephemeral: list[tuple[str, Any]] = []
        self._syncing: asyncio.Task[None] | None = None
        client.add_event_callback(self._remember, nio.Event)
        client.add_ephemeral_callback(self._remember_ephemeral, nio.EphemeralEvent)

    @property
    def user_id(self) -> str:
        """The full user ID, as the server told it."""
        return str(self._client.user_id)

    @property
    def library(self) -> nio.AsyncClient:
        """The client itself, for what only this library does."""
        return self._client

    @property
    def device_id(self) -> str:
        """This device."""
        return str(self._client.device_id)

    @classmethod
    async def log_in(cls, url: str, user: str, password: str, store: Path) -> "NioClient":
        """Log in with the short user name, upload keys, and sync from then on."""
        _make(store)
        client = nio.AsyncClient(
            url,
            user,
            store_path=str(store),
            config=nio.AsyncClientConfig(encryption_enabled=True, request_timeout=40),
        )
        _check(await client.login(password), nio.LoginResponse)
        person = cls(client)
        await person._start()
        return person

    async def _start(self) -> None:
        _check(await self._client.sync(full_state=True), nio.SyncResponse)
        if self._client.should_upload_keys:
            _check(await self._client.keys_upload(), nio.KeysUploadResponse)
        self._syncing = asyncio.create_task(self._keep_syncing())

    async def _keep_syncing(self) -> None:
        """Sync until told to stop; nio itself gives up where an answer ends in its middle."""
        while True:
            with contextlib.suppress(aiohttp.ClientPayloadError):
                await self._client.sync_forever(timeout=2_000)

    async def create_encrypted_room(self, name: str, invite: list[str]) -> str:
        """Create a private room that is encrypted from the start."""
        created = _check(
            await self._client.room_create(name=name, invite=invite, initial_state=[ENCRYPTION]),
            nio.RoomCreateResponse,
        )
        room_id = str(created.room_id)
        await self.knows(room_id)
        return room_id

    async def join(self, room_id: str) -> None:
        """Wait for the invite, accept it, and wait until the client knows the room."""
        await eventually(lambda: room_id in self._client.invited_rooms, f"an invite to {room_id}")
        _check(await self._client.join(room_id), nio.JoinResponse)
        await self.knows(room_id)

    async def knows(self, room_id: str) -> None:
        """Wait until the client knows the room as an encrypted one."""
        await eventually(
            lambda: room_id in self._client.rooms and self._client.rooms[room_id].encrypted,
            f"{room_id} known as encrypted",
        )

    async def sees_member(self, room_id: str, user_id: str) -> None:
        """Wait until somebody is joined."""

        def has_joined() -> bool:
            room = self._client.rooms.get(room_id)
            return bool(room and user_id in room.users and user_id not in room.invited_users)

        await eventually(has_joined, f"{user_id} joined")

    async def send(self, room_id: str, event_type: str, content: dict[str, Any]) -> str:
        """Encrypt and send an event; reactions go out as they are, as clients do it."""
        sent = await self._client.room_send(
            room_id, event_type, content, ignore_unverified_devices=True
        )
        return str(_check(sent, nio.RoomSendResponse).event_id)

    async def hears(self, room_id: str, text: str) -> Heard:
        """Wait for a readable message with this text."""
        event = await eventually(
            lambda: self._find(room_id, lambda one: _content(one).get("body") == text), text
        )
        return Heard(event.event_id, event.sender, _content(event), event.decrypted)

    async def shown(self, room_id: str) -> list[tuple[str, str, str]]:
        """Event, sender and text of each message it was told of, in that order."""
        return [
            (event.event_id, event.sender, event.body)
            for where, event in self._events
            if where == room_id and isinstance(event, nio.RoomMessageText)
        ]

    async def readable(self, room_id: str) -> tuple[list[str], int]:
        """Read back through a room: its texts, oldest first, and how many cannot be decrypted."""
        texts: list[str] = []
        unreadable, start = 0, ""
        while True:
            got = await self._client.room_messages(room_id, start, limit=100)
            page = _check(got, nio.RoomMessagesResponse)
            unreadable += sum(isinstance(event, nio.MegolmEvent) for event in page.chunk)
            texts += [event.body for event in page.chunk if isinstance(event, nio.RoomMessageText)]
            if not page.end or not page.chunk:
                return texts[::-1], unreadable
            start = page.end

    async def redact(self, room_id: str, event_id: str) -> None:
        """Take an event back."""
        _check(await self._client.room_redact(room_id, event_id), nio.RoomRedactResponse)

    async def sees_reaction(self, room_id: str, event_id: str, key: str) -> None:
        """Wait for a reaction to an event."""
        relation = {"rel_type": "m.annotation", "event_id": event_id, "key": key}
        await eventually(
            lambda: self._find(room_id, lambda one: _relation(one) == relation), f"reaction {key}"
        )

    async def sees_edit(self, room_id: str, event_id: str, text: str) -> None:
        """Wait until an event was edited to this text."""
        relation = {"rel_type": "m.replace", "event_id": event_id}

        def is_edit(event: nio.Event) -> bool:
            words = _content(event).get("m.new_content", {}).get("body")
            return bool(_relation(event) == relation and words == text)

        await eventually(lambda: self._find(room_id, is_edit), f"edit to {text}")

    async def sees_redacted(self, room_id: str, event_id: str) -> None:
        """Wait until an event was taken back."""
        await eventually(
            lambda: self._find(
                room_id,
                lambda one: isinstance(one, nio.RedactionEvent) and one.redacts == event_id,
            ),
            f"redaction of {event_id}",
        )

    async def read(self, room_id: str, event_id: str) -> None:
        """Tell that everything up to an event was read."""
        marked = await self._client.update_receipt_marker(room_id, event_id)
        _check(marked, nio.UpdateReceiptMarkerResponse)

    async def sees_read(self, room_id: str, event_id: str, by: str) -> None:
        """Wait until somebody told that they read an event."""
        await eventually(
            lambda: any(
                receipt.event_id == event_id and receipt.user_id == by
                for where, event in self._ephemeral
                if where == room_id and isinstance(event, nio.ReceiptEvent)
                for receipt in event.receipts
            ),
            f"{by} read {event_id}",
        )

    async def type_something(self, room_id: str) -> None:
        """Tell that we type."""
        _check(await self._client.room_typing(room_id), nio.RoomTypingResponse)

    async def sees_typing(self, room_id: str, user_id: str) -> None:
        """Wait until somebody types."""
        await eventually(
            lambda: any(
                user_id in event.users
                for where, event in self._ephemeral
                if where == room_id and isinstance(event, nio.TypingNoticeEvent)
            ),
            f"{user_id} types",
        )

    async def upload(self, content: bytes, content_type: str) -> str:
        """Upload a file as it is and return its mxc URI."""
        response, _ = await self._client.upload(
            io.BytesIO(content), content_type, filesize=len(content)
        )
        return str(_check(response, nio.UploadResponse).content_uri)

    async def upload_encrypted(self, content: bytes) -> dict[str, Any]:
        """Encrypt a file as an attachment, upload it and return its `EncryptedFile`."""
        response, keys = await self._client.upload(
            io.BytesIO(content), encrypt=True, filesize=len(content)
        )
        uploaded = _check(response, nio.UploadResponse)
        return {"url": uploaded.content_uri, **(keys or {})}

    async def download(self, mxc_uri: str) -> bytes:
        """Fetch a file."""
        got = await self._client.download(mxc_uri)
        return bytes(_check(got, nio.MemoryDownloadResponse).body)

    async def download_encrypted(self, file: dict[str, Any]) -> bytes:
        """Fetch an encrypted attachment and decrypt it."""
        ciphertext = await self.download(file["url"])
        return bytes(
            attachments.decrypt_attachment(
                ciphertext, file["key"]["k"], file["hashes"]["sha256"], file["iv"]
            )
        )

    async def thumbnail(self, mxc_uri: str, width: int, height: int) -> bytes:
        """Fetch a smaller picture that the server made."""
        server_name, _, media_id = mxc_uri.removeprefix("mxc://").partition("/")
        got = await self._client.thumbnail(server_name, media_id, width, height)
        return bytes(_check(got, nio.ThumbnailResponse).body)

    async def device_ids(self) -> list[str]:
        """All devices of this user."""
        listed = _check(await self._client.devices(), nio.DevicesResponse)
        return [device.id for device in listed.devices]

    async def log_out(self) -> None:
        """End this device's session."""
        await self._stop_syncing()
        _check(await self._client.logout(), nio.LogoutResponse)

    async def close(self) -> None:
        """Let go of connections and files; the session stays."""
        await self._stop_syncing()
        await self._client.close()
        if self._client.store is not None:
            self._client.store.database.close()

    async def _stop_syncing(self) -> None:
        if self._syncing is not None:
            self._syncing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._syncing
            self._syncing = None

    def _find(self, room_id: str, matches: Any) -> Any:
        found = (event for where, event in self._events if where == room_id and matches(event))
        return next(found, None)

    async def _remember(self, room: nio.MatrixRoom, event: nio.Event) -> None:
        self._events.append((room.room_id, event))

    async def _remember_ephemeral(self, room: nio.MatrixRoom, event: Any) -> None:
        self._ephemeral.append((room.room_id, event))


@contextlib.asynccontextmanager
async def nio_client(url: str, user: str, password: str, store: Path) -> AsyncIterator[NioClient]:
    """A nio client for the length of a block."""
    person = await NioClient.log_in(url, user, password, store)
    try:
        yield person
    finally:
        await person.close()


async def eventually(look: Callable[[], T | None], what: str) -> T:
    """Look until there is something to see."""
    limit = time.monotonic() + PATIENCE_S
    while time.monotonic() < limit:
        seen = look()
        if seen:
            return seen
        await asyncio.sleep(0.02)
    raise DidNotHappen(f"did not happen in {PATIENCE_S:.0f} s: {what}")


async def eventually_true(look: Callable[[], Awaitable[bool]], what: str) -> None:
    """Look, by asking, until something is so."""
    limit = time.monotonic() + PATIENCE_S
    while not await look():
        if time.monotonic() > limit:
            raise DidNotHappen(f"did not happen in {PATIENCE_S:.0f} s: {what}")
        await asyncio.sleep(0.1)


def _check(response: Any, wanted: type[ResponseT]) -> ResponseT:
    if not isinstance(response, wanted):
        raise NioRefused(str(response))
    return response


def _content(event: nio.Event) -> dict[str, Any]:
    content: dict[str, Any] = event.source.get("content", {})
    return content


def _relation(event: nio.Event) -> Any:
    return _content(event).get("m.relates_to")


def _make(store: Path) -> None:
    store.mkdir(parents=True, exist_ok=True)
