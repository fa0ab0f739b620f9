"""Handshakes of servers that know each other: repair, a new beginning, two at once."""

import pytest

from tests.federation.conftest import Meeting, are_connected, notices_of, ping


async def test_a_new_invitation_repairs_and_keeps_grants(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    await alice.federation.peers.edit_grants(bob.server_name, {"typing": False})
    await alice.send(bob.server_name, "before")
    await meeting.clock.until(lambda: bob.texts == ["before"])
    old_address = alice.federation.lines.all()[0].our_address
    issued = await bob.federation.peers.invite()
    await alice.federation.peers.connect(issued.link)
    await alice.send(bob.server_name, "during")
    await meeting.clock.advance(120)
    assert are_connected(alice, bob)
    assert alice.federation.lines.all()[0].our_address != old_address
    assert alice.federation.peers.find(bob.server_name).grants["typing"] is False
    await alice.send(bob.server_name, "after")
    await meeting.clock.until(lambda: bob.texts == ["before", "during", "after"])
    await ping(bob, alice, meeting)


@pytest.mark.parametrize("who", ["alice", "bob"])
@pytest.mark.parametrize("inviter", ["alice", "bob"])
@pytest.mark.parametrize("count", [0, 1, 4])
async def test_what_one_side_ended_is_begun_again_by_both(
    meeting: Meeting, who: str, inviter: str, count: int
) -> None:
    nodes = {name: meeting.node(name) for name in ("alice", "bob")}
    alice, bob = nodes["alice"], nodes["bob"]
    await meeting.connect(alice, bob)
    for number in range(count):
        await alice.send(bob.server_name, f"a{number}")
        await bob.send(alice.server_name, f"b{number}")
    await meeting.clock.until(lambda: len(alice.texts) == len(bob.texts) == count)
    ending = nodes[who]
    other = bob if ending is alice else alice
    await ending.federation.peers.revoke(other.server_name)
    await other.send(ending.server_name, "into the void")
    await meeting.clock.advance(5)

    asked = alice if inviter == "bob" else bob
    issued = await nodes[inviter].federation.peers.invite()
    await asked.federation.peers.connect(issued.link)
    await meeting.clock.until(lambda: are_connected(alice, bob))
    await alice.send(bob.server_name, "again")
    await bob.send(alice.server_name, "and again")
    await meeting.clock.until(lambda: bob.texts[-1] == "again" and "and again" in alice.texts)

    kinds = {kind for node in (alice, bob) for kind, _ in notices_of(node)}
    assert not kinds & {"old_copy", "peer_restored", "alarm"}


async def test_both_may_invite_each_other_at_once(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    by_alice = await alice.federation.peers.invite()
    by_bob = await bob.federation.peers.invite()
    await bob.federation.peers.connect(by_alice.link)
    await alice.federation.peers.connect(by_bob.link)
    await meeting.clock.advance(300)
    assert are_connected(alice, bob)
    await ping(alice, bob, meeting)
    await ping(bob, alice, meeting)
    inviters = {
        alice.federation.peers.find(bob.server_name).inviter,
        bob.federation.peers.find(alice.server_name).inviter,
    }
    assert len(inviters) == 1
