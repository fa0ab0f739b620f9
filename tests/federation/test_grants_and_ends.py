"""What somebody may do: until when, by which set, and after an end; and how often they may ask."""

import itertools

import pytest

from federation.sentences import ChosenAnew, GrantsOver
from federation.transport.memory import Passing
from homeserver.config import FederationSettings
from homeserver.storage import audit
from tests.federation.conftest import Meeting, are_connected, standing
from tests.federation.node import Node

MINUTE, HOUR, DAY = 60.0, 3_600.0, 86_400.0

SETS = FederationSettings.model_validate(
    {"knock_link": True, "grant_sets": {"friend": {"introduce": True, "presence": True}}}
)


def grants_of(node: Node, other: Node) -> dict[str, object]:
    return node.federation.peers.find(other.server_name).grants


async def pass_until(meeting: Meeting, node: Node, other: Node) -> None:
    """Give an end that is four seconds away, and let it come."""
    soon = meeting.clock.now_ms() + 4_000
    await node.federation.peers.edit_grants(other.server_name, {"expires_at": soon})
    await meeting.clock.advance(5)


async def test_what_has_ended_is_resumed_only_after_another_end_was_given(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    owner = alice.federation.peers
    await pass_until(meeting, alice, bob)
    assert standing(alice, bob) == "paused"
    with pytest.raises(GrantsOver, match="expires_at=never"):
        await owner.resume(bob.server_name)
    assert standing(alice, bob) == "paused"
    await owner.edit_grants(bob.server_name, {"expires_at": None})
    await owner.resume(bob.server_name)
    assert standing(alice, bob) == "active"


async def test_an_end_that_was_given_during_a_pause_holds_after_it(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    owner = alice.federation.peers
    await owner.pause(bob.server_name)
    await meeting.clock.advance(MINUTE)
    soon = meeting.clock.now_ms() + 20_000
    await owner.edit_grants(bob.server_name, {"expires_at": soon})
    await meeting.clock.advance(10)
    await owner.resume(bob.server_name)
    assert standing(alice, bob) == "active"
    await meeting.clock.advance(11)
    assert standing(alice, bob) == "paused"
    assert owner.find(bob.server_name).paused_because == "its grants have expired"


async def test_an_end_that_was_given_before_the_yes_holds_from_the_beginning(
    meeting: Meeting,
) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    issued = await alice.federation.peers.invite(asks_owner=True)
    await bob.federation.peers.connect(issued.link)
    await meeting.clock.advance(5)
    ends = meeting.clock.now_ms() + int(HOUR / 2 * 1_000)
    await alice.federation.peers.edit_grants(bob.server_name, {"expires_at": ends})
    await alice.federation.peers.accept(bob.server_name)
    await meeting.clock.until(lambda: are_connected(alice, bob), within=10 * MINUTE)
    await meeting.clock.advance(HOUR / 2)
    assert standing(alice, bob) == "paused"


@pytest.mark.parametrize("who", ["inviter", "invitee"])
async def test_what_was_granted_before_an_end_does_not_come_back(
    meeting: Meeting, who: str
) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    owner = alice.federation.peers
    changes = {"presence": True, "introduce": True, "media_max_bytes": 7, "note": "from school"}
    await owner.edit_grants(bob.server_name, changes)
    await owner.revoke(bob.server_name)
    await bob.federation.peers.revoke(alice.server_name)
    with pytest.raises(ChosenAnew):
        await owner.edit_grants(bob.server_name, {"media_max_bytes": 9})
    await owner.edit_grants(bob.server_name, {"note": "from the old school"})
    await meeting.clock.advance(1)
    await (meeting.connect(alice, bob) if who == "inviter" else meeting.connect(bob, alice))
    assert grants_of(alice, bob) == grants_of(bob, alice) | {"note": "from the old school"}
    assert grants_of(alice, bob)["media_max_bytes"] == 25 << 20


async def test_what_they_may_do_is_chosen_with_the_yes(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice", settings=SETS), meeting.node("bob")
    issued = await alice.federation.peers.invite(asks_owner=True)
    await bob.federation.peers.connect(issued.link)
    await meeting.clock.advance(5)
    await alice.federation.peers.accept(bob.server_name, grant_set="friend")
    await meeting.clock.until(lambda: are_connected(alice, bob))
    assert grants_of(alice, bob)["introduce"] is True
    told = bob.federation.peers.find(alice.server_name).granted
    assert (told["introduce"], told["presence"]) == (True, True)


async def asks(meeting: Meeting) -> list[float]:
    """When a box was sent, from now on."""
    times: list[float] = []

    async def note(_passing: Passing) -> None:
        times.append(meeting.clock.monotonic())

    meeting.network.before = note
    return times


async def test_a_knock_is_repeated_at_most_hourly_whatever_restarts(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice", settings=SETS), meeting.node("bob")
    issued = await alice.federation.peers.invite("knock")
    times = await asks(meeting)
    await bob.federation.peers.connect(issued.link)
    for _ in range(6):
        await meeting.clock.advance(HOUR / 2)
        await meeting.restart(bob)
    await meeting.clock.advance(6 * HOUR)
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert len(pauses) >= 6
    assert HOUR - 0.01 <= min(pauses) <= max(pauses) <= 1.3 * HOUR


async def test_a_yes_that_comes_soon_is_found_soon_and_nobody_asks_without_end(
    meeting: Meeting,
) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    issued = await alice.federation.peers.invite(asks_owner=True)
    times = await asks(meeting)
    await bob.federation.peers.connect(issued.link)
    await meeting.clock.settle()
    for waited in (MINUTE, HOUR, 12 * HOUR, 2 * DAY):
        await meeting.clock.advance(times[0] + waited - meeting.clock.monotonic())
        assert times[0] + waited - times[-1] <= max(3.0, min(waited / 9, 1.3 * HOUR))
    assert len(times) < 150
    await meeting.restart(bob)
    await meeting.clock.advance(HOUR / 2)
    assert times[-1] < meeting.clock.monotonic() - HOUR / 2 + 1, "one question after a restart"
    await alice.federation.peers.accept(bob.server_name)
    await meeting.clock.until(lambda: are_connected(alice, bob), within=1.3 * HOUR)


async def test_whoever_is_not_answered_at_all_is_asked_quickly_at_first(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice", settings=SETS), meeting.node("bob")
    issued = await alice.federation.peers.invite("knock")
    await meeting.stop(alice)
    times = await asks(meeting)
    await bob.federation.peers.connect(issued.link)
    await meeting.clock.advance(MINUTE)
    assert len(times) >= 4
    meeting.start(alice)
    await meeting.clock.advance(2 * MINUTE)
    assert standing(alice, bob) == "requested"


async def test_so_many_may_wait_at_all_knock_links_together(meeting: Meeting) -> None:
    settings = FederationSettings(knock_link=True, knocks_waiting_max=2)
    alice = meeting.node("alice", settings=settings)
    links = [(await alice.federation.peers.invite("knock")).link for _ in range(3)]
    others = [meeting.node(name) for name in ("bob", "carol", "dave")]
    for other, link in zip(others, links, strict=True):
        await other.federation.peers.connect(link)
        await meeting.clock.advance(1)
    assert [standing(alice, other) for other in others] == ["requested", "requested", "none"]
    # Whoever is declined takes nobody's place, though he is told to wait.
    await alice.federation.peers.decline(others[0].server_name)
    await meeting.clock.advance(MINUTE)
    assert standing(alice, others[2]) == "requested"


async def test_the_trail_says_who_withdrew_what_waited(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    issued = await alice.federation.peers.invite(asks_owner=True)
    await bob.federation.peers.connect(issued.link)
    await meeting.clock.advance(5)
    await alice.federation.peers.withdraw(issued.intake, "command line")
    last = alice.database.read(audit.trail)[-1]
    assert (last.who, last.step, last.how) == ("owner", "owner withdrew", "command line")
    assert (last.standing_before, last.standing) == ("requested", "none")


async def test_each_request_that_is_answered_is_counted(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice", settings=SETS), meeting.node("bob")
    counted: list[object] = []
    alice.federation.reception.when_asked = counted.append
    await bob.federation.peers.connect((await alice.federation.peers.invite("knock")).link)
    await meeting.clock.advance(1.5 * HOUR)
    assert len(counted) == 2
