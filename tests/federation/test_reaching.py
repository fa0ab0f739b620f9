"""Who calls whom, and when: peers that are away, that nobody can call, or at two addresses."""

from federation.lines import INBOX_SOFT
from federation.transport.memory import Passing
from homeserver import errors
from tests.federation.conftest import Meeting, ask


async def test_an_unreachable_peer_is_reached_as_soon_as_it_is_heard_from(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    await meeting.stop(bob)
    await alice.send(bob.server_name, "while you slept")
    await meeting.clock.advance(6 * 3_600)
    line = alice.federation.lines.find(bob.server_name)
    assert line is not None
    assert line.failures > 8  # so the pauses are long by now, and this is in one of them
    assert line.retry_at > meeting.clock.monotonic()
    assert not alice.federation.requests.is_awake(bob.server_name)
    meeting.start(bob)
    await meeting.clock.settle()
    assert bob.texts == ["while you slept"]
    assert alice.federation.requests.is_awake(bob.server_name)


async def test_a_server_nobody_can_reach_hears_at_once(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob", is_reachable=False)
    await meeting.connect(alice, bob)
    await meeting.clock.advance(100)
    before = meeting.clock.monotonic()
    await alice.send(bob.server_name, "hello")
    await meeting.clock.settle()
    assert bob.texts == ["hello"]
    assert (await ask(meeting, alice, bob, "ping", {})).body == {"echo": {}}
    assert (await ask(meeting, bob, alice, "ping", {})).body == {"echo": {}}
    assert meeting.clock.monotonic() - before < 1


async def test_a_peer_of_two_addresses_is_called_again_after_both_were_silent(
    meeting: Meeting,
) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    line = alice.federation.lines.all()[0]
    line.routes = ("http://nowhere", *line.routes)

    async def nobody(_passing: Passing) -> None:
        raise errors.PeerUnreachable

    meeting.network.before = nobody
    await alice.send(bob.server_name, "said without a network")
    await meeting.clock.advance(600)
    meeting.calm()
    await meeting.clock.advance(600)
    assert bob.texts == ["said without a network"]


async def test_the_polls_of_all_connections_end_together(meeting: Meeting) -> None:
    alice = meeting.node("alice")
    for number in range(5):
        await meeting.connect(alice, meeting.node(f"friend{number}", is_reachable=False))
        await meeting.clock.advance(7)
    await meeting.clock.advance(120)
    moments: list[int] = []

    async def note(_passing: Passing) -> None:
        moments.append(round(meeting.clock.monotonic()))

    meeting.network.before = note
    await meeting.clock.advance(600)
    assert len(moments) == 5 * 10, "each friend polls once a minute"
    assert len(set(moments)) <= 2 * 10, "and wakes nobody at a moment of its own"


async def test_who_polls_with_a_full_inbox_polls_hardly_more_often(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob", is_reachable=False)
    await meeting.connect(alice, bob)
    line = bob.federation.lines.all()[0]
    line.stored = 2 * INBOX_SOFT
    await meeting.clock.advance(120)
    await alice.send(bob.server_name, "there is no room for this")
    boxes = 0

    async def count(_passing: Passing) -> None:
        nonlocal boxes
        boxes += 1

    meeting.network.before = count
    await meeting.clock.advance(600)
    assert bob.texts == []
    assert boxes <= 60, "and not five times a second"
    line.stored = INBOX_SOFT // 2
    line.note_worked_off()
    await meeting.clock.until(lambda: bob.texts == ["there is no room for this"], within=5)
