"""Owners, networks and machines that do anything at any time: what holds, holds."""

import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis.stateful import run_state_machine_as_test

from homeserver.testing import schedules
from homeserver.testing.schedules import Deed, Fault, Meeting
from homeserver.testing.strategies import Owners
from homeserver.testing.world import World


def _examples(config: pytest.Config, few: int) -> int:
    return 10 * int(config.getoption("--seeds") or 0) or few


def _in_a_world(story: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    with tempfile.TemporaryDirectory(prefix="homeserver-anything-") as directory:
        world = World(Path(directory), 1)
        try:
            world.run(story(world))
        finally:
            world.close()


def test_anything_goes(pytestconfig: pytest.Config) -> None:
    chosen = settings(
        max_examples=_examples(pytestconfig, 4), stateful_step_count=20, deadline=None
    )
    run_state_machine_as_test(Owners, settings=chosen)


def test_any_history_over_any_network(pytestconfig: pytest.Config) -> None:
    @settings(max_examples=_examples(pytestconfig, 3), deadline=None)
    @given(schedules.room_histories(2), schedules.fault_schedules(2))
    def holds(history: list[Deed], schedule: list[Fault]) -> None:
        async def story(world: World) -> None:
            people = await world.befriended("alice", "bob")
            room_id = await world.room(*people)
            await schedules.suffer(world, people, schedule)
            await schedules.live(world, people, room_id, history)
            world.network.heal()
            await world.check_healed()

        _in_a_world(story)

    holds()


def test_any_handshake(pytestconfig: pytest.Config) -> None:
    @settings(max_examples=_examples(pytestconfig, 5), deadline=None)
    @given(schedules.handshakes())
    def comes_about(meeting: Meeting) -> None:
        async def story(world: World) -> None:
            alice, bob = await world.persons("alice", "bob")
            await schedules.meet(world, alice, bob, meeting)
            assert await alice.standing(bob) == await bob.standing(alice) == "active"

        _in_a_world(story)

    comes_about()
