"""The same scenarios over reality: a process for each server, on loopback."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from homeserver.cli import main
from homeserver.testing import relays, scenario_files
from homeserver.testing.real_world import RealWorld
from homeserver.testing.scenario_stage import Stage, StepFailed

SCENARIOS = Path(scenario_files.__file__).parent / "scenarios"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["two-friends", "pause-and-revoke"])
def test_a_scenario_holds_in_reality_as_it_does_in_the_simulation(
    tmp_path: Path, name: str
) -> None:
    world = RealWorld(tmp_path)
    try:
        world.run(Stage(world, scenario_files.load(SCENARIOS / f"{name}.yaml")).play(tell=_nobody))
        passed = world.network.passages
        assert {one.source for one in passed} == {"alice", "bob"}, "relays know who calls"
        if name == "two-friends":  # whose boxes are late by up to two seconds each
            assert max(one.took_s for one in passed) > 0.1, "relays do what faults say"
    finally:
        world.close()


@pytest.mark.slow
@pytest.mark.skipif(not relays.knows_callers(), reason="needs to know which process calls")
def test_what_is_wrong_in_reality_is_told_as_it_is_in_the_simulation(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        """scenario: Mine
shows: What does not get through is not heard.
people: [alice, bob]
rooms:
  hall: {owner: alice, members: [bob]}
story:
  - partition: [[alice], [bob]]
  - say: {who: alice, in: hall, text: hello}
  - wait: 2s
  - counts: {who: bob, in: hall, texts: 0}
  - heal
  - crash: bob
  - start: bob
  - settle
  - hears: {who: bob, in: hall, texts: [goodbye]}
"""
    )
    world = RealWorld(tmp_path / "world")
    try:
        with pytest.raises(StepFailed, match=r"line 15: .*expected \['goodbye'\].*\['hello'\]"):
            world.run(Stage(world, scenario_files.load(file)).play(tell=_nobody))
    finally:
        world.close()


def test_what_cannot_happen_in_reality_is_refused_by_name() -> None:
    result = CliRunner().invoke(main, ["simulate", "back-after-a-month", "--real"])
    assert result.exit_code == 2
    assert "line 9: wait: more than a day cannot pass in reality" in result.output


@pytest.mark.slow
def test_somebody_can_run_another_program(tmp_path: Path) -> None:
    file, calls = tmp_path / "mine.yaml", tmp_path / "calls"
    file.write_text(
        """scenario: Another program
shows: It is started as ours is.
people: [alice, bob]
story:
  - restart: bob
  - standing: {who: alice, with: bob, is: active}
"""
    )
    program = tmp_path / "theirs"
    program.write_text(
        f'#!/bin/sh\necho "$1" >> {calls}\nexec {sys.executable} -m homeserver "$@"\n'
    )
    program.chmod(0o700)
    words = ["simulate", str(file), "--real", "--launcher", f"bob={program}"]
    found = subprocess.run(
        [sys.executable, "-m", "homeserver", *words], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout + found.stderr
    assert calls.read_text().split() == ["init", "run", "run"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--real", "--launcher", "carol=true"], "there is no carol in this scenario"),
        (["--real", "--launcher", "bob"], "must look like alice="),
        (["--launcher", "bob=true"], "needs --real or --hosts"),
    ],
)
def test_a_launcher_that_nobody_can_use_is_refused(options: list[str], told: str) -> None:
    result = CliRunner().invoke(main, ["simulate", "two-friends", *options])
    assert result.exit_code == 2
    assert told in result.output


def _nobody(_number: int) -> None:
    """Nobody looks at the progress."""
