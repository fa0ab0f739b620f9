"""Ratchets lost, databases restored and copied: repaired, noticed, and no key used twice."""

import shutil
from pathlib import Path
from typing import Any

import nacl.signing
import pytest

from federation import identity, repair, restoring
from federation.ratchets.interface import Ratchets, Undecryptable
from federation.ratchets.libolm import Libolm
from federation.ratchets.vodozemac import Vodozemac
from federation.transport.memory import Passing
from homeserver import errors
from homeserver.storage import channels
from homeserver.storage.database import Database
from homeserver.storage.wake_ups import WakeUps
from tests.federation.conftest import (
    Meeting,
    are_connected,
    change_channel,
    channel_of,
    notices_of,
    put_back,
)
from tests.federation.node import Node

# How many a server needs after a start to learn where the other one is.
BOXES_UNTIL_IT_SHOWS = 2


async def go_back(meeting: Meeting, people: tuple[Node, Node], directory: Path) -> None:
    """The second of two, who are connected, comes back as a copy from before their last words."""
    other, restored = people
    await back_up(meeting, restored, directory / "backup")
    await other.send(restored.server_name, "lost")
    await restored.send(other.server_name, "kept")
    await meeting.clock.until(lambda: other.texts == ["kept"] and restored.texts == ["lost"])
    await meeting.clock.advance(60)
    await come_back(meeting, restored, directory / "backup")


async def back_up(meeting: Meeting, node: Node, backup: Path) -> None:
    await meeting.stop(node)
    shutil.copy(node.path, backup)
    meeting.start(node)


async def come_back(meeting: Meeting, node: Node, backup: Path) -> None:
    await meeting.stop(node)
    put_back(node, backup)
    node.taken.clear()
    meeting.start(node)


def allow(meeting: Meeting, boxes: int) -> None:
    """Let so many boxes pass and no more."""
    passed = 0

    async def count(_passing: Passing) -> None:
        nonlocal passed
        passed += 1
        if passed > boxes:
            raise errors.PeerUnreachable

    meeting.network.before = count


@pytest.mark.parametrize("who", ["creator", "giver", "both"])
@pytest.mark.parametrize("ratchets", [Libolm(), Vodozemac()], ids=["libolm", "vodozemac"])
async def test_lost_ratchets_are_repaired_and_lose_nothing(
    meeting: Meeting, who: str, ratchets: Ratchets
) -> None:
    alice, bob = meeting.node("alice", ratchets=ratchets), meeting.node("bob", ratchets=ratchets)
    await meeting.connect(alice, bob)
    creator, giver = sorted((alice, bob), key=lambda node: node.own.node_id)
    await alice.send(bob.server_name, "one")
    await meeting.clock.until(lambda: bob.texts == ["one"])
    for node, other in ((creator, giver), (giver, creator)):
        if who in ("both", "creator" if node is creator else "giver"):
            fresh = node.federation.party.sessions
            account, _ = fresh.create_account(other.own.node_id)
            one_time_key, account = fresh.create_one_time_key(other.own.node_id, account)
            epoch = channel_of(node, other).epoch
            session = fresh.start(
                other.own.node_id,
                epoch,
                account,
                fresh.identity_key(other.own.node_id, account),
                one_time_key,
            )
            change = {"session": session}
            await change_channel(node, other, change)
    epoch = channel_of(alice, bob).epoch
    for number in range(3):
        await alice.send(bob.server_name, f"to bob {number}")
        await bob.send(alice.server_name, f"to alice {number}")
    await meeting.clock.until(lambda: len(bob.texts) == 4 and len(alice.texts) == 3, within=600)
    await meeting.clock.advance(60)
    assert bob.texts == ["one", "to bob 0", "to bob 1", "to bob 2"]
    assert alice.texts == ["to alice 0", "to alice 1", "to alice 2"]
    assert channel_of(alice, bob).epoch == channel_of(bob, alice).epoch > epoch
    for node, other in ((alice, bob), (bob, alice)):
        channel = channel_of(node, other)
        assert channel.keys_note is None
        assert channel.previous_session is None
        assert not channel.wants_repair


@pytest.mark.parametrize("fate", range(4))
async def test_repair_survives_a_bad_network_and_restarts(meeting: Meeting, fate: int) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    for node, other in ((alice, bob), (bob, alice)):
        await change_channel(node, other, {"session": None, "wants_repair": True})
    giver, creator = sorted((alice, bob), key=lambda node: node.own.node_id, reverse=True)
    await giver.database.write(
        lambda work: channels.change_channel(work, creator.server_name, {"wants_repair": False})
    )
    meeting.disturb(fate)
    await alice.send(bob.server_name, "there")
    await bob.send(alice.server_name, "back")
    for step in range(6):
        await meeting.clock.advance(step * 3)
        await meeting.restart((alice, bob)[step % 2])
    await meeting.clock.until(
        lambda: (bob.texts, alice.texts) == (["there"], ["back"]), within=40 * 86_400
    )


@pytest.mark.parametrize("who", ["creator", "giver"])
async def test_an_old_copy_that_is_seen_in_several_runs_is_one_old_copy(
    meeting: Meeting, who: str, tmp_path: Path
) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    ordered = sorted((alice, bob), key=lambda node: node.own.node_id)
    restored, other = ordered if who == "creator" else reversed(ordered)
    await go_back(meeting, (other, restored), tmp_path)
    for _ in range(5):
        allow(meeting, boxes=BOXES_UNTIL_IT_SHOWS)
        await meeting.restart(other)
        await meeting.clock.advance(30)
    meeting.calm()
    await other.send(restored.server_name, "after the restore")
    await meeting.clock.until(lambda: restored.texts == ["after the restore"], within=86_400)
    assert "alarm" not in [kind for kind, _ in notices_of(other)]


async def test_a_box_that_was_long_on_its_way_tells_of_no_second_old_copy(
    meeting: Meeting, tmp_path: Path
) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    restored, other = sorted((alice, bob), key=lambda node: node.own.node_id)
    await go_back(meeting, (other, restored), tmp_path)
    held: list[Passing] = []

    async def hold(passing: Passing) -> None:
        has_shown = channel_of(other, restored).regressions
        if passing.party == other.server_name and has_shown and not held:
            held.append(passing)
            await meeting.clock.sleep(600)

    meeting.network.before = hold
    await other.send(restored.server_name, "after the restore")
    await meeting.clock.until(lambda: restored.texts == ["after the restore"])
    assert held
    await meeting.clock.advance(1_200)
    assert channel_of(other, restored).regressions == 1


@pytest.mark.parametrize("who", ["creator", "giver"])
async def test_a_restored_backup_uses_no_key_twice_and_goes_on(
    meeting: Meeting, who: str, tmp_path: Path
) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    ordered = sorted((alice, bob), key=lambda node: node.own.node_id)
    restored, other = ordered if who == "creator" else reversed(ordered)
    await other.send(restored.server_name, "before the backup")
    await meeting.clock.until(lambda: restored.texts == ["before the backup"])
    await meeting.clock.advance(60)
    await back_up(meeting, restored, tmp_path / "backup")
    for number in range(5):
        await restored.send(other.server_name, f"lost {number}")
        await other.send(restored.server_name, f"kept {number}")
        await meeting.clock.advance(5)
    assert len(other.texts) == 5
    epoch = channel_of(other, restored).epoch
    await come_back(meeting, restored, tmp_path / "backup")
    await other.send(restored.server_name, "after the restore")
    await restored.send(other.server_name, "I am back")
    await meeting.clock.until(
        lambda: restored.texts[-1:] == ["after the restore"] and other.texts[-1:] == ["I am back"],
        within=3_600,
    )
    assert channel_of(restored, other).epoch == channel_of(other, restored).epoch > epoch
    assert "old_copy" in [kind for kind, _ in notices_of(restored)]
    assert [kind for kind, _ in notices_of(other)].count("peer_restored") == 1
    assert are_connected(alice, bob)


@pytest.mark.parametrize("who", ["creator", "giver"])
async def test_a_repair_that_leads_nowhere_is_tried_ever_less_and_the_owner_told(
    meeting: Meeting, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    creator, giver = sorted((alice, bob), key=lambda node: node.own.node_id)
    forged = (identity.WANT, identity.KEYS) if who == "giver" else (identity.OPENED,)
    genuine, boxes = identity.sign, []

    def forge(key: Any, context: bytes, document: Any) -> Any:
        mallory = nacl.signing.SigningKey(bytes(32))
        return genuine(mallory if context in forged else key, context, document)

    async def count(passing: Passing) -> None:
        boxes.append(passing)

    monkeypatch.setattr(identity, "sign", forge)
    meeting.network.before = count
    for node in (alice, bob):
        await meeting.restart(node)
    await giver.send(creator.server_name, "later")
    await creator.send(giver.server_name, "later")
    await meeting.clock.advance(6 * 3_600)
    assert len(boxes) < 100
    told = notices_of(alice) + notices_of(bob)
    assert [kind for kind, _ in told].count("repair_fails") in (1, 2)
    assert (alice.texts, bob.texts) == ([], [])
    monkeypatch.setattr(identity, "sign", genuine)
    await meeting.clock.until(lambda: alice.texts == bob.texts == ["later"], within=3_600)


async def test_keys_without_end_are_no_reason_to_hurry(
    meeting: Meeting, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    creator, giver = sorted((alice, bob), key=lambda node: node.own.node_id)
    note_for, accept, boxes = repair.note_for, repair._accept_session, []

    def take_none(*_arguments: Any) -> bytes:
        raise Undecryptable

    def other_keys_each_time(state: Any) -> bytes:
        if state.party is giver.federation.party:
            repair.give_keys(state, state.channel.highest_epoch)
        return note_for(state)

    async def count(passing: Passing) -> None:
        boxes.append(passing)

    monkeypatch.setattr(repair, "note_for", other_keys_each_time)
    monkeypatch.setattr(repair, "_accept_session", take_none)
    meeting.network.before = count
    await change_channel(creator, giver, {"wants_repair": True})
    await creator.send(giver.server_name, "later")
    await meeting.clock.advance(6 * 3_600)
    assert len(boxes) < 200
    monkeypatch.setattr(repair, "note_for", note_for)
    monkeypatch.setattr(repair, "_accept_session", accept)
    await meeting.clock.until(lambda: giver.texts == ["later"], within=3_600)


async def test_a_restore_keeps_what_was_on_its_way(meeting: Meeting) -> None:
    """Or the peer would wait for that number for ever."""
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    await meeting.stop(bob)
    await alice.send(bob.server_name, "sealed and not taken")
    await meeting.clock.advance(60)
    await meeting.stop(alice)
    alice.database = Database(f"sqlite:///{alice.path}", WakeUps(), inline=True)
    party = alice.federation.party
    await alice.database.write(lambda work: restoring.void(work, party))
    alice.database.close()
    for node in (alice, bob):
        meeting.start(node)
    await alice.federation.peers.resume(bob.server_name)
    await alice.send(bob.server_name, "after")
    await meeting.clock.until(lambda: bob.texts == ["sealed and not taken", "after"], within=600)


async def test_two_copies_that_live_at_once_are_noticed(meeting: Meeting, tmp_path: Path) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    await meeting.stop(bob)
    copies = [tmp_path / "one", tmp_path / "two"]
    for copy in copies:
        shutil.copy(bob.path, copy)
    for turn in range(12):
        put_back(bob, copies[turn % 2])
        meeting.start(bob)
        await bob.send(alice.server_name, f"turn {turn}")
        await alice.send(bob.server_name, f"turn {turn}")
        await meeting.clock.advance(120)
        await meeting.stop(bob)
        shutil.copy(bob.path, copies[turn % 2])
    meeting.start(bob)
    assert "alarm" in [kind for kind, _ in notices_of(alice)]
    assert alice.federation.lines.all() == []
    assert alice.federation.peers.find(bob.server_name).alarm
