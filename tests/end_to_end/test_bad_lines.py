"""Each client shows everything once and in order, whatever breaks between it and what it is for.

Between client and server stand a line that is cut in every way and, where there is one, the proxy
that checks answers; behind it a server that is killed, and the other one, which is killed too.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import pytest

from homeserver.testing.encrypted_client import ENCRYPTION, NioClient, nio_client
from homeserver.testing.processes import Server
from tests import checking_proxy
from tests.checking_proxy import Seen
from tests.end_to_end import js_client, story
from tests.end_to_end.conftest import Pair, WithNio
from tests.end_to_end.cutter import Cut, Cutter
from tests.end_to_end.mautrix_person import Mautrix

PATIENCE_S = 90.0


class Talker(Protocol):
    """Somebody with a client that shows messages: event, sender, text."""

    @property
    def user_id(self) -> str: ...

    async def join(self, room_id: str) -> None: ...

    async def send(self, room_id: str, event_type: str, content: dict[str, Any]) -> str: ...

    async def shown(self, room_id: str) -> list[tuple[str, str, str]]: ...


Opened = AbstractAsyncContextManager[Talker]


def _nio(url: str, server: Server, directory: Path) -> Opened:
    return nio_client(url, server.user, server.password, directory)


def _mautrix(url: str, server: Server, _: Path) -> Opened:
    return Mautrix(url, server.user, server.password)


def _js_sdk(url: str, server: Server, _: Path) -> Opened:
    return js_client.js_client(url, server.user, server.password)


def _sliding_js_sdk(url: str, server: Server, _: Path) -> Opened:
    return js_client.js_client(url, server.user, server.password, slides=True)


class Talk:
    """Two people in a room. What is said comes in chapters; both have seen one before the next."""

    def __init__(self, hers: Talker, his: Talker, room_id: str) -> None:
        self.hers, self.his, self.room_id = hers, his, room_id
        self.said: dict[str, list[str]] = {hers.user_id: [], his.user_id: []}
        self._chapter = 0

    def begin(self) -> None:
        self._chapter += 1

    async def say(self, one: Talker, count: int) -> None:
        for _ in range(count):
            said = self.said[one.user_id]
            said.append(f"{self._chapter}: {len(said)}")
            content = {"msgtype": "m.text", "body": said[-1]}
            await one.send(self.room_id, "m.room.message", content)

    async def both(self, hers: int, his: int) -> None:
        await asyncio.gather(self.say(self.hers, hers), self.say(self.his, his))

    async def end(self) -> None:
        """Wait until both have seen it all, and look whether it is what was said."""
        for one in (self.hers, self.his):
            with contextlib.suppress(AssertionError):  # the comparison below says what differs
                await story.until(partial(self._has_all, one), "all of it arrived", PATIENCE_S)
            shown = await one.shown(self.room_id)
            heard = {by: [text for _, who, text in shown if who == by] for by in self.said}
            assert heard == self.said, f"as {one.user_id} sees it: {shown}"
            chapters = [int(text.split(":")[0]) for *_, text in shown]
            assert chapters == sorted(chapters)
            assert len({event_id for event_id, *_ in shown}) == len(shown)

    async def _has_all(self, one: Talker) -> bool:
        seen = {(by, text) for _, by, text in await one.shown(self.room_id)}
        return seen >= {(by, text) for by, said in self.said.items() for text in said}


async def talk_while_lines_break(talk: Talk, cutter: Cutter) -> None:
    talk.begin()
    await talk.both(hers=2, his=2)
    await talk.end()

    talk.begin()
    await _until_cut(cutter.lose_answer("/send/"), talk.both(hers=2, his=2))
    await talk.end()

    talk.begin()
    await _until_cut(cutter.tear_answer("/sync"), talk.both(hers=3, his=0))
    await talk.end()

    talk.begin()
    await cutter.refuse()
    his = asyncio.create_task(talk.say(talk.his, 1))
    await talk.say(talk.hers, 3)
    await asyncio.sleep(0.5)
    await cutter.mend()
    await his
    await talk.end()

    talk.begin()
    with cutter.held():
        his = asyncio.create_task(talk.say(talk.his, 2))
        await talk.say(talk.hers, 3)
        await asyncio.sleep(1)
    await his
    await talk.end()


async def talk_while_servers_stop(talk: Talk, friends: Pair) -> None:
    talk.begin()
    friends.bob.kill()
    await talk.say(talk.hers, 4)
    await asyncio.to_thread(friends.bob.start)
    await talk.say(talk.his, 2)
    await talk.end()

    talk.begin()
    friends.alice.kill()
    await talk.say(talk.his, 3)
    await asyncio.to_thread(friends.alice.start)
    await talk.say(talk.hers, 2)
    await talk.end()


async def _until_cut(cut: Cut, talking: Any) -> None:
    await talking
    async with asyncio.timeout(PATIENCE_S):
        await cut.happened.wait()


async def _meet(hers: NioClient, his: Talker, *, is_encrypted: bool) -> str:
    created = await hers.library.room_create(
        invite=[his.user_id], initial_state=[ENCRYPTION] if is_encrypted else []
    )
    room_id = str(created.room_id)
    await his.join(room_id)
    await hers.sees_member(room_id, his.user_id)
    return room_id


@dataclass(frozen=True, slots=True)
class Line:
    """Two servers, the way to Bob's, and what was wrong with the answers on it."""

    friends: Pair
    cutter: Cutter
    seen: Seen


@pytest.fixture
async def line(friends: Pair) -> AsyncIterator[Line]:
    with checking_proxy.checking(friends.bob.url) as seen:
        async with Cutter(seen.url) as cutter:
            yield Line(friends, cutter, seen)


@pytest.mark.parametrize(
    ("opened_by", "is_encrypted"),
    [
        pytest.param(_nio, True, id="nio"),
        pytest.param(_mautrix, False, id="mautrix"),
        pytest.param(_js_sdk, True, id="js-sdk", marks=pytest.mark.node),
        pytest.param(_sliding_js_sdk, True, id="sliding-js-sdk", marks=pytest.mark.node),
    ],
)
async def test_everything_is_shown_once_and_in_order_whatever_breaks(
    line: Line,
    stack: AsyncExitStack,
    tmp_path: Path,
    with_nio: WithNio,
    opened_by: Callable[[str, Server, Path], Opened],
    is_encrypted: bool,
) -> None:
    friends, cutter = line.friends, line.cutter
    hers = await with_nio(friends.alice)
    opened = opened_by(cutter.url, friends.bob, tmp_path / "his")
    his = await stack.enter_async_context(opened)
    talk = Talk(hers, his, await _meet(hers, his, is_encrypted=is_encrypted))
    await talk_while_lines_break(talk, cutter)
    await talk_while_servers_stop(talk, friends)
    assert line.seen.violations(of_endpoints=1) == []
