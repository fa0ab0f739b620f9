"""Every promise that is simulated holds with vodozemac too: a short test of each.

Every other simulation runs with python-olm, or with stand-ins for ratchets.
"""

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from federation.ratchets.interface import Ratchets
from homeserver.config import FederationSettings
from homeserver.testing import ratchet_watch
from homeserver.testing.letters import Letters
from homeserver.testing.ratchet_watch import KeyUses
from homeserver.testing.world import World
from tests.simulation import (
    test_g1_nothing_from_strangers,
    test_g3_two_yeses,
    test_g4_an_invitation_works_once,
    test_g5_nobody_in_the_middle,
    test_g7_replay,
    test_g8_delivered_once,
    test_g9_pause,
    test_g10_revoke,
    test_g11_hidden_senders,
    test_g14_renewed_after_a_restore,
    test_g15_restore,
    test_g15_restored_copies,
    test_g16_hostile_peers,
    test_g20_edits_apply_at_once,
)

TESTS: list[Callable[..., Any]] = [
    test_g1_nothing_from_strangers.test_a_day_with_a_stranger_is_the_day_without,
    test_g3_two_yeses.test_replayed_handshake_messages_change_nothing,
    test_g4_an_invitation_works_once.test_two_open_a_link_at_once,
    test_g5_nobody_in_the_middle.every_part_that_is_of_olm,
    test_g7_replay.test_every_envelope_again_while_the_other_is_away,
    test_g8_delivered_once.test_only_the_answers_are_lost,
    test_g9_pause.test_what_resume_frees_flows_at_once,
    test_g10_revoke.test_with_mail_held_and_mail_under_way,
    test_g11_hidden_senders.test_one_sync_shows_that_he_left_every_shared_room,
    test_g14_renewed_after_a_restore.test_keys_that_contradict_in_a_repair_are_an_alarm,
    test_g15_restored_copies.test_a_copy_made_in_the_middle_of_an_exchange,
    test_g15_restore.test_nothing_passes_before_the_owner_has_confirmed_a_connection,
    test_g16_hostile_peers.test_events_of_64_kib,
    test_g20_edits_apply_at_once.test_messages,
]


@pytest.fixture
def every_world_has_vodozemac(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Also the worlds that a test makes itself, and people who have settings of their own."""
    watched, servers = ratchet_watch.watched, []

    def with_vodozemac(_library: str, uses: KeyUses, letters: Letters) -> Ratchets:
        servers.append(watched("vodozemac", uses, letters))
        return servers[-1]

    monkeypatch.setattr(ratchet_watch, "watched", with_vodozemac)
    yield
    assert servers, "stand-ins are no vodozemac"


@pytest.mark.usefixtures("every_world_has_vodozemac")
@pytest.mark.parametrize("test", TESTS, ids=lambda test: test.__name__)
def test_with_vodozemac(tmp_path: Path, test: Callable[..., Any]) -> None:
    asked = inspect.signature(inspect.unwrap(test)).parameters
    fixtures: dict[str, Any] = {"seed": 1, "tmp_path": tmp_path}
    if "world" not in asked:
        test(**{name: fixtures[name] for name in asked})
        return
    world = World(tmp_path, 1, settings=FederationSettings(ratchets="vodozemac"))
    world.checks_itself = "three" not in asked  # it would sync in the place of their clients
    try:
        fixtures["world"] = world
        for name, people in (
            ("befriended", ["alice", "bob"]),
            ("three", ["alice", "bob", "carol"]),
        ):
            if name in asked:
                fixtures[name] = world.run(world.befriended(*people))
        world.run(inspect.unwrap(test)(**{name: fixtures[name] for name in asked}))
    finally:
        world.close()


def test_each_promise_that_is_simulated_is_here() -> None:
    folder = Path(__file__).parent
    promises = {file.name.split("_")[1] for file in folder.glob("test_g[0-9]*.py")}
    assert {test.__module__.rpartition(".")[2].split("_")[1] for test in TESTS} == promises
