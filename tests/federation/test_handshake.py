"""Handshakes: two yeses, nobody in between, and messages lost, doubled, late, across restarts."""

import dataclasses

import orjson
import pytest

from federation import envelope, identity, invitation_links, own_identity
from federation import handshake_messages as messages
from federation.envelope import Envelope
from federation.issuing import NotReachable
from federation.sentences import NotNow
from federation.transport.memory import Passing
from homeserver import errors
from homeserver.config import FederationSettings
from homeserver.matrix.identifiers import ServerName
from homeserver.storage import invitations, peers
from homeserver.storage.peers import Peer
from tests.federation.conftest import (
    Meeting,
    are_connected,
    notices_of,
    ping,
    standing,
    steps_of,
)
from tests.federation.node import Node

DAY = 86_400.0


async def test_a_link_connects_two_servers(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    await ping(alice, bob, meeting)
    await ping(bob, alice, meeting)
    assert steps_of(alice) == [
        ("owner", "invitation given", "none"),
        ("peer", "request came", "requested"),
        ("owner", "invitation agreed", "offered"),
        ("peer", "proof came", "active"),
    ]
    assert steps_of(bob) == [
        ("owner", "owner connected", "offered"),
        ("peer", "proof came", "active"),
    ]
    assert [kind for kind, _ in notices_of(alice)] == ["connected"]
    names = (
        alice.federation.peers.find(bob.server_name),
        bob.federation.peers.find(alice.server_name),
    )
    assert [peer.name for peer in names] == ["bob", "alice"]
    assert alice.federation.peers.words_with(names[0]) == bob.federation.peers.words_with(names[1])


async def test_the_owner_may_be_asked_again(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    issued = await alice.federation.peers.invite(asks_owner=True)
    await bob.federation.peers.connect(issued.link)
    await meeting.clock.advance(60)
    assert standing(alice, bob) == "requested"
    assert [kind for kind, _ in notices_of(alice)] == ["request"]
    await alice.federation.peers.accept(bob.server_name)
    await meeting.clock.until(lambda: are_connected(alice, bob))


async def test_a_declined_request_hears_nothing(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    issued = await alice.federation.peers.invite(asks_owner=True)
    await bob.federation.peers.connect(issued.link)
    await meeting.clock.advance(1)
    await alice.federation.peers.decline(bob.server_name)
    await meeting.clock.advance(15 * DAY)
    assert standing(alice, bob) == "declined"
    assert standing(bob, alice) == "none"


@pytest.mark.parametrize("fate", range(12))
async def test_lost_doubled_and_late_messages_and_restarts_still_connect(
    meeting: Meeting, fate: int
) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    meeting.disturb(fate, 0.35)
    issued = await alice.federation.peers.invite()
    await bob.federation.peers.connect(issued.link)
    for step in range(6):
        await meeting.clock.advance(fate % 5 + step)
        await meeting.restart(bob if (step + fate) % 2 else alice)
    await meeting.clock.until(lambda: are_connected(alice, bob), within=2 * DAY)
    meeting.calm()
    await ping(alice, bob, meeting)
    await ping(bob, alice, meeting)
    kinds = {kind for node in (alice, bob) for kind, _ in notices_of(node)}
    assert kinds == {"connected"}


async def test_a_second_person_is_refused_warned_about_and_the_first_is_paused(
    meeting: Meeting,
) -> None:
    alice, bob, eve = meeting.node("alice"), meeting.node("bob"), meeting.node("eve")
    link = await meeting.connect(alice, bob)
    await eve.federation.peers.connect(link)
    await meeting.clock.advance(300)
    assert standing(alice, eve) == "none"
    assert standing(eve, alice) == "offered"
    assert standing(alice, bob) == "paused"
    warnings = [content for kind, content in notices_of(alice) if kind == "warning"]
    assert len(warnings) == 1
    assert warnings[0]["name"] == "eve"
    words = [node.federation.peers.words_with(_of(alice, node)) for node in (bob, eve)]
    assert warnings[0]["words"] == words[1]
    assert warnings[0]["used_by"] == [
        {"server_name": bob.server_name, "name": "bob", "words": words[0]}
    ]


def _of(alice: Node, node: Node) -> Peer:
    """Alice, as a node knows her."""
    return node.federation.peers.find(alice.server_name)


async def test_a_scanned_invitation_is_not_doubted(meeting: Meeting) -> None:
    alice, bob, eve = meeting.node("alice"), meeting.node("bob"), meeting.node("eve")
    link = await meeting.connect(alice, bob, "scanned")
    await eve.federation.peers.connect(link)
    await meeting.clock.advance(300)
    assert standing(alice, bob) == "active"
    assert standing(alice, eve) == "none"


async def test_two_who_use_a_link_at_once_do_not_both_connect(meeting: Meeting) -> None:
    alice, bob, eve = meeting.node("alice"), meeting.node("bob"), meeting.node("eve")
    issued = await alice.federation.peers.invite()
    await bob.federation.peers.connect(issued.link)
    await eve.federation.peers.connect(issued.link)
    await meeting.clock.advance(3_600)
    assert sorted((standing(alice, bob), standing(alice, eve))) == ["none", "paused"]


async def test_an_invitation_ends(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    issued = await alice.federation.peers.invite()
    meeting.clock._seconds = issued.expires_at / 1000 - 0.001
    link = invitation_links.read(issued.link)
    assert link.expires_at >= meeting.clock.now_ms()
    late = dataclasses.replace(link, expires_at=link.expires_at + 10**9)
    meeting.clock._seconds += 0.002
    with pytest.raises(errors.InvalidParam):
        await bob.federation.peers.connect(issued.link)
    await bob.federation.peers.connect(invitation_links.write(late))
    await meeting.clock.advance(3_600)
    assert standing(alice, bob) == "none"


async def test_a_withdrawn_invitation_is_no_use(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    issued = await alice.federation.peers.invite()
    await alice.federation.peers.withdraw(issued.intake)
    await bob.federation.peers.connect(issued.link)
    await meeting.clock.advance(3_600)
    assert standing(alice, bob) == "none"
    with pytest.raises(NotNow):
        await alice.federation.peers.withdraw(issued.intake)


async def test_a_half_open_handshake_expires_on_both_sides(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")

    async def lose_prove(passing: Passing) -> None:
        if passing.route == "http://alice" and standing(bob, alice) == "offered":
            handshakes = bob.database.read(invitations.load_handshakes)
            if handshakes and handshakes[0].state == "proving":
                raise errors.PeerUnreachable

    meeting.network.before = lose_prove
    issued = await alice.federation.peers.invite()
    await bob.federation.peers.connect(issued.link)
    await meeting.clock.advance(3 * DAY)
    assert (standing(alice, bob), standing(bob, alice)) == ("offered", "offered")
    await meeting.clock.advance(12 * DAY)
    assert (standing(alice, bob), standing(bob, alice)) == ("none", "none")
    assert bob.database.read(invitations.load_handshakes) == []
    assert "expired" in [kind for kind, _ in notices_of(bob)]


async def test_nobody_passes_as_the_one_who_gave_the_link(meeting: Meeting) -> None:
    """Eve holds the link's secret and stands in between, with keys of her own."""
    alice, bob, eve = meeting.node("alice"), meeting.node("bob"), meeting.node("eve")
    issued = await alice.federation.peers.invite()
    link = invitation_links.read(issued.link)
    keys = envelope.door_keys(link.door_key)

    async def stand_between(passing: Passing) -> None:
        if passing.answer is None or passing.address.hex() != link.intake:
            return
        came = envelope.open_box(keys.answer, passing.answer)
        forged = eve.own.sign(
            identity.ACCEPT,
            {
                "identity": eve.own.proof,
                "olm_key": "A" * 43,
                "name": "alice",
                "request_hash": "0" * 64,
                "epoch": 1,
            },
        )
        content = dataclasses.replace(came, note=messages.note("accept", forged))
        passing.answer = envelope.seal(keys.answer, b"n" * 24, content)

    meeting.network.after = stand_between
    await bob.federation.peers.connect(issued.link)
    await meeting.clock.advance(3_600)
    assert standing(bob, alice) == "offered"
    assert [kind for kind, _ in notices_of(bob)] == ["handshake_failed"]


async def test_a_request_signed_for_somebody_else_is_refused(meeting: Meeting) -> None:
    """Mallory cannot pass Bob's REQUEST on to Alice: it names whom it is for."""
    alice, bob = meeting.node("alice"), meeting.node("bob")
    mallory = meeting.node("mallory")
    for_mallory = await mallory.federation.peers.invite(asks_owner=True)
    await bob.federation.peers.connect(for_mallory.link)
    await meeting.clock.advance(1)
    (asked,) = mallory.database.read(invitations.load_handshakes)
    for_alice = invitation_links.read((await alice.federation.peers.invite()).link)
    keys = envelope.door_keys(for_alice.door_key)
    box = envelope.seal(keys.request, b"n" * 24, Envelope(note=asked.request))
    assert await alice.receive(bytes.fromhex(for_alice.intake), box, None) is None
    assert standing(alice, bob) == "none"


async def test_a_dns_name_counts_only_where_the_invitation_named_it(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.stop(bob)
    bob.own = own_identity.create(bob.entropy, meeting.clock.now_ms(), ServerName("bob.example"))[0]
    meeting.start(bob)
    issued = await alice.federation.peers.invite()
    await bob.federation.peers.connect(issued.link)
    await meeting.clock.advance(60)
    assert standing(alice, bob) == "requested"
    named = await alice.federation.peers.invite(expected="bob.example")
    await bob.federation.peers.connect(named.link)
    await meeting.clock.until(lambda: are_connected(alice, bob))


async def test_a_name_that_somebody_has_is_refused(meeting: Meeting) -> None:
    alice, bob, eve = meeting.node("alice"), meeting.node("bob"), meeting.node("eve")
    for node in (bob, eve):
        await meeting.stop(node)
        name = ServerName("bob.example")
        node.own = own_identity.create(node.entropy, meeting.clock.now_ms(), name)[0]
        meeting.start(node)
    first = await alice.federation.peers.invite(expected="bob.example")
    await bob.federation.peers.connect(first.link)
    await meeting.clock.until(lambda: are_connected(alice, bob))
    second = await alice.federation.peers.invite(expected="bob.example")
    await eve.federation.peers.connect(second.link)
    await meeting.clock.advance(60)
    found = alice.database.read(lambda view: peers.find_node(view, eve.own.node_id))
    assert found is None
    assert are_connected(alice, bob)


async def test_a_blocked_node_gets_the_one_answer_and_spends_nothing(meeting: Meeting) -> None:
    alice, bob, carol = meeting.node("alice"), meeting.node("bob"), meeting.node("carol")
    await meeting.connect(alice, bob)
    await alice.federation.peers.block(bob.server_name)
    before = notices_of(alice)
    issued = await alice.federation.peers.invite()
    await bob.federation.peers.connect(issued.link)
    await meeting.clock.advance(3_600)
    assert standing(alice, bob) == "blocked"
    assert notices_of(alice) == before
    await carol.federation.peers.connect(issued.link)
    await meeting.clock.until(lambda: are_connected(alice, carol))


async def test_a_knock_link_asks_every_time_and_is_not_spent(meeting: Meeting) -> None:
    settings = FederationSettings(knock_link=True, knocks_waiting_max=2)
    alice = meeting.node("alice", settings=settings)
    issued = await alice.federation.peers.invite("knock")
    others = [meeting.node(name) for name in ("bob", "carol", "dave")]
    for other in others:
        await other.federation.peers.connect(issued.link)
        await meeting.clock.advance(1)
    assert [standing(alice, other) for other in others] == ["requested", "requested", "none"]
    await alice.federation.peers.accept(others[1].server_name)
    await meeting.clock.until(lambda: are_connected(alice, others[1]), within=2 * 3_600)
    assert standing(alice, others[0]) == "requested"


async def test_who_cannot_be_reached_does_not_invite(meeting: Meeting) -> None:
    hermit = meeting.node("hermit", is_reachable=False)
    with pytest.raises(NotReachable):
        await hermit.federation.peers.invite()


async def test_a_link_of_ones_own_or_opened_twice_is_refused(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    issued = await alice.federation.peers.invite()
    with pytest.raises(errors.InvalidParam):
        await alice.federation.peers.connect(issued.link)
    await bob.federation.peers.connect(issued.link)
    with pytest.raises(errors.Conflict):
        await bob.federation.peers.connect(issued.link)


async def test_junk_at_an_intake_is_refused(meeting: Meeting) -> None:
    alice = meeting.node("alice")
    link = invitation_links.read((await alice.federation.peers.invite()).link)
    keys = envelope.door_keys(link.door_key)
    notes = [
        b"",
        b"{",
        b"[]",
        b'{"kind":"request"}',
        b'{"kind":"request","signed":{"body":7}}',
        orjson.dumps({"kind": "request", "signed": {"body": "e30", "signature": "A" * 86}}),
    ]
    for note in notes:
        box = envelope.seal(keys.request, b"n" * 24, Envelope(note=note))
        assert await alice.receive(bytes.fromhex(link.intake), box, None) is None
    assert alice.database.read(peers.load_peers) == []
