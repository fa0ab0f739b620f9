"""What goes to several peers at once: encrypted once, in order, exactly once, whatever happens."""

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from federation import envelope as envelopes
from federation import group_sending
from federation.transport.memory import Passing
from homeserver import metrics
from homeserver.storage import channels, groups
from tests.federation.conftest import Meeting, ask, digest, put_back
from tests.federation.node import ROOM
from tests.federation.trio import (
    LIBRARIES,
    befriended,
    opened,
    say,
    session_id,
    session_of,
    share,
)

DAY = 86_400


@pytest.mark.parametrize("libraries", LIBRARIES)
async def test_what_two_peers_get_is_encrypted_once(meeting: Meeting, libraries: str) -> None:
    trio = await befriended(meeting, LIBRARIES[libraries])
    others = (trio.bob, trio.carol)
    await say(trio.alice, "one", "two", to=others)
    await trio.until_heard("one", "two")
    await say(trio.alice, "three", to=others)
    await trio.until_heard("one", "two", "three")
    sent = trio.ciphertexts(trio.bob)
    assert len(sent) == 3
    assert trio.ciphertexts(trio.carol) == sent
    assert "groups" not in trio.bob.taken[-1]


@pytest.mark.parametrize("libraries", LIBRARIES)
@pytest.mark.parametrize("fate", range(4))
async def test_everything_arrives_once_and_in_order(
    meeting: Meeting, libraries: str, fate: int
) -> None:
    trio = await befriended(meeting, LIBRARIES[libraries])
    before = metrics.counters["federation_group_events"]
    meeting.disturb(fate)
    said: dict[str, list[str]] = {node.name: [] for node in trio.nodes}
    for step in range(8):
        for node in trio.nodes:
            texts = [f"{node.name} {step}.{number}" for number in range(1 + (step + fate) % 3)]
            said[node.name] += texts
            await say(node, *texts, to=tuple(one for one in trio.nodes if one is not node))
        await meeting.clock.advance(step)
        if step % 3 == 2:
            await meeting.restart(trio.nodes[(step + fate) % 3])
    total = sum(len(texts) for texts in said.values())
    await meeting.clock.until(
        lambda: all(len(n.texts) >= total - len(said[n.name]) for n in trio.nodes),
        within=40 * DAY,
    )
    meeting.calm()
    await meeting.clock.advance(7_200)
    for listener in trio.nodes:
        for speaker in trio.nodes:
            if speaker is not listener:
                heard = [one for one in listener.texts if one.startswith(f"{speaker.name} ")]
                assert heard == said[speaker.name]
    assert metrics.counters["federation_group_events"] > before


async def test_in_a_room_of_two_everything_goes_in_olm(meeting: Meeting) -> None:
    trio = await befriended(meeting)
    share(trio.alice, trio.bob)
    await say(trio.alice, "one", to=(trio.bob,))
    await meeting.clock.until(lambda: trio.bob.texts == ["one"])
    assert trio.ciphertexts(trio.bob) == []
    assert session_of(trio.alice) is None


async def test_who_was_asleep_catches_up_in_olm(meeting: Meeting) -> None:
    trio = await befriended(meeting)
    await meeting.stop(trio.carol)
    await say(trio.alice, "zero", to=(trio.bob, trio.carol))
    await meeting.clock.advance(60)
    begun = trio.ciphertexts(trio.bob)
    assert len(begun) <= 1  # whoever came first could not know yet
    await say(trio.alice, "one", "two", to=(trio.bob, trio.carol))
    await meeting.clock.advance(600)
    assert trio.bob.texts == ["zero", "one", "two"]
    assert trio.ciphertexts(trio.bob) == begun  # Carol is known to be asleep
    meeting.start(trio.carol)
    await trio.until_heard("zero", "one", "two")
    assert len(trio.ciphertexts(trio.carol)) <= 1
    await say(trio.alice, "three", to=(trio.bob, trio.carol))
    await trio.until_heard("zero", "one", "two", "three")
    assert trio.ciphertexts(trio.bob)[len(begun) :] == trio.ciphertexts(trio.carol)[-1:]


async def test_what_was_said_before_somebody_came_is_not_in_his_session(meeting: Meeting) -> None:
    trio = await befriended(meeting)
    others = (trio.bob, trio.carol)
    await say(trio.alice, "before", to=others[:0])
    since = trio.alice.rooms.events[-1][0] + 1
    share(trio.alice, *others, since=since)
    await say(trio.alice, "after", to=others)
    await meeting.clock.advance(10)
    assert len(trio.ciphertexts(trio.bob)) == 1
    assert trio.bob.texts[-1] == trio.carol.texts[-1] == "after"


async def test_rotation(meeting: Meeting, monkeypatch: pytest.MonkeyPatch) -> None:
    trio = await befriended(meeting)
    others = (trio.bob, trio.carol)
    seen: list[str] = []
    texts: list[str] = []

    async def next_session() -> str:
        texts.append(f"text {len(texts)}")
        await say(trio.alice, texts[-1], to=others)
        await trio.until_heard(*texts)
        seen.append(session_id(trio.alice))
        return seen[-1]

    first = await next_session()
    assert await next_session() == first
    share(trio.alice, *others, since=1)  # somebody left and came back
    assert await next_session() not in seen[:-1]
    await meeting.restart(trio.alice)
    await meeting.clock.advance(5)
    assert session_of(trio.alice) is None
    texts.append("in Olm, as the first frame of each session of this run")
    await say(trio.alice, texts[-1], to=others)
    await trio.until_heard(*texts)
    assert await next_session() not in seen[:-1]
    await meeting.clock.advance(7 * DAY - 60)
    assert await next_session() == seen[-2]
    await meeting.clock.advance(60)
    assert await next_session() not in seen[:-1]
    monkeypatch.setattr(group_sending, "MOST_EVENTS", 3)
    assert await next_session() == await next_session() == seen[-2]
    assert await next_session() not in seen[:-1]
    assert trio.ciphertexts(trio.bob) == trio.ciphertexts(trio.carol)
    assert len(trio.ciphertexts(trio.bob)) == len(texts) - 1


@pytest.mark.parametrize("verb", ["revoke", "block"])
async def test_when_a_connection_ends_every_session_ends(meeting: Meeting, verb: str) -> None:
    trio = await befriended(meeting)
    await say(trio.alice, "one", to=(trio.bob, trio.carol))
    await say(trio.bob, "two", to=(trio.alice, trio.carol))
    await meeting.clock.until(lambda: trio.alice.texts == ["two"] and len(trio.carol.texts) == 2)
    bobs = session_id(trio.bob)
    assert trio.alice.database.read(
        lambda view: groups.find_inbound(view, trio.bob.server_name, bobs)
    )
    await getattr(trio.alice.federation.peers, verb)(trio.bob.server_name)
    assert session_of(trio.alice) is None
    assert not any("inbound_groups" in line and "INSERT" in line for line in digest(trio.alice))
    assert not any("group_messages VALUES" in line for line in digest(trio.alice))


async def test_a_replayed_box_changes_nothing(meeting: Meeting) -> None:
    trio = await befriended(meeting)
    seen: list[Passing] = []

    async def note(passing: Passing) -> None:
        seen.append(replace(passing))

    meeting.network.before = note
    for number in range(3):
        await say(trio.alice, f"{number}", to=(trio.bob, trio.carol))
        await meeting.clock.advance(5)
    await trio.until_heard("0", "1", "2")
    await meeting.clock.advance(60)
    before = [digest(node) for node in trio.nodes]
    receivers = {f"http://{node.name}": node for node in trio.nodes}
    for passing in seen[:200]:
        await receivers[passing.route].receive(passing.address, passing.box, None)
    await meeting.clock.advance(60)
    assert [digest(node) for node in trio.nodes] == before


@pytest.mark.parametrize("how", ["earlier", "damaged", "missing", "more"])
async def test_somebody_with_a_door_key_substitutes_group_messages(
    meeting: Meeting, how: str
) -> None:
    trio = await befriended(meeting)
    others = (trio.bob, trio.carol)
    await say(trio.alice, "one", to=others)
    await trio.until_heard("one")
    (earlier,) = trio.ciphertexts(trio.bob)
    refusals = metrics.counters["federation_group_refusals"]

    async def substitute(passing: Passing) -> None:
        line = trio.alice.federation.lines.find(trio.bob.server_name)
        assert line is not None
        envelope = opened(line.theirs.request, passing.box)
        if envelope is None or not envelope.group_messages:
            return
        (genuine,) = envelope.group_messages
        false = {
            "earlier": (earlier,),
            "damaged": (genuine[:-1] + bytes([genuine[-1] ^ 1]),),
            "missing": (),
            "more": (earlier, genuine),
        }[how]
        nonce = envelopes.nonce_of(passing.box)
        changed = replace(envelope, group_messages=false)
        passing.box = envelopes.seal(line.theirs.request, nonce, changed)

    meeting.network.before = substitute
    await say(trio.alice, "two", to=others)
    await trio.until_heard("one", "two")
    meeting.network.before = trio.listen
    await say(trio.alice, "three", to=others)
    await trio.until_heard("one", "two", "three")
    assert (metrics.counters["federation_group_refusals"] > refusals) == (how != "more")
    assert trio.ciphertexts(trio.bob)[-1] == trio.ciphertexts(trio.carol)[-1]


@pytest.mark.parametrize("fate", range(3))
@pytest.mark.parametrize("is_reachable", [True, False])
async def test_a_lost_session_heals(meeting: Meeting, fate: int, *, is_reachable: bool) -> None:
    trio = await befriended(meeting, may_call_bob=is_reachable)
    others = (trio.bob, trio.carol)
    await say(trio.alice, "one", to=others)
    await trio.until_heard("one")
    lost = session_id(trio.alice)
    if fate:
        meeting.disturb(fate)
    await trio.bob.database.write(groups.forget_everything)
    fallbacks = metrics.counters["federation_group_fallbacks"]
    await say(trio.alice, "two", "three", to=others)
    await trio.until_heard("one", "two", "three")
    if not fate:
        assert metrics.counters["federation_group_fallbacks"] == fallbacks + 1
    meeting.network.before = meeting.network.after = trio.listen
    await meeting.clock.advance(4 * 3_600)
    for last in ("four", "five"):
        await say(trio.alice, last, to=others)
        await meeting.clock.advance(60)
    await trio.until_heard("one", "two", "three", "four", "five")
    assert trio.ciphertexts(trio.bob)[-1] == trio.ciphertexts(trio.carol)[-1]
    assert session_id(trio.alice) != lost


async def test_a_lost_olm_session_heals_with_group_messages_in_flight(meeting: Meeting) -> None:
    trio = await befriended(meeting)
    others = (trio.bob, trio.carol)
    await trio.bob.database.write(
        lambda work: channels.change_channel(work, trio.alice.server_name, {"session": None})
    )
    await say(trio.alice, "one", to=others)
    await trio.until_heard("one")
    await say(trio.alice, "two", to=others)
    await trio.until_heard("one", "two")
    assert trio.ciphertexts(trio.bob)[-1] == trio.ciphertexts(trio.carol)[-1]
    assert len(trio.ciphertexts(trio.bob)) == 2


async def test_somebody_who_always_complains_still_gets_everything_once(meeting: Meeting) -> None:
    trio = await befriended(meeting)
    others = (trio.bob, trio.carol)
    line = trio.bob.federation.lines.find(trio.alice.server_name)
    assert line is not None
    texts = []
    for number in range(5):
        line.lacks_group = True
        texts.append(f"{number}")
        await say(trio.alice, texts[-1], to=others)
        await trio.until_heard(*texts)


@pytest.mark.parametrize("who", ["alice", "bob"])
async def test_an_old_copy_forgets_every_session(
    meeting: Meeting, tmp_path: Path, who: str
) -> None:
    trio = await befriended(meeting)
    others = (trio.bob, trio.carol)
    await say(trio.alice, "one", to=others)
    await trio.until_heard("one")
    victim = trio.alice if who == "alice" else trio.bob
    backup = tmp_path / "backup"
    await meeting.stop(victim)
    shutil.copy(victim.path, backup)
    events = list(victim.rooms.events)
    meeting.start(victim)
    await meeting.clock.advance(5)
    for number in range(3):
        await say(trio.alice, f"lost {number}", to=others)
        await say(trio.bob, f"lost too {number}", to=(trio.alice, trio.carol))
        await meeting.clock.advance(5)
    ids = {session_id(trio.alice)}
    await meeting.stop(victim)
    put_back(victim, backup)
    victim.rooms.events = events
    meeting.start(victim)
    await meeting.clock.advance(600)
    texts = [len(node.texts) for node in others]
    await say(trio.alice, "after", to=others)
    await meeting.clock.advance(600)
    assert [node.texts[-1] for node in others] == ["after"] * 2
    assert [node.texts.count("after") for node in others] == [1, 1]
    assert [len(node.texts) for node in others] > texts
    if who == "alice":
        assert session_id(trio.alice) not in ids


async def test_sessions_and_ciphertexts_are_bounded(
    meeting: Meeting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "MOST_INBOUND", 5)
    monkeypatch.setattr(group_sending, "_MOST_KEPT", 4)
    trio = await befriended(meeting)
    others = (trio.bob, trio.carol)
    texts = [f"{number}" for number in range(60)]
    await say(trio.alice, *texts[:40], to=others)
    for number in range(40, 60):
        share(trio.alice, *others, since=number - 40)
        await say(trio.alice, texts[number], to=others)
        await meeting.clock.advance(2)
    await trio.until_heard(*texts)
    alice = trio.alice.server_name
    for node in others:
        assert node.database.read(lambda view: groups.count_inbound(view, alice)) == 5
    kept = trio.alice.database.read(lambda view: groups.messages_between(view, ROOM, 0, 10**6))
    assert len(kept) <= 4 + 16


async def test_large_events_leave_room_for_what_group_messages_add(meeting: Meeting) -> None:
    trio = await befriended(meeting)
    others = (trio.bob, trio.carol)
    texts = [f"{number} " + "x" * size for number, size in enumerate([60_000] * 7 + [10] * 300)]
    await say(trio.alice, *texts, to=others)
    await trio.until_heard(*texts)
    assert len(trio.ciphertexts(trio.bob)) > 100


async def test_asks_are_answered_while_a_group_message_cannot_be_read(meeting: Meeting) -> None:
    trio = await befriended(meeting)
    await trio.bob.database.write(groups.forget_everything)
    await say(trio.alice, "one", to=(trio.bob, trio.carol))
    assert (await ask(meeting, trio.bob, trio.alice, "ping", {})).body == {"echo": {}}
    await trio.until_heard("one")
    await asyncio.sleep(0)
