"""G14: a key change is never silent: whatever follows is taken with a notice, nothing else at all.

A card, a root key, an Olm key comes by several ways: from the peer itself, in a handshake, in a
repair, from a third member of a room. Each is tried with keys that do not follow.
"""

from collections.abc import Callable
from typing import Any

import nacl.signing
import pytest

from federation import identity, own_identity
from federation.own_identity import OwnIdentity
from federation.ratchets.interface import Ratchets
from federation.ratchets.libolm import Libolm
from federation.ratchets.vodozemac import Vodozemac
from federation.replication.cards import Cards
from homeserver.storage import frames
from tests.federation.conftest import (
    Meeting,
    are_connected,
    change_channel,
    channel_of,
    notices_of,
    standing,
    steps_of,
)
from tests.federation.node import Node

Swap = Callable[[Node, Meeting], OwnIdentity]


def another_card(bob: Node, meeting: Meeting) -> OwnIdentity:
    """The same sequence with another content, signed by the real root key."""
    twin = own_identity.renew_event_key(bob.own, bob.entropy, meeting.clock.now_ms())
    bob.own = own_identity.renew_event_key(bob.own, bob.entropy, meeting.clock.now_ms())
    return twin


def another_root(bob: Node, meeting: Meeting) -> OwnIdentity:
    """A stranger's whole identity."""
    return own_identity.create(bob.entropy, meeting.clock.now_ms())[0]


def an_older_card(bob: Node, _meeting: Meeting) -> OwnIdentity:
    """The card from before the last one."""
    return bob.own


SWAPS = [another_card, another_root]


async def renewed(meeting: Meeting, alice: Node, bob: Node, swap: Swap) -> OwnIdentity:
    """Let Alice know Bob's newest card; the keys that do not follow it."""
    wrong = swap(bob, meeting)
    await meeting.restart(bob)
    await meeting.clock.until(
        lambda: alice.federation.peers.find(bob.server_name).proof == bob.own.proof, within=600
    )
    return wrong


async def is_stopped(meeting: Meeting, alice: Node, bob: Node) -> None:
    """The owner has been told once, nothing passes, and going on is the owner's decision."""
    alarms = [content for kind, content in notices_of(alice) if kind == "alarm"]
    assert [one["server_name"] for one in alarms] == [bob.server_name]
    assert alice.federation.lines.all() == []
    known = alice.federation.peers.find(bob.server_name)
    assert known.alarm is not None
    await bob.send(alice.server_name, "hello?")
    await alice.send(bob.server_name, "are you there?")
    await meeting.clock.advance(20)
    assert alice.texts == bob.texts == []
    assert alice.federation.peers.find(bob.server_name).proof == known.proof


@pytest.mark.parametrize("swap", [*SWAPS, an_older_card])
@pytest.mark.parametrize("ratchets", [Libolm(), Vodozemac()], ids=["libolm", "vodozemac"])
async def test_a_card_that_the_peer_shows(meeting: Meeting, swap: Swap, ratchets: Ratchets) -> None:
    alice, bob = meeting.node("alice", ratchets=ratchets), meeting.node("bob", ratchets=ratchets)
    await meeting.connect(alice, bob)
    wrong = swap(bob, meeting)
    if swap is an_older_card:
        bob.own = own_identity.renew_event_key(bob.own, bob.entropy, meeting.clock.now_ms())
    await meeting.restart(bob)
    await meeting.clock.advance(20)
    shown = {"identity": wrong.proof}
    await bob.database.write(
        lambda work: frames.queue_item(work, alice.server_name, frames.CONTROL, "card", shown)
    )
    await meeting.clock.advance(20)
    await is_stopped(meeting, alice, bob)


async def test_a_card_in_a_request_at_a_new_invitation(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    wrong = await renewed(meeting, alice, bob, another_card)
    issued = await alice.federation.peers.invite()
    await meeting.stop(bob)
    bob.own = wrong
    meeting.start(bob)
    await bob.federation.peers.connect(issued.link)
    await meeting.clock.advance(20)
    await is_stopped(meeting, alice, bob)


async def test_a_card_in_the_answer_to_our_request(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    wrong = await renewed(meeting, alice, bob, another_card)
    await meeting.stop(bob)
    bob.own = wrong
    meeting.start(bob)
    issued = await bob.federation.peers.invite()
    await alice.federation.peers.connect(issued.link)
    await meeting.clock.advance(20)
    await is_stopped(meeting, alice, bob)


@pytest.mark.parametrize("is_older", [False, True])
async def test_a_card_that_somebody_else_passes_on(meeting: Meeting, is_older: bool) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    wrong = await renewed(meeting, alice, bob, another_card)
    first = bob.own
    if is_older:
        await meeting.stop(bob)
        bob.own = own_identity.renew_event_key(bob.own, bob.entropy, meeting.clock.now_ms())
        meeting.start(bob)
        await meeting.clock.advance(20)
    cards = Cards(alice.database, meeting.clock, alice.own.identity)
    cards.when_alarmed = alice.federation.lines.refresh
    await cards.take_in([(first if is_older else wrong).proof])
    await meeting.clock.advance(5)
    if is_older:
        assert are_connected(alice, bob)
        assert "alarm" not in [kind for kind, _ in notices_of(alice)]
    else:
        await is_stopped(meeting, alice, bob)


@pytest.mark.parametrize("ratchets", [Libolm(), Vodozemac()], ids=["libolm", "vodozemac"])
async def test_olm_keys_of_a_repair_that_the_card_did_not_sign(
    meeting: Meeting, monkeypatch: pytest.MonkeyPatch, ratchets: Ratchets
) -> None:
    """Whoever holds the box's key and not the card's cannot slip in another session."""
    alice, bob = meeting.node("alice", ratchets=ratchets), meeting.node("bob", ratchets=ratchets)
    await meeting.connect(alice, bob)
    epochs = channel_of(alice, bob).epoch, channel_of(bob, alice).epoch
    olm_keys = channel_of(alice, bob).their_olm_key, channel_of(bob, alice).their_olm_key
    mallory = nacl.signing.SigningKey.generate()
    genuine = identity.sign

    def forge(key: Any, context: bytes, document: Any) -> Any:
        is_repair = context in (identity.KEYS, identity.OPENED)
        return genuine(mallory if is_repair else key, context, document)

    monkeypatch.setattr(identity, "sign", forge)
    giver, creator = sorted((alice, bob), key=lambda node: node.own.node_id, reverse=True)
    await change_channel(creator, giver, {"wants_repair": True})
    for node in (alice, bob):
        await meeting.restart(node)
    await meeting.clock.advance(20)
    assert channel_of(giver, creator).keys_note is not None  # it was asked, and gave forged ones
    assert (channel_of(alice, bob).epoch, channel_of(bob, alice).epoch) == epochs
    assert olm_keys == (
        channel_of(alice, bob).their_olm_key,
        channel_of(bob, alice).their_olm_key,
    )
    monkeypatch.setattr(identity, "sign", genuine)
    await change_channel(giver, creator, {"keys_note": None, "keys_nonce": None})
    await meeting.clock.advance(30)
    await bob.send(alice.server_name, "signed by the card")
    await meeting.clock.until(lambda: alice.texts == ["signed by the card"], within=7_200)
    assert channel_of(alice, bob).epoch > epochs[0]


@pytest.mark.parametrize("asks_again", [False, True])
@pytest.mark.parametrize("was_ended", [False, True])
async def test_a_renewed_card_in_a_handshake_passes_with_a_notice(
    meeting: Meeting, asks_again: bool, was_ended: bool
) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    if was_ended:
        await alice.federation.peers.revoke(bob.server_name)
        await bob.federation.peers.revoke(alice.server_name)
    await meeting.stop(bob)
    bob.own = own_identity.renew_event_key(bob.own, bob.entropy, meeting.clock.now_ms())
    meeting.start(bob)
    await bob.database.write(lambda work: frames.delete_everything(work, alice.server_name))
    await meeting.connect(*((alice, bob) if asks_again else (bob, alice)))
    await meeting.clock.advance(20)
    assert alice.federation.peers.find(bob.server_name).proof == bob.own.proof
    assert [kind for kind, _ in notices_of(alice)].count("keys_renewed") == 1
    assert "keys renewed" in [step for _, step, _ in steps_of(alice)]


async def test_a_renewed_card_and_a_succession_pass_with_a_notice(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    bob.own, phrase = own_identity.create(bob.entropy, meeting.clock.now_ms())
    await meeting.restart(bob)
    await meeting.connect(alice, bob)
    for number in (1, 2):
        await meeting.stop(bob)
        if number == 1:
            bob.own = own_identity.renew_event_key(bob.own, bob.entropy, meeting.clock.now_ms())
        else:
            bob.own, phrase = own_identity.succeed(bob.own, phrase, bob.entropy)
        meeting.start(bob)
        await meeting.clock.advance(20)
        assert [kind for kind, _ in notices_of(alice)].count("keys_renewed") == number
        assert alice.federation.peers.find(bob.server_name).proof == bob.own.proof
    await bob.send(alice.server_name, "still me")
    await meeting.clock.until(lambda: alice.texts == ["still me"])
    assert standing(alice, bob) == "active"
    assert "alarm" not in [kind for kind, _ in notices_of(alice)]
