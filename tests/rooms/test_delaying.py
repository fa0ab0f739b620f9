"""Delayed events are sent when their time has come, once, unless they are called off."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from homeserver import errors
from homeserver.matrix.identifiers import RoomId
from homeserver.rooms.delaying import LONGEST_MS, MOST_WAITING, DelayedEvents, Later
from tests.rooms.servers import CountingEntropy, Server, running


class Home:
    """A server, a room, and what is to happen in it later."""

    def __init__(self, server: Server, room_id: RoomId) -> None:
        self.server, self.room_id = server, room_id
        self.delayed = self.restarted()

    def restarted(self) -> DelayedEvents:
        server = self.server
        return DelayedEvents(server.database, server.sender, server.clock, CountingEntropy())

    async def say_later(self, body: str, delay_ms: int = 10_000, txn: str = "t") -> str:
        content = {"msgtype": "m.text", "body": body}
        later = Later("m.room.message", content, delay_ms, txn=txn)
        return await self.delayed.schedule(self.server.requester, self.room_id, later)

    async def pass_time(self, milliseconds: int) -> float | None:
        self.server.clock.now += milliseconds
        return await self.delayed.send_due()

    def said(self) -> list[str]:
        return self.server.bodies(self.room_id)


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Home]:
    async with running(tmp_path, "alice") as (alice,):
        yield Home(alice, await alice.create())


async def test_it_is_sent_when_its_time_has_come_and_once(home: Home) -> None:
    await home.say_later("gone")
    left_s = await home.pass_time(5_000)
    assert left_s is not None
    assert 4 < left_s < 5
    assert home.said() == []
    assert await home.pass_time(5_000) is None
    assert await home.pass_time(5_000) is None
    assert home.said() == ["gone"]


async def test_the_same_transaction_is_one_event(home: Home) -> None:
    assert await home.say_later("gone", txn="1") == await home.say_later("gone", txn="1")
    assert len(home.delayed.waiting(home.server.requester)) == 1


async def test_it_can_be_put_off(home: Home) -> None:
    delay_id = await home.say_later("gone")
    for _ in range(3):
        await home.pass_time(8_000)
        await home.delayed.restart(home.server.requester, delay_id)
    assert home.said() == []
    await home.pass_time(11_000)
    assert home.said() == ["gone"]
    with pytest.raises(errors.Conflict):
        await home.delayed.restart(home.server.requester, delay_id)


async def test_it_can_be_called_off(home: Home) -> None:
    delay_id = await home.say_later("gone")
    await home.delayed.cancel(home.server.requester, delay_id)
    await home.delayed.cancel(home.server.requester, delay_id)
    assert await home.pass_time(20_000) is None
    assert home.said() == []
    with pytest.raises(errors.Conflict):
        await home.delayed.send(home.server.requester, delay_id)


async def test_it_can_be_sent_at_once(home: Home) -> None:
    delay_id = await home.say_later("gone")
    await home.delayed.send(home.server.requester, delay_id)
    await home.delayed.send(home.server.requester, delay_id)
    await home.pass_time(20_000)
    assert home.said() == ["gone"]
    with pytest.raises(errors.Conflict):
        await home.delayed.cancel(home.server.requester, delay_id)


async def test_state_is_sent_later_too(home: Home) -> None:
    later = Later("org.example.call.member", {}, 1_000, state_key="_@alice")
    await home.server.set_state(home.room_id, "org.example.call.member", "_@alice", call="yes")
    await home.delayed.schedule(home.server.requester, home.room_id, later)
    (shown,) = home.delayed.waiting(home.server.requester)
    assert (shown["type"], shown["state_key"]) == ("org.example.call.member", "_@alice")
    await home.pass_time(2_000)
    current = home.server.current(home.room_id)
    event_id = current["org.example.call.member", "_@alice"]
    assert home.server.stored(event_id).event.content == {}


async def test_what_became_due_while_the_server_slept_is_sent_in_order(home: Home) -> None:
    await home.say_later("second", 6_000, txn="2")
    await home.say_later("first", 3_000, txn="1")
    home.delayed = home.restarted()
    await home.pass_time(60_000)
    assert home.said() == ["first", "second"]


async def test_what_the_room_no_longer_allows_is_dropped(home: Home) -> None:
    await home.say_later("gone")
    await home.server.membership.leave(home.server.requester, home.room_id, {})
    assert await home.pass_time(20_000) is None
    assert home.said() == []
    assert home.delayed.waiting(home.server.requester) == []


@pytest.mark.parametrize(
    ("later", "refusal"),
    [
        (Later("m.x", {"a": 1.5}, 1_000), errors.BadJson),
        (Later("m.x", {}, LONGEST_MS + 1), errors.HomeserverError),
    ],
)
async def test_what_could_never_be_sent_is_refused_at_once(
    home: Home, later: Later, refusal: Any
) -> None:
    with pytest.raises(refusal):
        await home.delayed.schedule(home.server.requester, home.room_id, later)


async def test_nothing_is_kept_for_rooms_one_is_not_in(home: Home) -> None:
    with pytest.raises(errors.NotInRoom):
        await home.delayed.schedule(
            home.server.requester, RoomId("!elsewhere"), Later("m.x", {}, 1_000)
        )


async def test_there_are_only_so_many(home: Home) -> None:
    for number in range(MOST_WAITING):
        await home.say_later("x", txn=str(number))
    with pytest.raises(errors.LimitExceeded) as refused:
        await home.say_later("x", txn="one more")
    assert 0 < refused.value.retry_after_ms <= 10_000
