"""Looks for the shortest beginning of a story after which a promise is broken already.

A beginning is played again from the same seed, the network is healed, and everybody's state is
checked, so a fault shows itself where it happens and not where the story first looks.
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
    file: ScenarioFile, servers: int | None, make_world: MakeWorld, broken_at: int
) -> Shortest:
    """Try beginnings from the shortest on, for two minutes at most."""
    end = time.monotonic() + _LONGEST_SEARCH_S
    for steps in range(1, broken_at):
        if time.monotonic() > end:
            return Shortest(broken_at, is_certain=False)
        if _is_broken(file, servers, make_world, steps):
            return Shortest(steps, is_certain=True)
    return Shortest(max(1, broken_at), is_certain=True)


def _is_broken(file: ScenarioFile, servers: int | None, make_world: MakeWorld, steps: int) -> bool:
    with tempfile.TemporaryDirectory(prefix="homeserver-simulation-") as directory:
        world = make_world(Path(directory))
        try:
            world.run(Stage(world, file, servers).play(steps, lambda _number: None))
        except StepFailed:
            return True
        finally:
            world.close()
    return False
