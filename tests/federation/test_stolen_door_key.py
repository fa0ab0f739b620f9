"""Whoever has the key of a door, and no ratchet and no card, cannot pass for the peer."""

from dataclasses import replace

import orjson
import pytest

from federation import envelope
from federation.envelope import NO_NONCE, Envelope
from tests.federation.conftest import Meeting, channel_of, notices_of, steps_of
from tests.federation.node import Node


class Thief:
    """Has what Bob uses to deliver to Alice, and talks with her as if he were Bob."""

    def __init__(self, victim: Node, owner: Node) -> None:
        line = owner.federation.lines.find(victim.server_name)
        assert line is not None
        self.victim, self.line = victim, line
        self.answers = NO_NONCE

    async def put(self, content: Envelope) -> bytes | None:
        box = envelope.seal(self.line.theirs.request, self.victim.entropy.token_bytes(24), content)
        return await self.victim.receive(self.line.their_address, box, None)

    async def say(self, content: Envelope) -> Envelope:
        answer = await self.put(content)
        assert answer is not None
        self.answers = envelope.nonce_of(answer)
        return envelope.open_box(self.line.theirs.answer, answer)


@pytest.mark.parametrize("kind", ["want", "keys", "opened"])
@pytest.mark.parametrize("is_signed", [False, True])
async def test_no_note_of_his_counts(meeting: Meeting, kind: str, is_signed: bool) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    mallory = meeting.node("mallory")
    thief = Thief(alice, bob)
    seen = await thief.say(Envelope())
    said = {
        "node_id": alice.own.node_id,
        "epoch": 2**31 - 2,
        "olm_key": "A" * 43,
        "one_time_key": "A" * 43,
        "nonce": "n" * 32,
        "settled": 2**40,
    }
    note = {"kind": kind, "identity": mallory.own.proof, **said}
    if is_signed:
        note["signed"] = mallory.own.sign(f"homeserver/{kind}/1\0".encode(), said)
    before = channel_of(alice, bob)
    await thief.say(
        Envelope(
            answers=thief.answers,
            acknowledged=seen.settled,
            settled=seen.acknowledged,
            note=orjson.dumps(note),
        )
    )
    await meeting.clock.advance(60)
    assert channel_of(alice, bob) == before
    assert not {"alarm", "keys_renewed"} & {kind for kind, _ in notices_of(alice)}
    await bob.send(alice.server_name, "still here")
    await alice.send(bob.server_name, "so am I")
    await meeting.clock.until(lambda: (alice.texts, bob.texts) == (["still here"], ["so am I"]))


async def test_a_replayed_want_leads_to_other_keys_and_loses_nothing(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    creator, giver = sorted((alice, bob), key=lambda node: node.own.node_id)
    thief = Thief(giver, creator)
    said = {"node_id": giver.own.node_id, "epoch": 1, "settled": 0}
    note = {"kind": "want", "signed": creator.own.sign(b"homeserver/want/1\0", said)}
    for _ in range(3):
        seen = await thief.say(Envelope())
        content = Envelope(
            answers=thief.answers,
            acknowledged=seen.settled,
            settled=seen.acknowledged,
            note=orjson.dumps(note),
        )
        await thief.say(content)
        await giver.send(creator.server_name, "on")
        await meeting.clock.advance(30)
    await meeting.clock.until(lambda: creator.texts == ["on", "on", "on"])
    assert channel_of(giver, creator).epoch == channel_of(creator, giver).epoch > 1


@pytest.mark.parametrize("claim", ["acknowledged", "settled"])
async def test_a_position_of_his_is_ignored_once_and_then_an_alarm(
    meeting: Meeting, claim: str
) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    await bob.send(alice.server_name, "before")
    await meeting.clock.until(lambda: alice.texts == ["before"])
    thief = Thief(alice, bob)
    before = channel_of(alice, bob)
    for _ in range(3):
        seen = await thief.say(Envelope())
        true = Envelope(thief.answers, acknowledged=seen.settled, settled=seen.acknowledged)
        far = {"acknowledged": true.acknowledged, "settled": true.settled, claim: 2**30}
        await thief.put(replace(true, acknowledged=far["acknowledged"], settled=far["settled"]))
        after = channel_of(alice, bob)
        assert (after.sent, after.received) == (before.sent, before.received)
        assert (after.epoch, after.session) == (before.epoch, before.session)
    assert [kind for kind, _ in notices_of(alice)].count("alarm") == 1
    assert [step for _, step, _ in steps_of(alice)].count("alarm") == 1
    assert alice.federation.lines.find(bob.server_name) is None
