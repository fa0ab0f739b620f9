"""The channel: exactly once and in order, whatever the network and the machines do."""

import asyncio
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from federation import payloads
from federation.ratchets.interface import Ratchets
from federation.ratchets.libolm import Libolm
from federation.ratchets.vodozemac import Vodozemac
from federation.requests import Reply
from federation.transport.memory import Passing
from homeserver import errors
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import ServerName
from homeserver.storage import channels, frames, peers
from tests.federation.conftest import Meeting, are_connected, notices_of, standing
from tests.federation.node import Node


async def ask(meeting: Meeting, one: Node, other: Node, operation: str, body: JsonObject) -> Reply:
    asking = asyncio.ensure_future(
        one.federation.requests.ask(other.server_name, operation, body, 60)
    )
    await meeting.clock.until(asking.done)
    return asking.result()


async def change_channel(node: Node, other: Node, changes: dict[str, Any]) -> None:
    await node.database.write(
        lambda work: channels.change_channel(work, other.server_name, changes)
    )


def channel_of(node: Node, peer: Node) -> channels.Channel:
    found = node.database.read(lambda view: channels.find_channel(view, peer.server_name))
    assert found is not None
    return found


@pytest.mark.parametrize("bob_is_reachable", [True, False])
@pytest.mark.parametrize("fate", range(8))
async def test_everything_arrives_once_and_in_order(
    meeting: Meeting, fate: int, *, bob_is_reachable: bool
) -> None:
    alice = meeting.node("alice", ratchets=Libolm())
    bob = meeting.node("bob", is_reachable=bob_is_reachable, ratchets=Vodozemac())
    await meeting.connect(alice, bob)
    meeting.disturb(fate)
    to_bob, to_alice = [], []
    for step in range(12):
        to_bob += [f"b{step}.{number}" for number in range(step % 4)]
        await alice.send(bob.server_name, *to_bob[len(to_bob) - step % 4 :])
        to_alice.append(f"a{step}")
        await bob.send(alice.server_name, f"a{step}")
        await meeting.clock.advance(step)
        if step % 4 == 3:
            await meeting.restart((alice, bob)[(step + fate) // 4 % 2])
    await meeting.clock.until(
        lambda: len(bob.texts) >= len(to_bob) and len(alice.texts) >= len(to_alice),
        within=40 * 86_400,
    )
    meeting.calm()
    await meeting.clock.advance(7_200)
    assert bob.texts == to_bob
    assert alice.texts == to_alice
    assert not any(kind in ("old_copy", "alarm") for kind, _ in notices_of(alice) + notices_of(bob))


async def test_an_unreachable_peer_is_reached_as_soon_as_it_is_heard_from(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    await meeting.stop(bob)
    await alice.send(bob.server_name, "while you slept")
    await meeting.clock.advance(6 * 3_600)
    line = alice.federation.lines.find(bob.server_name)
    assert line is not None
    assert line.retry_at - meeting.clock.monotonic() > 60
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


async def test_a_quiet_poll_steps_no_ratchet_and_writes_nothing(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob", is_reachable=False)
    await meeting.connect(alice, bob)
    await meeting.clock.advance(300)
    before = (digest(alice), digest(bob))
    await meeting.clock.advance(3_600)
    assert (digest(alice), digest(bob)) == before


def put_back(node: Node, backup: Path) -> None:
    for leftover in node.path.parent.glob(f"{node.name}.db*"):
        leftover.unlink()
    shutil.copy(backup, node.path)


def digest(node: Node) -> list[str]:
    """Everything in a node's database."""
    with sqlite3.connect(f"file:{node.path}?mode=ro", uri=True) as connection:
        return list(connection.iterdump())


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
    await meeting.stop(restored)
    shutil.copy(restored.path, tmp_path / "backup")
    meeting.start(restored)
    for number in range(5):
        await restored.send(other.server_name, f"lost {number}")
        await other.send(restored.server_name, f"kept {number}")
        await meeting.clock.advance(5)
    assert len(other.texts) == 5
    epoch = channel_of(other, restored).epoch
    await meeting.stop(restored)
    put_back(restored, tmp_path / "backup")
    restored.taken.clear()
    meeting.start(restored)
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


async def test_a_replayed_box_changes_nothing(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    seen: list[Passing] = []

    async def note(passing: Passing) -> None:
        seen.append(Passing(passing.party, passing.route, passing.address, passing.box))

    meeting.network.before = note
    await meeting.connect(alice, bob)
    await alice.send(bob.server_name, "one", "two")
    await bob.send(alice.server_name, "three")
    await ask(meeting, alice, bob, "ping", {})
    await alice.database.write(
        lambda work: channels.change_channel(work, bob.server_name, {"session": None})
    )
    await bob.send(alice.server_name, "four")
    await meeting.clock.until(lambda: alice.texts == ["three", "four"])
    await meeting.clock.advance(60)
    for restarted in (None, alice, bob):
        if restarted is not None:
            await meeting.restart(restarted)
            await meeting.clock.advance(60)
        before = (digest(alice), digest(bob))
        for passing in seen[:200]:
            receiver = alice if passing.route == "http://alice" else bob
            await receiver.receive(passing.address, passing.box, None)
        await meeting.clock.advance(60)
        assert (digest(alice), digest(bob)) == before


async def test_a_pause_moves_nothing_and_loses_nothing(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    await alice.federation.peers.pause(bob.server_name)
    answers: list[bytes | None] = []

    async def note(passing: Passing) -> None:
        answers.append(passing.answer)

    meeting.network.after = note
    await alice.send(bob.server_name, "held by alice")
    await bob.send(alice.server_name, "held by bob")
    with pytest.raises(errors.PeerUnreachable):
        await alice.federation.requests.ask(bob.server_name, "ping", {}, 5)
    await meeting.clock.advance(7_200)
    assert answers
    assert set(answers) == {None}
    assert (alice.texts, bob.texts) == ([], [])
    await meeting.restart(alice)
    await meeting.clock.advance(60)
    assert standing(alice, bob) == "paused"
    await alice.federation.peers.resume(bob.server_name)
    await meeting.clock.settle()
    assert bob.texts == ["held by alice"]
    await meeting.clock.until(lambda: alice.texts == ["held by bob"], within=60)


async def test_pausing_everything_ends_without_resuming_single_pauses(meeting: Meeting) -> None:
    alice, bob, carol = (meeting.node(name) for name in ("alice", "bob", "carol"))
    await meeting.connect(alice, bob)
    await meeting.connect(alice, carol)
    await alice.federation.peers.pause(bob.server_name)
    await alice.federation.peers.pause_everything(is_paused=True)
    assert alice.federation.lines.all() == []
    await alice.federation.peers.pause_everything(is_paused=False)
    assert [line.peer for line in alice.federation.lines.all()] == [carol.server_name]


async def test_revoke_leaves_nothing_but_tombstone_and_audit(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    await meeting.stop(bob)
    await alice.send(bob.server_name, "never sent")
    await alice.database.write(
        lambda work: frames.queue_item(work, bob.server_name, frames.TO_DEVICE, "x", {"a": 1})
    )
    ended: list[ServerName] = []
    alice.federation.peers.when_ended.append(lambda _work, peer: ended.append(peer))
    await alice.federation.peers.revoke(bob.server_name)
    meeting.start(bob)
    await bob.send(alice.server_name, "too late")
    await meeting.clock.advance(7_200)
    assert ended == [bob.server_name]
    assert alice.texts == []
    left = [line for line in digest(alice) if bob.server_name in line or bob.own.node_id in line]
    tables = {line.split('"')[1] for line in left}
    assert tables == {"peers", "audit", "notices"}
    assert alice.database.read(peers.connected_servers) == frozenset()
    with pytest.raises(errors.NotConnected):
        await alice.federation.requests.ask(bob.server_name, "ping", {})
    await meeting.connect(bob, alice)


async def test_an_edit_of_grants_counts_from_the_next_frame(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    await bob.database.write(
        lambda work: frames.queue_newest(
            work, alice.server_name, "r", {"edu_type": "m.receipt", "n": 1}
        )
    )
    await meeting.clock.until(lambda: len(alice.taken) == 1)
    await alice.federation.peers.edit_grants(
        bob.server_name, {"receipts": False, "messages": False, "note": "hush"}
    )
    await bob.database.write(
        lambda work: frames.queue_newest(
            work, alice.server_name, "r", {"edu_type": "m.receipt", "n": 2}
        )
    )
    await bob.send(alice.server_name, "hidden")
    await meeting.clock.until(lambda: any(cut["hidden_pdus"] for cut in alice.taken))
    assert [cut["edus"] for cut in alice.taken[1:] if cut["edus"]] == []
    assert alice.texts == []
    assert [pdu["text"] for cut in alice.taken for pdu in cut["hidden_pdus"]] == ["hidden"]
    granted = bob.federation.peers.find(alice.server_name).granted
    assert granted["receipts"] is False
    assert "note" not in granted
    alice.federation.requests.register("publicRooms", lambda _peer, body: _echo(body))
    with pytest.raises(errors.PeerRefused) as refused:
        await ask(meeting, bob, alice, "publicRooms", {})
    assert refused.value.extra["peer_errcode"] == "not_granted"


async def _echo(body: JsonObject) -> JsonObject:
    return body


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

    alice.federation.requests.register("event", refuse)
    alice.federation.requests.register("state", fail)
    expected = {"event": "M_FORBIDDEN", "state": "M_TOO_LARGE", "backfill": "M_UNRECOGNIZED"}
    for operation, errcode in expected.items():
        with pytest.raises(errors.PeerRefused) as refused:
            await ask(meeting, bob, alice, operation, {})
        assert refused.value.extra["peer_errcode"] == errcode
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


async def test_the_ratchet_heals_when_one_side_only_listens(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    sent = channel_of(bob, alice).sent
    for number in range(105):
        await alice.send(bob.server_name, str(number))
        await meeting.clock.settle()
    await meeting.clock.until(lambda: len(bob.texts) == 105)
    await meeting.clock.advance(10)
    assert channel_of(bob, alice).sent == sent + 1
    assert alice.taken == []


async def test_a_frame_that_breaks_its_reader_does_not_stop_the_ones_behind(
    meeting: Meeting,
) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    tries = 0

    async def break_once(peer: ServerName, transaction: JsonObject, finish: object) -> None:
        nonlocal tries
        if transaction["pdus"][0]["text"] == "poison":
            tries += 1
            raise ValueError("poison")
        await bob.take_in(peer, transaction, finish)  # type: ignore[arg-type]

    bob.federation.inbox.register_transactions(break_once)
    await alice.send(bob.server_name, "poison")
    await meeting.clock.settle()
    await alice.send(bob.server_name, "medicine")
    await meeting.clock.until(lambda: bob.texts == ["medicine"])
    assert tries == 5


async def test_a_full_inbox_holds_the_sender_back(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    gate = asyncio.Event()

    async def wait(peer: ServerName, transaction: JsonObject, finish: object) -> None:
        await gate.wait()
        await bob.take_in(peer, transaction, finish)  # type: ignore[arg-type]

    bob.federation.inbox.register_transactions(wait)
    for number in range(200):
        await alice.send(bob.server_name, str(number))
        await meeting.clock.settle()
    stored = bob.database.read(lambda view: frames.count_frames(view, alice.server_name))
    assert 32 <= stored <= 70
    assert (await ask(meeting, alice, bob, "ping", {})).body == {"echo": {}}
    gate.set()
    await meeting.clock.until(lambda: len(bob.texts) == 200)
    assert bob.texts == [str(number) for number in range(200)]


async def test_fleeting_news_is_told_now_or_never(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    await meeting.clock.advance(10)
    typing = {"edu_type": "m.typing", "content": {}}
    alice.federation.outbox.tell_now(bob.server_name, "typing", typing)
    await meeting.clock.settle()
    assert [cut["edus"] for cut in bob.taken] == [[typing]]
    await meeting.stop(bob)
    await alice.send(bob.server_name, "x")
    await meeting.clock.advance(10)
    alice.federation.outbox.tell_now(bob.server_name, "typing", typing)
    meeting.start(bob)
    await meeting.clock.advance(60)
    assert [cut["edus"] for cut in bob.taken] == [[typing], []]


async def test_what_has_expired_grants_is_paused(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    ends = meeting.clock.now_ms() + 60_000
    await alice.federation.peers.edit_grants(bob.server_name, {"expires_at": ends})
    await meeting.clock.advance(59)
    assert standing(alice, bob) == "active"
    await meeting.clock.advance(3)
    assert standing(alice, bob) == "paused"
    assert "paused" in [kind for kind, _ in notices_of(alice)]


def test_the_channel_knows_every_control_it_sends() -> None:
    assert {name for name in payloads.REGISTRY if name.startswith("control.")} == {
        "control.grants",
        "control.routes",
        "control.card",
        "control.goodbye",
    }
