"""Asks and answers: beside the queue, with bytes, with an end."""

import asyncio

import pytest

from federation.requests import Reply
from homeserver import errors
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import ServerName
from tests.federation.conftest import (
    Meeting,
    ask,
)


async def test_asks_do_not_wait_for_each_other(meeting: Meeting) -> None:
    """Each answers only after it has asked the other: in one queue this would never end."""
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)

    async def answer(peer: ServerName, _body: JsonObject) -> JsonObject:
        node = alice if peer == bob.server_name else bob
        return (await node.federation.requests.ask(peer, "ping", {"deep": 1})).body

    for node in (alice, bob):
        node.federation.requests.register("event", answer)
    asking = [
        asyncio.ensure_future(one.federation.requests.ask(two.server_name, "event", {}))
        for one, two in ((alice, bob), (bob, alice)) * 3
    ]
    await meeting.clock.until(lambda: all(one.done() for one in asking), within=10)
    assert [one.result().body for one in asking] == [{"echo": {"deep": 1}}] * 6


async def test_bytes_travel_beside_an_answer(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    part = bytes(range(256)) * 768

    async def answer(_peer: ServerName, body: JsonObject) -> Reply:
        return Reply({"n": body["n"]}, part + bytes([body["n"]]))

    alice.federation.requests.register("media/download", answer)
    asking = [
        asyncio.ensure_future(
            bob.federation.requests.ask(alice.server_name, "media/download", {"n": n})
        )
        for n in range(5)
    ]
    await alice.send(bob.server_name, "between")
    await meeting.clock.until(lambda: all(one.done() for one in asking), within=10)
    for n, one in enumerate(asking):
        assert one.result() == Reply({"n": n}, part + bytes([n]))
    assert bob.texts == ["between"]


async def test_an_answer_that_fails_says_so(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)

    async def refuse(_peer: ServerName, _body: JsonObject) -> JsonObject:
        raise errors.NotInRoom

    async def fail(_peer: ServerName, _body: JsonObject) -> Reply:
        return Reply({}, bytes(300_000))

    async def have_none(_peer: ServerName, _body: JsonObject) -> JsonObject:
        raise errors.NotFound

    alice.federation.requests.register("query/profile", have_none)
    alice.federation.requests.register("event", refuse)
    alice.federation.requests.register("state", fail)
    expected = {"event": "M_FORBIDDEN", "state": "M_TOO_LARGE", "backfill": "M_UNRECOGNIZED"}
    for operation, errcode in expected.items():
        with pytest.raises(errors.PeerRefused) as refused:
            await ask(meeting, bob, alice, operation, {})
        assert refused.value.extra["peer_errcode"] == errcode
    with pytest.raises(errors.PeerHasNone):
        await ask(meeting, bob, alice, "query/profile", {})
    with pytest.raises(TypeError):
        await ask(meeting, bob, alice, "no such operation", {})
    with pytest.raises(TypeError):
        alice.federation.requests.register("no such operation", refuse)
    with pytest.raises(TypeError):
        alice.federation.requests.register("event", refuse)


async def test_an_ask_that_is_never_answered_ends(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    await meeting.stop(bob)
    with pytest.raises(errors.PeerUnreachable):
        await ask(meeting, alice, bob, "ping", {})
    assert alice.federation.lines.all()[0].asks == type(alice.federation.lines.all()[0].asks)()
    meeting.start(bob)
