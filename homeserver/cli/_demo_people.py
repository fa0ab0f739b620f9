"""The two people of the demonstration: with a client that encrypts, or with a plain one."""

import asyncio
import contextlib
import importlib.util
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

from homeserver.testing.client import Client, DidNotHappen, Refused
from homeserver.testing.processes import Server

_PATIENCE_S = 30.0


class Person(Protocol):
    """What somebody does in the demonstration."""

    @property
    def user_id(self) -> str:
        """The full user ID."""
        ...

    async def create_room(self, guest: str) -> str:
        """Create a room and invite somebody."""
        ...

    async def join(self, room_id: str) -> None:
        """Wait for the invite and accept it."""
        ...

    async def sees_member(self, room_id: str, user_id: str) -> None:
        """Wait until somebody is joined."""
        ...

    async def say(self, room_id: str, text: str) -> None:
        """Send a text."""
        ...

    async def hears(self, room_id: str, text: str) -> None:
        """Wait until a text is there to read."""
        ...


def can_encrypt() -> bool:
    """Whether matrix-nio and what it encrypts with are installed."""
    return all(importlib.util.find_spec(name) for name in ("nio", "vodozemac", "peewee"))


@contextlib.asynccontextmanager
async def log_in(server: Server, *, is_encrypted: bool) -> AsyncIterator[Person]:
    """Somebody logged in at their server."""
    if is_encrypted:
        from homeserver.testing.encrypted_client import nio_client

        store = server.directory / "client"
        async with nio_client(server.url, server.user, server.password, store) as nio:
            yield _EncryptingPerson(nio)
    else:
        async with Client(server.url) as client:
            await client.log_in(server.user, server.password)
            yield _PlainPerson(client)


class _EncryptingPerson:
    """Somebody who uses matrix-nio."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.user_id: str = client.user_id

    async def create_room(self, guest: str) -> str:
        return str(await self._client.create_encrypted_room("the two of us", [guest]))

    async def join(self, room_id: str) -> None:
        await self._client.join(room_id)

    async def sees_member(self, room_id: str, user_id: str) -> None:
        await self._client.sees_member(room_id, user_id)

    async def say(self, room_id: str, text: str) -> None:
        message = {"msgtype": "m.text", "body": text}
        await self._client.send(room_id, "m.room.message", message)

    async def hears(self, room_id: str, text: str) -> None:
        await self._client.hears(room_id, text)


class _PlainPerson:
    """Somebody whose client does not encrypt."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.user_id = client.user_id

    async def create_room(self, guest: str) -> str:
        return await self._client.create_room(invite=[guest])

    async def join(self, room_id: str) -> None:
        await self._until(lambda: self._is_invited(room_id), "an invite")
        await self._client.join(room_id)

    async def _is_invited(self, room_id: str) -> bool:
        answer = await self._client.sync(timeout_ms=1_000)
        return room_id in answer.get("rooms", {}).get("invite", {})

    async def sees_member(self, room_id: str, user_id: str) -> None:
        await self._until(lambda: self._has_joined(room_id, user_id), f"{user_id} joined")

    async def _has_joined(self, room_id: str, user_id: str) -> bool:
        try:
            member = await self._client.state(room_id, "m.room.member", user_id)
        except Refused:
            return False
        return bool(member["membership"] == "join")

    async def say(self, room_id: str, text: str) -> None:
        await self._client.send_text(room_id, text)

    async def hears(self, room_id: str, text: str) -> None:
        await self._until(lambda: self._has_arrived(room_id, text), text)

    async def _has_arrived(self, room_id: str, text: str) -> bool:
        page = await self._client.messages(room_id, limit=20)
        return any(event["content"].get("body") == text for event in page["chunk"])

    async def _until(self, look: Callable[[], Awaitable[bool]], what: str) -> None:
        limit = time.monotonic() + _PATIENCE_S
        while not await look():
            if time.monotonic() > limit:
                raise DidNotHappen(f"did not happen in {_PATIENCE_S:.0f} s: {what}")
            await asyncio.sleep(0.05)
