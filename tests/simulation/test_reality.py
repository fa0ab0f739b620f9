"""The same scenarios over reality: a process for each server, on loopback."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from homeserver.cli import main
from homeserver.testing import relays, scenario_files
from homeserver.testing.real_world import IMPOSSIBLE, RealWorld
from homeserver.testing.scenario_stage import Stage, StepFailed
from homeserver.testing.scenario_steps import Step

_EVERYTHING = """scenario: Everything
shows: All that can be done to processes.
people: [alice, bob, carol]
rooms:
  hall: {owner: alice, members: [bob]}
  desk: {owner: alice, members: [bob]}
story:
  - set: {who: alice, in: hall, type: m.room.topic, content: {topic: tea}}
  - types: {who: bob, in: hall}
  - sends_file: {who: bob, in: hall, bytes: 300000}
  - check
  - reads: {who: alice, in: hall}
  - opens_file: {who: alice, in: hall}
  - invite: {who: alice, whom: carol, in: hall}
  - settle
  - join: {who: carol, in: hall}
  - leave: {who: carol, in: hall}
  - settle
  - invite: {who: alice, whom: carol, in: hall}
  - kick: {who: alice, whom: carol, in: hall}
  - ban: {who: alice, whom: carol, in: hall}
  - unban: {who: alice, whom: carol, in: hall}
  - settle
  - member: {who: bob, in: hall, is: join}
  - block: {who: carol, with: alice}
  - standing: {who: carol, with: alice, is: blocked}
  - unblock: {who: carol, with: alice}
  - revoke: {who: alice, with: carol, goodbye: true}
  - connect: [carol, alice]
  - settle
  - standing: {who: alice, with: carol, is: active}
  - grant: {who: alice, to: bob, change: {typing: false}}
  - pause: {who: alice, with: bob}
  - say: {who: bob, in: desk, text: held}
  - wait: 1h
  - counts: {who: alice, in: desk, texts: 0}
  - resume: {who: alice, with: bob}
  - settle
  - counts: {who: alice, in: desk, texts: 1}
  - copy: bob
  - partition: [[alice], [bob]]
  - say: {who: bob, in: desk, text: unheard}
  - wait: 1h
  - counts: {who: alice, in: desk, texts: 1}
  - boxes: {fate: lost}
  - go_back: bob
  - heal
  - move: bob
  - nat: {who: bob}
  - say: {who: alice, in: desk, text: call me}
  - say: {who: bob, in: desk, text: I call}
  - settle
  - hears: {who: bob, in: desk, texts: [held, call me, I call]}
  - nat: {who: bob, behind: false}
  - backup: alice
  - crash: bob
  - start: bob
  - stop: alice
  - restore: alice
  - standing: {who: alice, with: bob, is: paused}
  - resume: {who: alice, with: bob}
  - resume: {who: alice, with: carol}
  - restart: alice
  - faults: {latency: 0.1s}
  - say: {who: alice, in: desk, text: back}
  - check
  - counts: {who: bob, in: desk, texts: 4}
  - same_state: desk
"""

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


@pytest.mark.parametrize("word", IMPOSSIBLE)
def test_each_step_that_cannot_be_done_to_a_process_says_why(tmp_path: Path, word: str) -> None:
    steps = {
        "clock": "{who: bob, by: 1h}",
        "disk": "{who: bob, full: true}",
        "crash_at": "{who: bob, point: a frame is filled}",
        "replay": "",
    }
    file = tmp_path / "mine.yaml"
    step = f"{word}: {steps[word]}" if steps[word] else word
    file.write_text(f"{_EVERYTHING.partition('story:')[0]}story:\n  - settle\n  - {step}\n")
    result = CliRunner().invoke(main, ["simulate", str(file), "--real"])
    assert result.exit_code == 2
    assert f"{word}: cannot happen in reality: {IMPOSSIBLE[word]}" in result.output


def test_every_other_step_is_played_in_reality() -> None:
    story = yaml.safe_load(_EVERYTHING)["story"]
    played = {step if isinstance(step, str) else next(iter(step)) for step in story}
    assert played == set(Step.words()) - set(IMPOSSIBLE)


@pytest.mark.slow
@pytest.mark.skipif(not relays.knows_callers(), reason="needs to know which process calls")
def test_everything_that_can_happen_in_reality_does(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(_EVERYTHING)
    world = RealWorld(tmp_path / "world")
    try:
        world.run(Stage(world, scenario_files.load(file)).play(tell=_nobody))
    finally:
        world.close()


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
