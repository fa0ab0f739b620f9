"""Gateways are told what the owner's rules say, once, in order, and later where they were away."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from homeserver.outbound import Outbound
from homeserver.ports import SystemClock
from homeserver.push.delivering import PushDelivery
from homeserver.push.history import NotificationHistory
from homeserver.push.pushers import Address, Pushers
from homeserver.storage import pushers as storage
from tests.rooms.servers import Server, running

KEY = Address("org.example.app", "key")


class Gateway:
    """A push gateway on this machine; `status` and `rejected` are what it answers."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self.tries = 0
        self.status = 200
        self.answers = 1_000  # so many are taken, then it is away
        self.rejected: list[str] = []
        self.url = ""
        self._heard = asyncio.Event()

    async def answer(self, request: web.Request) -> web.Response:
        self.tries += 1
        status = self.status if len(self.told) < self.answers else 503
        if status == 200:
            self.told.append((await request.json())["notification"])
        self._heard.set()
        return web.json_response({"rejected": self.rejected}, status=status)

    async def stirs(self) -> None:
        """Wait for the next request."""
        self._heard.clear()
        await self._heard.wait()

    async def is_tried(self) -> None:
        async with asyncio.timeout(20):
            while not self.tries:
                await self.stirs()

    async def hears(self, count: int) -> list[dict[str, Any]]:
        async with asyncio.timeout(20):
            while len(self.told) < count:
                await self.stirs()
        return self.told


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    made = Gateway()
    application = web.Application()
    application.router.add_post("/_matrix/push/v1/notify", made.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/_matrix/push/v1/notify"
    yield made
    await runner.cleanup()


class Pair:
    """Alice, whose telephone wants to be woken, and Bob in a room with her."""

    def __init__(self, alice: Server, bob: Server, room_id: Any, gateway: Gateway) -> None:
        self.alice, self.bob, self.room_id, self.gateway = alice, bob, room_id, gateway
        self.pushers = Pushers(alice.database, SystemClock(), (gateway.url,))
        self.outbound = Outbound()
        self.delivery = PushDelivery(alice.database, self.outbound, SystemClock())

    async def set_pusher(self, **data: Any) -> None:
        shown = {"kind": "http", "lang": "en", "data": {"url": self.gateway.url, **data}}
        await self.pushers.put(self.alice.requester, KEY, shown)

    async def bob_says(self, body: str, **content: Any) -> None:
        await self.bob.say(self.room_id, body, **content)
        await self.alice.hear_all(self.bob, self.room_id)


@pytest.fixture
async def pair(tmp_path: Path, gateway: Gateway) -> AsyncIterator[Pair]:
    async with running(tmp_path, "alice", "bob") as (alice, bob):
        room_id = await alice.create(invite=(bob.user,))
        await bob.take_in_items(alice)
        await bob.membership.join(bob.requester, room_id, [], {})
        await alice.hear_all(bob, room_id)
        pair = Pair(alice, bob, room_id, gateway)
        pair.delivery.start()
        yield pair
        await pair.delivery.close()
        await pair.outbound.close()


async def test_a_gateway_is_told_in_order_and_once(pair: Pair) -> None:
    await pair.bob_says("before there was a pusher")
    await pair.set_pusher(brand="kept")
    for number in range(3):
        await pair.bob_says(str(number))
    await pair.alice.say(pair.room_id, "my own word wakes nobody")
    await pair.bob_says("last")
    told = await pair.gateway.hears(4)
    assert [one["content"]["body"] for one in told] == ["0", "1", "2", "last"]
    assert {one["sender"] for one in told} == {pair.bob.user}
    (device,) = told[0]["devices"]
    assert (device["app_id"], device["pushkey"]) == ("org.example.app", "key")
    assert device["data"] == {"brand": "kept"}


async def test_a_gateway_learns_no_more_than_it_was_asked_to(pair: Pair) -> None:
    await pair.set_pusher(format="event_id_only")
    await pair.bob_says("secret")
    (told,) = await pair.gateway.hears(1)
    assert sorted(told) == ["devices", "event_id", "room_id"]
    assert "secret" not in str(told)


async def test_an_invitation_wakes_the_telephone(pair: Pair) -> None:
    await pair.set_pusher()
    room_id = await pair.bob.create(invite=(pair.alice.user,))
    await pair.alice.take_in_items(pair.bob)
    (told,) = await pair.gateway.hears(1)
    assert (told["room_id"], told["type"], told["sender"]) == (
        room_id,
        "m.room.member",
        pair.bob.user,
    )
    assert (told["user_is_target"], told["membership"]) == (True, "invite")


async def test_what_happened_while_the_gateway_was_away_is_told_later(pair: Pair) -> None:
    await pair.set_pusher()
    pair.gateway.status = 503
    await pair.bob_says("while you were away")
    await pair.gateway.is_tried()
    await pair.delivery.close()
    pair.gateway.status = 200
    again = PushDelivery(pair.alice.database, pair.outbound, SystemClock())
    again.start()
    (told,) = await pair.gateway.hears(1)
    assert told["content"]["body"] == "while you were away"
    await again.close()


async def test_what_was_told_before_the_gateway_went_away_is_not_told_again(pair: Pair) -> None:
    await pair.delivery.close()
    await pair.set_pusher()
    for number in range(4):
        await pair.bob_says(str(number))
    pair.gateway.answers = 2
    first = PushDelivery(pair.alice.database, pair.outbound, SystemClock())
    first.start()
    await pair.gateway.hears(2)
    async with asyncio.timeout(20):
        while pair.gateway.tries < 3:
            await pair.gateway.stirs()
    await first.close()
    pair.gateway.answers = 100
    second = PushDelivery(pair.alice.database, pair.outbound, SystemClock())
    second.start()
    told = await pair.gateway.hears(4)
    await second.close()
    assert [one["content"]["body"] for one in told] == ["0", "1", "2", "3"]


async def test_a_key_that_the_gateway_rejects_is_forgotten(pair: Pair) -> None:
    await pair.set_pusher()
    pair.gateway.rejected = ["key"]
    await pair.bob_says("anybody?")
    await pair.gateway.hears(1)
    gone = asyncio.Event()
    pair.alice.database.wake_ups.listen(storage.CHANGED, gone.set)
    async with asyncio.timeout(20):
        while pair.pushers.list_all(pair.alice.requester):
            await gone.wait()
            gone.clear()
    await pair.bob_says("nobody")
    await pair.delivery.close()
    assert len(pair.gateway.told) == 1


async def test_the_history_holds_what_notified_newest_first(pair: Pair) -> None:
    for number in range(5):
        await pair.bob_says(str(number))
    await pair.bob_says(f"for {pair.alice.user}", **{"m.mentions": {"user_ids": [pair.alice.user]}})
    history = NotificationHistory(pair.alice.database, SystemClock())
    seen: list[str] = []
    token = None
    while True:
        page = await history.page(pair.alice.requester, token, 2, only_highlights=False)
        seen += [one["event"]["content"]["body"] for one in page["notifications"]]
        token = page.get("next_token")
        if token is None:
            break
    assert seen == [f"for {pair.alice.user}", "4", "3", "2", "1", "0"]
    loud = await history.page(pair.alice.requester, None, 10, only_highlights=True)
    assert len(loud["notifications"]) == 1
    assert loud["notifications"][0]["read"] is False
