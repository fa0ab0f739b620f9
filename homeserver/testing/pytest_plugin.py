"""The pytest side of the harness, installed with the package as a plugin.

Fixtures: `seed`, `world`, `befriended` (Alice and Bob, connected to each other), `real_servers`
(the same two as processes). A test marked `seeds(n)` runs over n seeds, or as many as `--seeds`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what chooses seeds."""
    group = parser.getgroup("homeserver")
    group.addoption("--seeds", type=int, help="run each simulated test over this many seeds")
    group.addoption("--first-seed", type=int, default=1, help="the first seed (1)")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line("markers", "seeds(count): run a simulated test over several seeds")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for a world, or for our seed, once for each seed.

    Other people's suites have fixtures called `seed` too, and parameters: those are left alone.
    """
    if "seed" not in metafunc.fixturenames or not _is_ours(metafunc):
        return
    marker = metafunc.definition.get_closest_marker("seeds")
    count = metafunc.config.getoption("--seeds") or (marker.args[0] if marker else 1)
    first = metafunc.config.getoption("--first-seed")
    metafunc.parametrize("seed", range(first, first + count), ids=lambda seed: f"seed{seed}")


def _is_ours(metafunc: pytest.Metafunc) -> bool:
    """Whether the seed is this plugin's: no suite nearer to the test has one of its own."""
    nearest = metafunc._arg2fixturedefs.get("seed", ())[-1:]  # noqa: SLF001 - no other way
    return any(found.func.__module__ == __name__ for found in nearest)


@pytest.fixture(name="seed")
def _seed() -> int:
    """What decides every chance; each test is run over as many as were asked for."""
    return 1


@pytest.fixture
def world(tmp_path: Path, seed: int) -> Iterator[Any]:
    """An empty `World` with this test's seed."""
    from homeserver.testing.world import World

    made = World(tmp_path, seed)
    yield made
    made.close()


@pytest.fixture
def befriended(world: Any) -> list[Any]:
    """Alice and Bob, each with a server, connected to each other."""
    people: list[Any] = world.run(world.befriended("alice", "bob"))
    return people


@pytest.fixture
def real_servers(tmp_path: Path) -> Iterator[list[Any]]:
    """Alice's and Bob's servers as processes on this machine, not yet connected."""
    from homeserver.testing import processes

    servers = [processes.Server(directory=tmp_path / name, user=name) for name in ("alice", "bob")]
    with processes.running(*servers):
        yield servers
