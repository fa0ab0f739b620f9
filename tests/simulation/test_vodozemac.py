"""The promises that rest on ratchets hold with vodozemac too: one short test of each.

Every other simulation runs with python-olm.
"""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from homeserver.config import FederationSettings
from homeserver.testing.world import World
from tests.simulation import (
    test_g3_two_yeses,
    test_g4_an_invitation_works_once,
    test_g7_replay,
    test_g8_delivered_once,
    test_g9_pause,
    test_g10_revoke,
    test_g15_restored_copies,
)

TESTS = [
    test_g3_two_yeses.test_replayed_handshake_messages_change_nothing,
    test_g4_an_invitation_works_once.test_two_open_a_link_at_once,
    test_g7_replay.test_every_envelope_again,
    test_g8_delivered_once.test_only_the_answers_are_lost,
    test_g9_pause.test_what_resume_frees_flows_at_once,
    test_g10_revoke.test_with_mail_held_and_mail_under_way,
    test_g15_restored_copies.test_a_copy_made_in_the_middle_of_an_exchange,
]


@pytest.mark.parametrize("test", TESTS, ids=lambda test: test.__name__)
def test_with_vodozemac(tmp_path: Path, test: Callable[..., Any]) -> None:
    world = World(tmp_path, 1, settings=FederationSettings(ratchets="vodozemac"))
    story = inspect.unwrap(test)
    asked = inspect.signature(story).parameters
    try:
        fixtures: dict[str, Any] = {"world": world, "seed": 1, "tmp_path": tmp_path}
        if "befriended" in asked:
            fixtures["befriended"] = world.run(world.befriended("alice", "bob"))
        world.run(story(**{name: fixtures[name] for name in asked}))
    finally:
        world.close()
