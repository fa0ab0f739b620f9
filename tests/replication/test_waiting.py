"""Waiting for a peer that cannot be reached, and for a room that is being entered."""

import asyncio
import math

import pytest

from federation.replication.asking import Patient
from federation.replication.entering import Entering
from homeserver import errors
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import RoomId, ServerName
from tests.replication.stack import Clock

ROOM = RoomId("!room:example.org")


class Moody:
    """Answers after so many failures."""

    def __init__(self, *failures: errors.HomeserverError) -> None:
        self.failures = list(failures)
        self.asked = 0

    async def __call__(
        self, peer: ServerName, operation: str, body: JsonObject, timeout_s: float = 20.0
    ) -> JsonObject:
        self.asked += 1
        if self.failures:
            raise self.failures.pop(0)
        return {"peer": peer, "operation": operation, "body": body, "timeout_s": timeout_s}


async def ask(moody: Moody, clock: Clock, until: float = math.inf) -> JsonObject:
    return await Patient(moody, clock, until)(ServerName("bob.example"), "event", {})


async def test_a_peer_that_is_away_or_busy_is_asked_again() -> None:
    moody = Moody(
        errors.PeerUnreachable(),
        errors.PeerRefused(peer_errcode="M_LIMIT_EXCEEDED"),
        errors.PeerUnreachable(),
    )
    assert (await ask(moody, Clock()))["operation"] == "event"
    assert moody.asked == 4


async def test_a_refusal_is_an_answer() -> None:
    moody = Moody(errors.PeerRefused(peer_errcode="M_FORBIDDEN"))
    with pytest.raises(errors.PeerRefused):
        await ask(moody, Clock())
    assert moody.asked == 1


async def test_patience_ends_soon_because_what_came_is_kept() -> None:
    moody, clock = Moody(*[errors.PeerUnreachable()] * 1_000), Clock()
    began = clock.now
    with pytest.raises(errors.PeerUnreachable):
        await ask(moody, clock)
    assert moody.asked == 5
    assert clock.now - began < 60_000


async def test_patience_ends_at_its_moment_at_the_latest() -> None:
    moody, clock = Moody(*[errors.PeerUnreachable()] * 1_000), Clock()
    until = clock.monotonic() + 4
    with pytest.raises(errors.PeerUnreachable):
        await ask(moody, clock, until)
    assert moody.asked == 3
    assert until <= clock.monotonic() < until + 1


async def test_no_answer_is_awaited_beyond_that_moment() -> None:
    clock = Clock()
    assert (await ask(Moody(), clock, clock.monotonic() + 7))["timeout_s"] <= 7
    assert (await ask(Moody(), clock, clock.monotonic() + 700))["timeout_s"] == 20


async def test_a_room_that_nobody_enters_is_not_waited_for() -> None:
    clock = Clock()
    await Entering(clock).settle(ROOM, lambda: False)
    assert clock.monotonic() - Clock().monotonic() < 1


async def test_events_wait_for_the_room_that_is_being_entered() -> None:
    entering = Entering(Clock())
    entering.begin(ROOM)
    known: list[bool] = []
    waiting = asyncio.create_task(entering.settle(ROOM, lambda: bool(known)))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiting.done()
    entering.answered(ROOM, is_let_in=True)
    known.append(True)
    await waiting


async def test_a_room_that_did_not_let_us_in_is_not_waited_for() -> None:
    clock = Clock()
    entering = Entering(clock)
    entering.begin(ROOM)
    entering.answered(ROOM, is_let_in=False)
    await entering.settle(ROOM, lambda: False)
    assert clock.monotonic() - Clock().monotonic() < 1


async def test_waiting_for_a_room_comes_to_an_end() -> None:
    clock = Clock()
    entering = Entering(clock)
    entering.begin(ROOM)
    entering.answered(ROOM, is_let_in=True)
    await entering.settle(ROOM, lambda: False)
    assert clock.monotonic() - Clock().monotonic() < 20
