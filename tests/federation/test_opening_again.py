"""The same person opens a link again, or somebody ends what waits at one: no alarm, no dead end."""

import pytest

from federation.sentences import NotNow
from federation.transport.memory import Passing
from homeserver import errors
from homeserver.config import FederationSettings
from homeserver.storage import invitations
from tests.federation.conftest import (
    Meeting,
    are_connected,
    digest,
    notices_of,
    ping,
    standing,
    steps_of,
)
from tests.federation.node import Node

HOUR, DAY = 3_600.0, 86_400.0


async def open_again(bob: Node, alice: Node, link: str) -> None:
    await bob.federation.peers.cancel(alice.server_name)
    await bob.federation.peers.connect(link)


def told(node: Node) -> list[str]:
    return [kind for kind, _ in notices_of(node)]


async def recorded(meeting: Meeting) -> list[Passing]:
    """Every box that passes from now on."""
    boxes: list[Passing] = []

    async def note(passing: Passing) -> None:
        boxes.append(passing)

    meeting.network.before = note
    return boxes


async def test_a_request_is_made_anew_while_the_owner_thinks(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    issued = await alice.federation.peers.invite(asks_owner=True)
    await bob.federation.peers.connect(issued.link)
    await meeting.clock.advance(5)
    before = steps_of(alice)
    for _ in range(3):
        await open_again(bob, alice, issued.link)
        await meeting.clock.advance(5)
    assert steps_of(alice) == before
    assert told(alice) == ["request"]
    await alice.federation.peers.accept(bob.server_name)
    await meeting.clock.until(lambda: are_connected(alice, bob))
    await ping(alice, bob, meeting)


async def test_a_request_is_made_anew_after_the_yes(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    issued = await alice.federation.peers.invite(asks_owner=True)
    await bob.federation.peers.connect(issued.link)
    await meeting.clock.advance(5)
    await bob.federation.peers.cancel(alice.server_name)
    await alice.federation.peers.accept(bob.server_name)
    await bob.federation.peers.connect(issued.link)
    await meeting.clock.until(lambda: are_connected(alice, bob))
    await ping(bob, alice, meeting)
    assert told(alice) == ["request", "connected"]


async def test_a_proof_that_was_given_up_is_of_no_use_to_the_request_after_it(
    meeting: Meeting,
) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    issued = await alice.federation.peers.invite()
    boxes = await recorded(meeting)

    async def lose_the_proof(passing: Passing) -> None:
        boxes.append(passing)
        waiting = bob.database.read(invitations.load_handshakes)
        if [one.state for one in waiting] == ["proving"]:
            raise errors.PeerUnreachable

    meeting.network.before = lose_the_proof
    await bob.federation.peers.connect(issued.link)
    await meeting.clock.advance(60)
    meeting.calm()
    await open_again(bob, alice, issued.link)
    await meeting.clock.settle()
    for passing in tuple(boxes):
        await alice.receive(passing.address, passing.box, None)
    await meeting.clock.until(lambda: are_connected(alice, bob))
    await ping(alice, bob, meeting)
    assert told(alice) == ["connected"]


async def test_a_request_that_was_replaced_changes_nothing_when_it_is_replayed(
    meeting: Meeting,
) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    issued = await alice.federation.peers.invite(asks_owner=True)
    boxes = await recorded(meeting)
    await bob.federation.peers.connect(issued.link)
    await meeting.clock.settle()
    earlier = tuple(boxes)
    assert earlier
    meeting.calm()
    await open_again(bob, alice, issued.link)
    await meeting.clock.settle()
    before = digest(alice)
    for passing in earlier:
        assert await alice.receive(passing.address, passing.box, None) is None
    assert digest(alice) == before


async def test_who_opens_a_spent_link_again_is_told_of_once_and_nothing_is_paused(
    meeting: Meeting,
) -> None:
    alice, bob, eve = meeting.node("alice"), meeting.node("bob"), meeting.node("eve")
    link = await meeting.connect(alice, bob)
    await bob.federation.peers.revoke(alice.server_name)
    for _ in range(2):
        await bob.federation.peers.connect(link)
        await meeting.clock.advance(60)
        await bob.federation.peers.cancel(alice.server_name)
    assert (standing(alice, bob), told(alice)) == ("active", ["connected", "opened_again"])
    # Somebody else with the link is as alarming as before.
    await eve.federation.peers.connect(link)
    await meeting.clock.advance(60)
    assert (standing(alice, bob), told(alice)[-1]) == ("paused", "warning")


async def test_a_link_whose_connection_was_ended_is_refused_without_an_alarm(
    meeting: Meeting,
) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    link = await meeting.connect(alice, bob)
    await alice.federation.peers.revoke(bob.server_name)
    await bob.federation.peers.revoke(alice.server_name)
    await bob.federation.peers.connect(link)
    await meeting.clock.advance(60)
    assert (standing(alice, bob), told(alice)) == ("revoked", ["connected"])


async def test_a_request_that_expired_is_no_reason_to_call_its_maker_an_intruder(
    meeting: Meeting,
) -> None:
    settings = FederationSettings(handshake_lifetime_days=1)
    alice, bob = meeting.node("alice", settings=settings), meeting.node("bob", settings=settings)
    issued = await alice.federation.peers.invite(asks_owner=True)
    await bob.federation.peers.connect(issued.link)
    await meeting.clock.advance(DAY + HOUR)
    assert (standing(alice, bob), standing(bob, alice)) == ("none", "none")
    await bob.federation.peers.connect(issued.link)
    await meeting.clock.advance(HOUR)
    assert (standing(alice, bob), told(alice)) == ("none", ["request"])


async def test_knocking_again_is_no_dead_end(meeting: Meeting) -> None:
    alice = meeting.node("alice", settings=FederationSettings(knock_link=True))
    carol = meeting.node("carol")
    link = (await alice.federation.peers.invite("knock")).link
    await carol.federation.peers.connect(link)
    await meeting.clock.advance(5)
    before = steps_of(alice)
    await open_again(carol, alice, link)
    await meeting.clock.advance(5)
    assert (steps_of(alice), told(alice)) == (before, ["request"])
    await alice.federation.peers.accept(carol.server_name)
    await meeting.clock.until(lambda: are_connected(alice, carol), within=2 * HOUR)
    await ping(alice, carol, meeting)


@pytest.mark.parametrize("how", ["link", "knock"])
async def test_a_declined_request_is_told_to_wait_until_it_expires(
    meeting: Meeting, how: str
) -> None:
    alice = meeting.node("alice", settings=FederationSettings(knock_link=True))
    bob = meeting.node("bob")
    issued = await alice.federation.peers.invite(how, asks_owner=True)
    await bob.federation.peers.connect(issued.link)
    await meeting.clock.advance(5)
    await alice.federation.peers.decline(bob.server_name)
    await meeting.clock.advance(2 * DAY)
    await meeting.restart(alice)
    await meeting.clock.advance(DAY)
    await open_again(bob, alice, issued.link)
    await meeting.clock.advance(10 * DAY)
    # Nothing says no to Bob, whatever he tries: Alice might be away.
    assert (standing(bob, alice), told(bob)) == ("offered", [])
    assert not bob.federation.connecting.is_refused(alice.own.node_id)
    assert (standing(alice, bob), told(alice)) == ("declined", ["request"])
    with pytest.raises(NotNow, match="You declined their request"):
        await alice.federation.peers.accept(bob.server_name)
    await meeting.clock.advance(5 * DAY)
    assert (standing(bob, alice), told(bob)) == ("none", ["expired"])
    assert alice.database.read(invitations.load_handshakes) == []
    assert standing(alice, bob) == "declined"


@pytest.mark.parametrize("how", ["link", "knock"])
async def test_withdrawing_an_invitation_ends_what_waits_at_it(meeting: Meeting, how: str) -> None:
    alice = meeting.node("alice", settings=FederationSettings(knock_link=True))
    bob = meeting.node("bob")
    issued = await alice.federation.peers.invite(how, asks_owner=True)
    await bob.federation.peers.connect(issued.link)
    await meeting.clock.advance(5)
    await alice.federation.peers.withdraw(issued.intake)
    assert standing(alice, bob) == "none"
    assert steps_of(alice)[-1] == ("owner", "owner withdrew", "none")
    with pytest.raises(errors.NotFound):
        await alice.federation.peers.accept(bob.server_name)
    await meeting.restart(alice)
    await meeting.clock.advance(5 * HOUR)
    assert told(bob) == ["link_refused"]


async def test_withdrawing_one_of_two_links_leaves_the_request_at_the_other(
    meeting: Meeting,
) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    both = [await alice.federation.peers.invite(asks_owner=True) for _ in range(2)]
    for issued in both:
        await bob.federation.peers.connect(issued.link)
        await meeting.clock.advance(5)
    await alice.federation.peers.withdraw(both[1].intake)
    assert standing(alice, bob) == "requested"
    await alice.federation.peers.accept(bob.server_name)
    await meeting.clock.until(lambda: are_connected(alice, bob))


async def test_withdrawing_between_the_yes_and_the_proof_is_told_to_who_proves(
    meeting: Meeting,
) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    issued = await alice.federation.peers.invite()

    async def withdraw_first(_passing: Passing) -> None:
        waiting = bob.database.read(invitations.load_handshakes)
        if [one.state for one in waiting] == ["proving"]:
            meeting.calm()
            await alice.federation.peers.withdraw(issued.intake)

    meeting.network.before = withdraw_first
    await bob.federation.peers.connect(issued.link)
    await meeting.clock.advance(60)
    assert (standing(alice, bob), told(bob)) == ("none", ["link_refused"])
    assert bob.federation.connecting.is_refused(alice.own.node_id)


async def test_an_invitation_given_after_an_end_counts_whatever_is_noted_meanwhile(
    meeting: Meeting,
) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    await alice.federation.peers.revoke(bob.server_name)
    await bob.federation.peers.revoke(alice.server_name)
    await meeting.clock.advance(1)
    issued = await alice.federation.peers.invite()
    await meeting.clock.advance(1)
    await alice.federation.peers.edit_grants(bob.server_name, {"note": "from school"})
    await alice.federation.peers.connect((await bob.federation.peers.invite()).link)
    await alice.federation.peers.cancel(bob.server_name)
    await meeting.clock.advance(1)
    await bob.federation.peers.connect(issued.link)
    await meeting.clock.until(lambda: are_connected(alice, bob))
    await ping(alice, bob, meeting)


async def test_one_refused_link_says_nothing_about_the_next(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    void = await alice.federation.peers.invite()
    await alice.federation.peers.withdraw(void.intake)
    await bob.federation.peers.connect(void.link)
    await meeting.clock.settle()
    assert not bob.federation.connecting.is_refused(alice.own.node_id)  # once may be a restart
    await meeting.clock.advance(60)
    assert bob.federation.connecting.is_refused(alice.own.node_id)
    await bob.federation.peers.connect((await alice.federation.peers.invite(asks_owner=True)).link)
    await meeting.clock.advance(60)
    assert not bob.federation.connecting.is_refused(alice.own.node_id)
    await bob.federation.peers.cancel(alice.server_name)
    assert not bob.federation.connecting.is_refused(alice.own.node_id)
