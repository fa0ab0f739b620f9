"""The harness is worth what it notices: with a protection switched off, named scenarios fail."""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from federation import channel, turning
from federation.inbox import Inbox
from federation.lines import Lines
from federation.turn_state import TurnState
from homeserver.matrix import auth_rules
from homeserver.storage import channels, inbox, peers
from homeserver.testing.client import Refused
from homeserver.testing.crashing import crash_everywhere
from homeserver.testing.invariants import Broken
from homeserver.testing.watched_database import digest_of
from homeserver.testing.world import World

Story = Callable[[World], Coroutine[Any, Any, None]]


async def conversation_with_crashes(world: World) -> None:
    alice, bob = await world.befriended("alice", "bob")
    room_id = await world.room(alice, bob)

    async def story(number: int) -> None:
        await alice.say(room_id, f"alice {number}", f"txn-{number}")

    await crash_everywhere(world, bob.server, story)


async def losses(world: World) -> None:
    alice, bob = await world.befriended("alice", "bob")
    room_id = await world.room(alice, bob)
    world.network.everywhere(loss=0.3, duplication=0.3)
    for number in range(4):
        await alice.say(room_id, f"alice {number}")
        await world.pass_time(5.0)
    await world.settle()
    world.network.heal()
    await world.check_healed()


async def a_ban_in_a_partition(world: World) -> None:
    alice, bob, carol = await world.befriended("alice", "bob", "carol")
    room_id = await world.room(alice, bob, carol)
    world.partition([alice], [bob, carol])
    await alice.moderate("ban", room_id, carol)
    await carol.say(room_id, "not after the ban")
    await world.pass_time(60.0)
    world.network.heal()
    await world.check_healed()
    assert "not after the ban" not in await alice.texts(room_id)


async def envelopes_again(world: World) -> None:
    people = alice, bob = await world.befriended("alice", "bob")
    room_id = await world.room(alice, bob)
    with world.recording():
        await alice.say(room_id, "once")
        await world.settle()
    files = [str(person.server.directory / "homeserver.db") for person in people]
    before = [digest_of(file) for file in files]
    for recorded in world.network.recorded:
        await world.network.replay(recorded)
    await world.settle()
    assert [digest_of(file) for file in files] == before


STORIES = (conversation_with_crashes, losses, a_ban_in_a_partition, envelopes_again)


def _sees(directory: Path, story: Story) -> bool:
    world = World(directory, 1)
    world.patience_s = 400.0
    try:
        world.run(story(world))
    except (AssertionError, Refused):
        return True
    finally:
        world.close()
    return False


@pytest.mark.parametrize("story", STORIES)
def test_nothing_is_seen_where_nothing_is_wrong(tmp_path: Path, story: Story) -> None:
    assert not _sees(tmp_path, story)


def test_a_frame_that_is_let_go_before_its_effect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = Inbox._take_transaction

    async def let_go_first(self: Inbox, line: Any, frame: Any, transaction: Any) -> None:
        await self._database.write(lambda work: inbox.delete_frame(work, frame.number))
        await take(self, line, frame, transaction)

    monkeypatch.setattr(Inbox, "_take_transaction", let_go_first)
    assert _sees(tmp_path, conversation_with_crashes)


def test_a_frame_that_is_acknowledged_and_not_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, told = turning._store, []

    def forget_the_fourth(state: Any, frame: Any) -> None:
        told.append(frame)
        if len(told) % 4:
            store(state, frame)

    monkeypatch.setattr(turning, "_store", forget_the_fourth)
    assert _sees(tmp_path, losses)


def test_no_protection_against_replay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the sequence the ratchet is given what it has read before."""
    check = turning._take_frame

    def take_any(state: Any, arrival: Any, note: Any) -> Any:
        if arrival.envelope.olm:
            state.change(received=arrival.envelope.sequence - 1)
        return check(state, arrival, note)

    monkeypatch.setattr(turning, "_take_frame", take_any)
    monkeypatch.setattr(channel, "_look", lambda *_arguments: None)
    assert _sees(tmp_path, envelopes_again)


def test_no_authorization(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth_rules, "check", lambda *_arguments: None)
    assert _sees(tmp_path, a_ban_in_a_partition)


async def pause_and_revoke(world: World) -> None:
    alice, bob = await world.befriended("alice", "bob")
    room_id = await world.room(alice, bob)
    await alice.pause(bob)
    await alice.say(room_id, "held")
    await world.pass_time(60.0)
    await world.check()
    await alice.revoke(bob)
    await world.pass_time(60.0)
    await world.check()


def test_nothing_is_seen_of_a_pause_that_is_kept(tmp_path: Path) -> None:
    assert not _sees(tmp_path, pause_and_revoke)


def test_a_ratchet_that_is_not_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change = TurnState.change

    def forget_the_session(self: TurnState, **changes: Any) -> None:
        changes.pop("session", None)
        change(self, **changes)

    monkeypatch.setattr(TurnState, "change", forget_the_session)
    with pytest.raises(Broken, match="used twice"):
        _tell(tmp_path, losses)


def test_a_pause_that_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Lines, "_close", lambda _self, _line: None)
    monkeypatch.setattr(peers, "is_active", lambda *_arguments: True)
    with pytest.raises(Broken, match="while the connection was paused"):
        _tell(tmp_path, pause_and_revoke)


def test_a_revoke_that_deletes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "delete_channel", lambda *_arguments: None)
    with pytest.raises(Broken, match=r"keeps of a revoked peer: .*channels"):
        _tell(tmp_path, pause_and_revoke)


def _tell(directory: Path, story: Story) -> None:
    world = World(directory, 1)
    world.patience_s = 400.0
    try:
        world.run(story(world))
    finally:
        world.close()
