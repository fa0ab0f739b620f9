"""What must not bring a connection down: long polls, a crowded database, absurd positions."""

from typing import Any

import pytest

from federation import envelope
from federation.envelope import Envelope
from homeserver.storage import channels
from homeserver.storage.database import Overloaded
from tests.federation.conftest import Meeting, are_connected, notices_of


async def test_frames_beside_a_poll_that_is_held_raise_no_alarm(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob", is_reachable=False)
    await meeting.connect(alice, bob)
    said = []
    for turn in range(4):
        for number in range(3):
            said.append(f"{turn} {number}")
            await bob.send(alice.server_name, said[-1])
            await meeting.clock.advance(3)
        await meeting.clock.advance(200)
    assert alice.texts == said
    kinds = {kind for node in (alice, bob) for kind, _ in notices_of(node)}
    assert not kinds & {"peer_restored", "alarm", "old_copy"}


async def test_a_crowded_database_stops_no_worker(
    meeting: Meeting, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    write, refused = alice.federation.channel._database.write, 0

    async def crowded(operation: Any) -> Any:
        nonlocal refused
        if refused < 2 and "Channel" in operation.__qualname__:
            refused += 1
            raise Overloaded(1_000)
        return await write(operation)

    monkeypatch.setattr(alice.federation.channel._database, "write", crowded)
    await alice.send(bob.server_name, "all the same")
    await meeting.clock.until(lambda: bob.texts == ["all the same"])
    assert refused == 2


@pytest.mark.parametrize("position", [2**40, 2**63 - 1, 2**64 - 1])
async def test_an_absurd_position_changes_nothing(meeting: Meeting, position: int) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    await meeting.clock.advance(5)
    line = bob.federation.lines.all()[0]
    before = alice.database.read(lambda view: channels.find_channel(view, bob.server_name))

    for box in (
        Envelope(answers=line.last_received, epoch=1, acknowledged=position),
        Envelope(answers=line.last_received, epoch=1, settled=position),
    ):
        sealed = envelope.seal(line.theirs.request, bob.entropy.token_bytes(24), box)
        await alice.receive(line.their_address, sealed, None)

    after = alice.database.read(lambda view: channels.find_channel(view, bob.server_name))
    assert before is not None
    assert after is not None
    assert (after.sent, after.received, after.session) == (
        before.sent,
        before.received,
        before.session,
    )
    await alice.send(bob.server_name, "still here")
    await meeting.clock.until(lambda: bob.texts == ["still here"])
    assert are_connected(alice, bob)
