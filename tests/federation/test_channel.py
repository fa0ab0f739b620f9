"""The channel: exactly once and in order, whatever the network and the machines do."""

import asyncio
import sqlite3

import pytest
from sqlalchemy import exc

from federation import payloads
from federation.ratchets.libolm import Libolm
from federation.ratchets.vodozemac import Vodozemac
from federation.transport.memory import Passing
from homeserver import errors
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import ServerName
from homeserver.storage import channels, frames, inbox, peers
from tests.federation.conftest import (
    Meeting,
    ask,
    channel_of,
    digest,
    notices_of,
    standing,
)


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


async def test_a_quiet_poll_steps_no_ratchet_and_writes_nothing(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob", is_reachable=False)
    await meeting.connect(alice, bob)
    await meeting.clock.advance(300)
    before = (digest(alice), digest(bob))
    await meeting.clock.advance(3_600)
    assert (digest(alice), digest(bob)) == before


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
    line = bob.federation.lines.find(alice.server_name)
    assert line is not None
    assert line.stored == 0


@pytest.mark.parametrize(
    "failure",
    [
        errors.StorageFull(),
        OSError(28, "No space left on device"),
        exc.OperationalError("INSERT", {}, sqlite3.OperationalError("disk I/O error")),
    ],
)
async def test_an_ill_disk_loses_no_frame_however_long_it_lasts(
    meeting: Meeting, failure: Exception
) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    tries = 0

    async def fail_often(peer: ServerName, transaction: JsonObject, finish: object) -> None:
        nonlocal tries
        tries += 1
        if tries <= 12:
            raise failure
        await bob.take_in(peer, transaction, finish)  # type: ignore[arg-type]

    bob.federation.inbox.register_transactions(fail_often)
    await alice.send(bob.server_name, "kept")
    await meeting.clock.until(lambda: bob.texts == ["kept"])
    assert tries == 13


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
    stored = bob.database.read(lambda view: inbox.count_frames(view, alice.server_name))
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
    assert payloads.REGISTRY.keys() >= {
        "control.grants",
        "control.routes",
        "control.card",
        "control.goodbye",
    }
