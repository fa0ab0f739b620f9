"""A mistake in a scenario is told with its file, its line, and what was expected there."""

from pathlib import Path

import pytest

from homeserver.testing import scenario_files
from homeserver.testing.scenario_files import BadScenario

BEGINNING = """scenario: Mine
shows: Something.
people: [alice, bob]
rooms:
  hall: {owner: alice, members: [bob]}
story:
"""
STEPS = [
    ("say: {who: alice, in: hall}", "story.say: `text` is missing"),
    ("say: {who: alice, in: hall, text: 5}", "story.say.text: must be text; numbers, yes and no"),
    ("say: {who: alice, in: hall, text: a, text: b}", "text: stands here twice"),
    ("say: alice", "story.say: must hold names and values"),
    ("say", "story: must hold names and values"),
    ("say: {who: alice, into: hall, text: a}", "there may stand: in, text, times, who"),
    ("shout: hello", "story.shout: there is no such step. There may stand: backup, ban, block"),
    ("chek", "story: must hold names and values"),
    ("chek: true", "story.chek: there is no such step; did you mean check?"),
    ("wait: a while", "story.wait: must be a time such as 20s"),
    ("wait: -5", "story.wait: must be a time such as 20s"),
    ("stop: carol", "there is nobody called carol"),
    ("same_state: attic", "there is no room called attic"),
    ("{heal: true, settle: true}", "story: a step holds one word"),
    ("say: {who: alice, in: hall, text: a? b}}", "expected"),
    ("faults: {loss: 2}", "story.faults.loss: must be at most 1"),
    ("hears: {who: bob, in: hall, texts: [yes]}", "story.hears.texts: must be text"),
    ("connect: [alice]", "story.connect: must be two names"),
    ("connect: [alice, alice]", "alice cannot be connected to alice"),
    ("pause: {who: alice, with: alice}", "alice cannot do that with alice"),
    ("partition: [[alice, bob], [bob]]", "bob stands in two groups"),
    ("crash_at: {who: bob, point: nowhere}", "story.crash_at.point: must be 'an event is appended"),
    (
        "standing: {who: bob, with: alice, is: fond}",
        "story.standing.is: must be 'none', 'requested'",
    ),
]
HEADS = [
    ("people: [alice, alice, bob]", 3, "alice stands there twice"),
    ("people: 0", 3, "people: must be at least 1"),
    ("people: Alice", 3, "people: must be a whole number"),
    ("connections: [[alice, dave]]", 7, "there is nobody called dave"),
    ("connections: [[alice, alice]]", 7, "alice cannot be connected to alice"),
    ("connections: none", 5, "bob is not connected to alice, and cannot be invited"),
    ("needs: [puase]", 7, "there is no feature called puase. There are: grants"),
    ("seed: yes please", 7, "seed: must be a whole number"),
    ("conections: all", 7, "conections: means nothing here; did you mean connections?"),
    ("shows: Twice.", 7, "shows: stands here twice"),
]


def _told(tmp_path: Path, text: str) -> str:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(BadScenario) as raised:
        scenario_files.load(file)
    return str(raised.value)


@pytest.mark.parametrize(("step", "told"), STEPS, ids=[step for step, _ in STEPS])
def test_in_a_step(tmp_path: Path, step: str, told: str) -> None:
    words = _told(tmp_path, f"{BEGINNING}  - heal\n  - {step}\n")
    assert words.lower().startswith(f"{tmp_path}/mine.yaml, line 8: ".lower())
    assert told.lower() in words.lower()


@pytest.mark.parametrize(("head", "line", "told"), HEADS, ids=[head for head, _, _ in HEADS])
def test_beside_the_story(tmp_path: Path, head: str, line: int, told: str) -> None:
    if head.startswith("people"):
        text = BEGINNING.replace("people: [alice, bob]", head) + "  - heal\n"
    else:
        text = BEGINNING.replace("story:\n", "") + f"story: [heal]\n{head}\n"
        line = line if line == 5 else 7
    assert f"{tmp_path}/mine.yaml, line {line}: {told}" in _told(tmp_path, text)


def test_a_story_without_a_step(tmp_path: Path) -> None:
    assert "line 6: story: must be a list" in _told(tmp_path, BEGINNING)


def test_moving_somebody_whom_nobody_can_call(tmp_path: Path) -> None:
    people = "people:\n  alice:\n  bob: {reachable: false}"
    text = BEGINNING.replace("people: [alice, bob]", people) + "  - move: bob\n"
    assert "line 9: nobody can call bob" in _told(tmp_path, text)


def test_a_version_may_be_written_as_a_number(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(BEGINNING.replace("[bob]", "[bob], version: 11") + "  - heal\n")
    assert scenario_files.load(file).scenario.rooms_["hall"].version == "11"
