"""Somebody who uses mautrix (Python), without end-to-end encryption."""

import logging
from typing import Any, Self, cast

from mautrix.api import HTTPAPI
from mautrix.client import Client as MautrixClient
from mautrix.types import (
    JSON,
    EventType,
    Membership,
    MemberStateEventContent,
    MessageEvent,
    RoomID,
    StateEvent,
    TextMessageEventContent,
    UserID,
)

from homeserver.testing.encrypted_client import eventually

_TRIES = 10


class Mautrix:
    """A mautrix client that joins where it is invited and keeps what it is told, in order."""

    def __init__(self, url: str, user: str, password: str) -> None:
        logging.getLogger("mau").setLevel(logging.ERROR)
        self._user, self._password = user, password
        self._heard: dict[str, list[tuple[str, str, str]]] = {}
        self._joined: set[str] = set()
        self._client = MautrixClient(api=HTTPAPI(url, default_retry_count=_TRIES))
        self._client.add_event_handler(EventType.ROOM_MESSAGE, self._hear)
        self._client.add_event_handler(EventType.ROOM_MEMBER, self._be_invited)

    @property
    def user_id(self) -> str:
        return str(self._client.mxid)

    async def __aenter__(self) -> Self:
        await self._client.login(UserID(self._user), password=self._password)
        self._client.start(None)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._client.stop()
        await self._client.api.session.close()

    async def join(self, room_id: str) -> None:
        """Wait until it has joined, which it does by itself."""
        await eventually(lambda: room_id in self._joined, f"joined {room_id}")

    async def send(self, room_id: str, event_type: str, content: dict[str, Any]) -> str:
        kind = EventType.find(event_type)
        words = TextMessageEventContent.deserialize(cast("JSON", content))
        sent = await self._client.send_message_event(RoomID(room_id), kind, words)
        return str(sent)

    async def shown(self, room_id: str) -> list[tuple[str, str, str]]:
        """Event, sender and text of each message it was told of, in that order."""
        return self._heard.get(room_id, [])

    async def _hear(self, event: MessageEvent) -> None:
        told = (event.event_id, event.sender, str(event.content.body))
        self._heard.setdefault(event.room_id, []).append(told)

    async def _be_invited(self, event: StateEvent) -> None:
        content = event.content
        if not isinstance(content, MemberStateEventContent):
            return
        if event.state_key == self._client.mxid and content.membership == Membership.INVITE:
            await self._client.join_room(event.room_id)
            self._joined.add(event.room_id)
