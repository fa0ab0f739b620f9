"""The pytest plugin in a suite of somebody else's."""

import subprocess
import sys
from pathlib import Path

OTHERS = """
import pytest


@pytest.fixture
def seed():
    return b"of an apple"


def test_a_fixture_of_the_same_name(seed):
    assert seed == b"of an apple"


@pytest.mark.parametrize("seed", ["poppy", "sesame"])
def test_a_parameter_of_the_same_name(seed):
    assert seed in ("poppy", "sesame")
"""
OURS = """
def test_a_world_for_each_seed(world, seed):
    assert world.seed == seed


def test_a_seed_alone(seed):
    assert seed in (7, 8)
"""


def _passed(directory: Path, suite: str) -> str:
    (directory / "test_it.py").write_text(suite)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null"]
    options = ["--rootdir", str(directory), "--seeds", "2", "--first-seed", "7", str(directory)]
    told = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    return told.stdout.splitlines()[-1].partition(" in ")[0]


def test_it_takes_no_seed_that_belongs_to_somebody_else(tmp_path: Path) -> None:
    assert _passed(tmp_path, OTHERS) == "3 passed"


def test_it_gives_every_seed_to_who_asks_for_one(tmp_path: Path) -> None:
    assert _passed(tmp_path, OURS) == "4 passed"
