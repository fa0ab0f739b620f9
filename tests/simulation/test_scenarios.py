"""The scenarios that come with the project, and what is said about mistakes in one's own."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from federation.envelope import Envelope
from homeserver.cli import main
from homeserver.testing import box_kinds, scenario_deeds, scenario_files
from homeserver.testing.network import Network
from homeserver.testing.person import Person
from homeserver.testing.scenario_stage import Stage, StepFailed
from homeserver.testing.world import World

BUILT_IN = sorted((Path(scenario_files.__file__).parent / "scenarios").glob("*.yaml"))

BEGINNING = """scenario: Mine
shows: Something.
people: [alice, bob]
rooms:
  hall: {owner: alice, members: [bob]}
story:
"""


APART = """scenario: Apart
shows: Something.
people: [alice, bob, carol]
connections: [[alice, carol]]
rooms: {hall: {owner: alice}}
story:
  - invite: {who: alice, whom: bob, in: hall}
"""


LONG = {"storm-of-ten-thousand", "crash-points-of-a-handshake"}  # with --seeds only
# What takes seconds is played with one seed, and with several by `make simulate`.
SLOW = LONG | {
    *("back-after-a-month", "crash-points", "crossing-asks", "moving-house", "partition", "ring"),
    *("conflicts-in-version-10", "conflicts-in-version-11", "conflicts-in-version-12"),
    *("a-ban-holds", "revoke-in-a-room-of-three", "sleeping-phone", "storm"),
    *("the-owner-sees-power-go", "quiet-please"),
}


@pytest.mark.seeds(3)
@pytest.mark.parametrize("path", BUILT_IN, ids=lambda path: path.stem)
def test_a_built_in_scenario_holds(
    world: World, seed: int, path: Path, pytestconfig: pytest.Config
) -> None:
    is_thorough = bool(pytestconfig.getoption("--seeds"))
    if path.stem in LONG and not is_thorough:
        pytest.skip("takes minutes; make simulate runs it")
    if path.stem in SLOW and not is_thorough and seed > pytestconfig.getoption("--first-seed"):
        pytest.skip("one seed is enough here; make simulate takes several")
    stage = Stage(world, scenario_files.load(path))
    if stage.missing:
        pytest.skip(f"needs {', '.join(stage.missing)}")
    world.run(stage.play(tell=lambda _number: None))


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
    before, _, after = page.partition("step 1: say")
    assert "· handshake ·" in before
    assert "step 2: check" in after
    assert "· frame " in after
    assert "<th>peers</th><td>bob: active</td>" in page
    assert "<th>rooms</th><td>hall, 2 members</td>" in page
    assert "<th>waiting</th><td>0 in the outbox; 0 in the inbox</td>" in page


@pytest.mark.parametrize(
    ("opened", "kind"),
    [
        (Envelope(sequence=7, olm=b"x"), "frame 7"),
        (Envelope(sequence=7, olm=b"x", group_messages=(b"x", b"x")), "frame 7 with 2 for groups"),
        (Envelope(olm=b"x"), "question or answer"),
        (Envelope(patience_s=60, acknowledged=6), "poll"),
        (Envelope(acknowledged=6), "acknowledgement"),
        (Envelope(note=b"x"), "note"),
    ],
)
def test_a_box_is_named_by_what_its_envelope_says(opened: Envelope, kind: str) -> None:
    assert box_kinds.kind_of(opened) == kind


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

    async def look_away(_self: World) -> None:
        pass

    monkeypatch.setattr(Person, "say", forget)
    monkeypatch.setattr(World, "check_step", look_away)
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


@pytest.mark.parametrize(
    "name",
    ["latency_s", "bytes_per_second", "is_cut", "duplication", "reordering", "corruption", "loss"],
)
def test_a_fault_that_did_nothing_would_be_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    chosen = scenario_deeds.faults_of
    monkeypatch.setattr(
        scenario_deeds,
        "faults_of",
        lambda step: {given: value for given, value in chosen(step).items() if given != name},
    )
    with pytest.raises(StepFailed, match=r"(counts|boxes): expected"):
        _play(tmp_path, "every-network-fault")


def test_a_nat_that_did_nothing_would_be_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Network, "put_behind_nat", lambda *_who, **_is: None)
    with pytest.raises(StepFailed, match="counts: expected 2 texts, found 3"):
        _play(tmp_path, "behind-nat")


def _play(directory: Path, scenario: str) -> None:
    (path,) = [path for path in BUILT_IN if path.stem == scenario]
    world = World(directory, 1)
    try:
        world.run(Stage(world, scenario_files.load(path)).play(tell=lambda _number: None))
    finally:
        world.close()


def test_a_step_that_cannot_happen_is_refused_by_name(tmp_path: Path) -> None:
    story = "  - stop: bob\n  - say: {who: bob, in: hall, text: hello}\n"
    result = _simulate(tmp_path, story)
    assert result.exit_code == 1
    assert "line 8: say: a server that has to act is down" in result.output
    (tmp_path / "other.yaml").write_text(APART)
    result = CliRunner().invoke(main, ["simulate", str(tmp_path / "other.yaml")])
    assert result.exit_code == 1
    assert "line 7: invite: alice is not connected to bob (their standing is none)" in result.output


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
    *scenarios, scale = result.output.splitlines()
    assert len(scenarios) == len(BUILT_IN) >= 8
    assert scale.startswith("scale ")


def test_servers_are_counted_anew() -> None:
    result = CliRunner().invoke(main, ["simulate", "ring", "--servers", "3"])
    assert result.exit_code == 0
    assert "p3" in result.output
    assert "p4" not in result.output


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--servers", "3"], "this scenario names them"),
        (["--real", "--fast"], "they do encrypt"),
        (["--plot", "x.svg"], "--plot is about `scale` only"),
        (["--connections", "3"], "--connections is about `scale` only"),
    ],
)
def test_an_option_that_would_mean_nothing_is_refused(
    tmp_path: Path, options: list[str], told: str
) -> None:
    result = _simulate(tmp_path, "  - settle\n", *options)
    assert result.exit_code == 2
    assert told in result.output


@pytest.mark.parametrize("option", [["--steps", "2"], ["--fast"], ["--real"], ["--report", "x"]])
def test_an_option_of_stories_is_refused_for_scale(option: list[str]) -> None:
    result = CliRunner().invoke(main, ["simulate", "scale", *option])
    assert result.exit_code == 2
    assert "not about `scale`" in result.output


def test_a_crash_point_that_is_never_passed_is_told(tmp_path: Path) -> None:
    story = '  - crash_at: {who: bob, point: "READY is sealed"}\n  - settle\n'
    result = _simulate(tmp_path, story)
    assert result.exit_code == 1
    assert "line 7: crash_at: bob never came to “READY is sealed”" in result.output


def test_a_step_that_breaks_a_promise_is_told_at_that_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The story itself never looks."""
    take = Person.say

    async def lose(self: Person, room_id: str, text: str, transaction: str | None = None) -> str:
        said = await take(self, room_id, text, transaction)
        if text == "lost":
            self.acknowledged[room_id].append("$never")
        return said

    monkeypatch.setattr(Person, "say", lose)
    said = [f"  - say: {{who: alice, in: hall, text: {text}}}\n" for text in ("a", "lost", "b")]
    result = _simulate(tmp_path, "".join(said))
    assert result.exit_code == 1
    assert "line 8: say: seed 1" in result.output


def test_a_story_cut_off_in_a_fault_of_its_own_is_no_shorter_one(tmp_path: Path) -> None:
    """With a full disk, or a server that is down, nothing settles: that is another failure."""
    story = "  - disk: {who: bob, full: true}\n  - stop: alice\n  - start: alice\n"
    story += "  - disk: {who: bob}\n  - hears: {who: bob, in: hall, texts: [two]}\n"
    result = _simulate(tmp_path, story)
    assert result.exit_code == 1
    assert "line 11, 5 steps" in result.output


def test_what_fails_before_the_story_begins_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_self: World, *_people: Person) -> None:
        raise AssertionError("they did not get connected")

    monkeypatch.setattr(World, "connect", fail)
    (tmp_path / "a b").mkdir()
    result = _simulate(tmp_path / "a b", "  - settle\n")
    assert result.exit_code == 1
    assert "line 3: before the story begins: they did not get connected" in result.output
    assert "shortest" not in result.output
    assert f"again: homeserver simulate '{tmp_path}/a b/mine.yaml' --seed 1" in result.output
