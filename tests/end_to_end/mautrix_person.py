"""mautrix (Python) feels at home: logs in, chats, and loses nothing when servers come and go."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Self

import pytest
from mautrix.api import HTTPAPI
from mautrix.client import Client as MautrixClient
from mautrix.types import (
    EventType,
    Membership,
    MemberStateEventContent,
    MessageEvent,
    MessageType,
    RoomID,
    StateEvent,
    TextMessageEventContent,
    UserID,
)

from homeserver.testing import processes
from homeserver.testing.client import Client
from homeserver.testing.processes import Server
from tests import checking_proxy
from tests.checking_proxy import Seen
from tests.end_to_end.conftest import WithClient

PATIENCE_S = 60.0


class Mautrix:
    """A mautrix client that joins where it is invited and keeps what it is told, in order."""

    def __init__(self, server: Server, url: str) -> None:
        self.server = server
        self.heard: list[str] = []
        self.joined: list[RoomID] = []
        self._changed = asyncio.Event()
        self.client = MautrixClient(api=HTTPAPI(url, default_retry_count=10))
        self.client.add_event_handler(EventType.ROOM_MESSAGE, self._hear)
        self.client.add_event_handler(EventType.ROOM_MEMBER, self._be_invited)

    async def __aenter__(self) -> Self:
        await self.client.login(UserID(self.server.user), password=self.server.password)
        self.client.start(None)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.client.stop()
        await self.client.api.session.close()

    async def say(self, room_id: RoomID, text: str) -> None:
        await self.client.send_message(
            room_id, TextMessageEventContent(body=text, msgtype=MessageType.TEXT)
        )

    async def until(self, count: int) -> list[str]:
        """Wait until so many messages were heard."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.heard) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.heard

    async def until_joined(self, room_id: str) -> RoomID:
        async with asyncio.timeout(PATIENCE_S):
            while room_id not in self.joined:
                self._changed.clear()
                await self._changed.wait()
        return RoomID(room_id)

    async def _hear(self, event: MessageEvent) -> None:
        if event.room_id in self.joined:
            self.heard.append(event.content.body)
            self._changed.set()

    async def _be_invited(self, event: StateEvent) -> None:
        content = event.content
        if not isinstance(content, MemberStateEventContent):
            return
        if event.state_key == self.client.mxid and content.membership == Membership.INVITE:
            await self.client.join_room(event.room_id)
            self.joined.append(event.room_id)
            self._changed.set()


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[tuple[Server, Server]]:
    logging.getLogger("mau").setLevel(logging.ERROR)
    alice, bob = (Server(directory=tmp_path / name, user=name) for name in ("alice", "bob"))
    with processes.running(alice, bob):
        processes.connect(alice, bob)
        yield alice, bob


async def test_mautrix_hears_everything_once_and_in_order_whatever_stops_in_between(
    pair: tuple[Server, Server], with_client: WithClient
) -> None:
    alice, bob = pair
    hers = await with_client(alice)
    with checking_proxy.checking(bob.url) as seen:
        await talk(alice, bob, hers, seen)
        assert seen.violations(of_endpoints=1) == []


async def talk(alice: Server, bob: Server, hers: Client, seen: Seen) -> None:
    async with Mautrix(bob, seen.url) as his:
        room_id = await hers.create_room(invite=[his.client.mxid])
        joined = await his.until_joined(room_id)
        for number in range(5):
            await hers.send_text(room_id, f"before {number}")
        await his.until(5)
        bob.kill()
        for number in range(5):
            await hers.send_text(room_id, f"while his server was away {number}")
        bob.start()
        await his.until(10)
        alice.stop()
        await his.say(joined, "while her server was away")
        alice.start()
        for number in range(5):
            await hers.send_text(room_id, f"after {number}")
        heard = await his.until(16)
        expected = [f"before {number}" for number in range(5)]
        expected += [f"while his server was away {number}" for number in range(5)]
        expected += ["while her server was away"]
        expected += [f"after {number}" for number in range(5)]
        assert heard == expected
        said = [
            event["content"]["body"]
            for event in await hers.timeline(room_id)
            if event["type"] == "m.room.message"
        ]
        assert sorted(said) == sorted(expected)
