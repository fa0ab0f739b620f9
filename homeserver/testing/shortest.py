"""Looks for the shortest beginning of a story after which a promise is broken already.

A beginning is played again from the same seed, everything is made whole, and everybody's state is
checked, so a fault shows itself where it happens and not where the story first looks. Only one that
fails in the same way counts: a story cut off in the middle may fail in a way of its own.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from homeserver.testing.scenario_files import ScenarioFile
from homeserver.testing.scenario_stage import Stage, StepFailed
from homeserver.testing.world import World

_LONGEST_SEARCH_S = 120.0

# Makes a world for a scenario in an empty directory.
MakeWorld = Callable[[Path], World]


@dataclass(frozen=True, slots=True)
class Shortest:
    """So many steps are enough; `is_certain` unless time ran out before shorter ones were tried."""

    steps: int
    is_certain: bool


def search(
    file: ScenarioFile, servers: int | None, make_world: MakeWorld, broken: StepFailed
) -> Shortest:
    """Try beginnings from the shortest on, for two minutes at most."""
    end = time.monotonic() + _LONGEST_SEARCH_S
    for steps in range(1, broken.number):
        if time.monotonic() > end:
            return Shortest(broken.number, is_certain=False)
        found = _play(file, servers, make_world, steps)
        if found is not None and found.kind == broken.kind:
            return Shortest(steps, is_certain=True)
    return Shortest(broken.number, is_certain=True)


def _play(
    file: ScenarioFile, servers: int | None, make_world: MakeWorld, steps: int
) -> StepFailed | None:
    with tempfile.TemporaryDirectory(prefix="homeserver-simulation-") as directory:
        world = make_world(Path(directory))
        try:
            world.run(Stage(world, file, servers).play(steps, lambda _number: None))
        except StepFailed as failed:
            return failed
        finally:
            world.close()
    return None
