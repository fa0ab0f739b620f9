"""The harness is worth what it notices: with a protection switched off, named scenarios fail.

Each in the way that shows what is wrong, and not by standing still or by failing to begin: people
are connected first, and then the protection is taken away.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from federation import channel, payloads, turning
from federation.inbox import Inbox
from federation.replication import people
from federation.turn_state import TurnState
from homeserver.matrix import auth_rules
from homeserver.storage import channels, inbox
from homeserver.testing import scenario_files
from homeserver.testing.invariants import Broken
from homeserver.testing.scenario_expectations import Wrong
from homeserver.testing.scenario_stage import Stage, StepFailed
from homeserver.testing.world import World
from tests.simulation import removing_checks

SCENARIOS = Path(scenario_files.__file__).parent / "scenarios"

Remove = Callable[[pytest.MonkeyPatch], None]


def take_what_came_before(patch: pytest.MonkeyPatch) -> None:
    """Without the sequence the ratchet is given what it has read before."""
    check = turning._take_frame

    def take_any(state: Any, arrival: Any, note: Any) -> Any:
        if arrival.envelope.olm and arrival.envelope.sequence <= state.channel.received:
            state.change(received=arrival.envelope.sequence - 1)
        return check(state, arrival, note)

    patch.setattr(turning, "_take_frame", take_any)
    patch.setattr(channel, "_look", lambda *_arguments: None)


def let_go_before_the_effect(patch: pytest.MonkeyPatch) -> None:
    take = Inbox._take_transaction

    async def let_go_first(self: Inbox, line: Any, frame: Any, transaction: Any) -> None:
        await self._database.write(lambda work: inbox.delete_frame(work, frame.number))
        await take(self, line, frame, transaction)

    patch.setattr(Inbox, "_take_transaction", let_go_first)


def acknowledge_and_store_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(turning, "_store", lambda *_arguments: None)


def authorize_everything(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(auth_rules, "check", lambda *_arguments: None)


def take_in_what_is_not_granted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(payloads, "_is_permitted", lambda *_arguments: True)


def forget_the_session(patch: pytest.MonkeyPatch) -> None:
    change = TurnState.change

    def all_but_the_session(self: TurnState, **changes: Any) -> None:
        changes.pop("session", None)
        change(self, **changes)

    patch.setattr(TurnState, "change", all_but_the_session)


def delete_no_channel(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(channels, "delete_channel", lambda *_arguments: None)


@dataclass(frozen=True, slots=True)
class Removal:
    """What is taken away, the scenario that must notice, and what it must say."""

    remove: Remove
    scenario: str
    cause: type[Exception]
    told: str

    def __str__(self) -> str:
        return f"{self.remove.__name__}-{self.scenario}"


REMOVALS = [
    Removal(
        take_what_came_before,
        "a-wire-that-replays",
        Wrong,
        "replay: what came a second time changed",
    ),
    Removal(
        let_go_before_the_effect,
        "power-goes-at-the-last-letter",
        Broken,
        r"check: .*bob does not have \['\$",
    ),
    Removal(
        acknowledge_and_store_nothing,
        "two-friends",
        Broken,
        "acknowledged 1 frames that are not worked off, and keeps 0",
    ),
    Removal(authorize_everything, "a-ban-holds", Wrong, r"hears: .*found \['not after the ban'\]"),
    Removal(
        take_in_what_is_not_granted,
        "quiet-please",
        Broken,
        "alice was shown typing of @bob:.*, which is not granted",
    ),
    Removal(forget_the_session, "two-friends", Broken, "of a ratchet was used twice"),
    Removal(
        removing_checks.close_nothing, "pause-and-revoke", Broken, "while the connection was paused"
    ),
    Removal(
        delete_no_channel, "pause-and-revoke", Broken, "alice keeps of a revoked peer: .*channels"
    ),
]


def _play(directory: Path, scenario: str, remove: Callable[[], None]) -> None:
    world = World(directory, 1)
    world.patience_s = 4_000.0
    stage = Stage(world, scenario_files.load(SCENARIOS / f"{scenario}.yaml"))
    try:
        world.run(stage.set_up())
        remove()
        world.run(stage.tell_story(None, lambda _number: None))
    finally:
        world.close()


@pytest.mark.parametrize("removal", REMOVALS, ids=str)
def test_a_scenario_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, removal: Removal
) -> None:
    """That it holds while nothing is missing is shown with all the other scenarios."""
    with pytest.raises(StepFailed, match=removal.told) as raised:
        _play(tmp_path, removal.scenario, lambda: removal.remove(monkeypatch))
    assert isinstance(raised.value.__cause__, removal.cause)


def test_an_answer_that_is_not_granted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(world: World) -> None:
        alice, bob = await world.befriended("alice", "bob")
        await alice.grant(bob, profile="none")
        await world.settle()  # what was told before is forgotten
        monkeypatch.setattr("federation.requests._may_ask", lambda *_arguments: True)
        monkeypatch.setattr(people, "_granted", lambda _view, _peer, found: found)
        await bob.client.request("GET", f"/_matrix/client/v3/profile/{alice.user_id}")
        await world.check()

    world = World(tmp_path, 1)
    try:
        with pytest.raises(Broken, match="alice sent bob an answer to query/profile"):
            world.run(story(world))
    finally:
        world.close()
