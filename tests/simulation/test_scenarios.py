"""The scenarios that come with the project, and what is said about mistakes in one's own."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from homeserver.cli import main
from homeserver.testing import scenario_files
from homeserver.testing.person import Person
from homeserver.testing.scenario_files import BadScenario
from homeserver.testing.scenario_stage import Stage
from homeserver.testing.world import World

BUILT_IN = sorted((Path(scenario_files.__file__).parent / "scenarios").glob("*.yaml"))

BEGINNING = """scenario: Mine
shows: Something.
people: [alice, bob]
rooms:
  hall: {owner: alice, members: [bob]}
story:
"""


LONG = {"storm-of-ten-thousand", "crash-points-of-a-handshake"}  # with --seeds only


@pytest.mark.parametrize("path", BUILT_IN, ids=lambda path: path.stem)
def test_a_built_in_scenario_holds(world: World, path: Path, pytestconfig: pytest.Config) -> None:
    if path.stem in LONG and not pytestconfig.getoption("--seeds"):
        pytest.skip("takes minutes; make simulate runs it")
    stage = Stage(world, scenario_files.load(path))
    if stage.missing:
        pytest.skip(f"needs {', '.join(stage.missing)}")
    world.run(stage.play(tell=lambda _number: None))


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("  - say: {who: alice, in: hall}", "line 7: story.say.text: Field required"),
        ("  - heal\n  - shout: hello", "line 8: story.shout: Extra inputs"),
        ("  - heal\n  - wait: a while", "line 8: story.wait: must be a time such as 20s"),
        ("  - stop: carol", "line 7: there is nobody called carol"),
        ("  - same_state: attic", "line 7: there is no room called attic"),
        ("  - {heal: true, settle: true}", "line 7: story: must hold one word"),
        ("  - say: {who: alice, in: hall, text: a? b}}", "line 7: "),
        ("  - faults: {loss: 2}", "line 7: story.faults.loss: Input should be less than"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, lines: str, told: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"{BEGINNING}{lines}\n")
    with pytest.raises(BadScenario) as raised:
        scenario_files.load(file)
    assert f"{file}, {told}" in str(raised.value)


def _simulate(tmp_path: Path, story: str, *options: str) -> Result:
    file = tmp_path / "mine.yaml"
    file.write_text(f"{BEGINNING}{story}")
    return CliRunner().invoke(main, ["simulate", str(file), *options])


def test_the_command_shows_how_it_ended(tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    story = "  - say: {who: alice, in: hall, text: a secret}\n  - check\n"
    result = _simulate(tmp_path, story, "--report", str(report), "--seed", "5")
    assert result.exit_code == 0, result.output
    assert "Everything held. Seed 5" in result.output
    page = report.read_text()
    assert "<svg" in page
    assert "a secret" not in page
    assert "http" not in page


def test_the_command_tells_what_broke_and_how_to_see_it_again(tmp_path: Path) -> None:
    story = "  - settle\n  - hears: {who: bob, in: hall, texts: [hello]}\n  - settle\n"
    result = _simulate(tmp_path, story, "--seed", "5")
    assert result.exit_code == 1
    assert "mine.yaml, line 8: hears: expected ['hello'], found []" in result.output
    assert "shortest beginning that fails: up to " in result.output
    assert "--seed 5 --steps 2" in result.output
    again = _simulate(tmp_path, story, "--seed", "5", "--steps", "1")
    assert again.exit_code == 0


def test_the_shortest_beginning_that_fails_ends_where_the_fault_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The story looks late; the search finds the step after which what was said is gone."""
    take = Person.say

    async def forget(self: Person, room_id: str, text: str, transaction: str | None = None) -> str:
        said = await take(self, room_id, text, transaction)
        if text == "lost":
            self.acknowledged[room_id].append("$never")
        return said

    monkeypatch.setattr(Person, "say", forget)
    words = ("kept", "lost", "kept too", "kept as well")
    said = [f"  - say: {{who: alice, in: hall, text: {text}}}\n" for text in words]
    result = _simulate(tmp_path, "".join([*said, "  - wait: 1h\n  - check\n"]))
    assert result.exit_code == 1
    assert "line 12: check: " in result.output
    assert "up to" in result.output
    assert "mine.yaml, line 8, 2 steps" in result.output
    assert "--steps 2" in result.output


def test_a_scenario_can_be_played_without_encryption(tmp_path: Path) -> None:
    story = "  - say: {who: alice, in: hall, text: quick}\n  - check\n"
    story += "  - hears: {who: bob, in: hall, texts: [quick]}\n"
    result = _simulate(tmp_path, story, "--fast")
    assert result.exit_code == 0, result.output


def test_a_step_that_cannot_happen_is_refused_by_name(tmp_path: Path) -> None:
    story = "  - stop: bob\n  - say: {who: bob, in: hall, text: hello}\n"
    result = _simulate(tmp_path, story)
    assert result.exit_code == 1
    assert "line 8: say: a server that has to act is down" in result.output


def test_a_bad_scenario_is_not_begun(tmp_path: Path) -> None:
    result = _simulate(tmp_path, "  - stop: carol\n")
    assert result.exit_code == 2
    assert "line 7: there is nobody called carol" in result.output


def test_a_scenario_that_needs_what_is_not_there_is_skipped(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"{BEGINNING}  - settle\n".replace("people:", "needs: [mailboxes]\npeople:"))
    result = CliRunner().invoke(main, ["simulate", str(file)])
    assert result.exit_code == 0
    assert "skipped, needs mailboxes" in result.output


def test_the_built_in_ones_are_listed() -> None:
    result = CliRunner().invoke(main, ["simulate"])
    assert result.exit_code == 0
    assert len(result.output.splitlines()) == len(BUILT_IN) >= 8


def test_servers_are_counted_anew() -> None:
    result = CliRunner().invoke(main, ["simulate", "ring", "--servers", "3"])
    assert result.exit_code == 0
    assert "p3" in result.output
    assert "p4" not in result.output
