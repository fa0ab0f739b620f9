"""Reads scenario files. A mistake is told with the file, the line and what was expected."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from homeserver.testing.scenario_parts import Scenario


class BadScenario(Exception):
    """A scenario file has mistakes: one line for each, with the place."""


class ScenarioFile:
    """A scenario and where each part of it stands."""

    def __init__(self, path: Path, node: yaml.Node, scenario: Scenario) -> None:
        self.path = path
        self.scenario = scenario
        self._node = node

    def place(self, *parts: str | int) -> str:
        """`file, line n` of a part."""
        return f"{self.path}, line {_line(self._node, parts)}"


def load(path: Path) -> ScenarioFile:
    """Read and check a scenario. Raises BadScenario."""
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), yaml.SafeLoader)
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise BadScenario(f"{path}, line {line}: {error.problem}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadScenario(f"{path}: cannot be read") from error
    if node is None or not isinstance(given, dict):
        raise BadScenario(f"{path}, line 1: must begin with `scenario:`, `shows:`, `people:`")
    try:
        file = ScenarioFile(path, node, Scenario.model_validate(given))
    except ValidationError as error:
        raise BadScenario("\n".join(_told(path, node, one) for one in error.errors())) from error
    _check_names(file)
    return file


def _told(path: Path, node: yaml.Node, error: Any) -> str:
    where = [part for part in error["loc"] if isinstance(part, int) or part.isidentifier()]
    word = ".".join(str(part) for part in where if isinstance(part, str))
    sentence = str(error["msg"]).removeprefix("Value error, ")
    return f"{path}, line {_line(node, error['loc'])}: {word}: {sentence}"


def _line(node: yaml.Node, parts: Sequence[str | int]) -> int:
    """The line of the innermost of these parts that stands in the file."""
    line = node.start_mark.line + 1
    for part in parts:
        if isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[part]
        elif isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if key.value == part]
            if not found:
                continue
            line, node = found[0][0].start_mark.line + 1, found[0][1]
            continue
        else:
            continue
        line = node.start_mark.line + 1
    return line


def _check_names(file: ScenarioFile) -> None:
    """Nobody and no room may be named that is not there."""
    scenario = file.scenario
    people, rooms = set(scenario.names()), set(scenario.rooms_)
    mistakes: list[tuple[tuple[str | int, ...], str]] = []
    for name, room in scenario.rooms_.items():
        unknown = sorted(set(room.persons()) - people)
        mistakes += [(("rooms", name), f"there is nobody called {one}") for one in unknown]
    for number, step in enumerate(scenario.story):
        at = ("story", number)
        unknown = sorted(set(step.persons()) - people)
        mistakes += [(at, f"there is nobody called {one}") for one in unknown]
        missing = sorted(set(step.rooms()) - rooms)
        mistakes += [(at, f"there is no room called {one}") for one in missing]
    if mistakes:
        raise BadScenario("\n".join(f"{file.place(*at)}: {words}" for at, words in mistakes))
