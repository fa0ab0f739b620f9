"""Reads scenario files. A mistake is told with the file, the line and what was expected."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from homeserver.testing import scenario_mistakes
from homeserver.testing.scenario_steps import Scenario


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
    node, given = _read(path)
    try:
        file = ScenarioFile(path, node, Scenario.model_validate(given))
    except ValidationError as error:
        told = dict.fromkeys(_told(path, node, one) for one in error.errors())
        raise BadScenario("\n".join(told)) from error
    found = scenario_mistakes.mistakes(file.scenario)
    if found:
        raise BadScenario("\n".join(f"{file.place(*at)}: {words}" for at, words in found))
    return file


def _read(path: Path) -> tuple[yaml.Node, Any]:
    """The tree with its lines, and what it holds."""
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, yaml.SafeLoader)
        given = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise BadScenario(f"{path}, line {line}: {error.problem}") from error
    except yaml.YAMLError as error:
        raise BadScenario(f"{path}: is not YAML") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadScenario(f"{path}: cannot be read") from error
    if node is None or not isinstance(given, dict):
        raise BadScenario(f"{path}, line 1: must begin with `scenario:`, `shows:`, `people:`")
    twice = [f"{path}, line {line}: {words}" for line, words in scenario_mistakes.twice_said(node)]
    if twice:
        raise BadScenario("\n".join(twice))
    return node, given


def _told(path: Path, node: yaml.Node, error: ErrorDetails) -> str:
    parts = error["loc"]
    there = [str(place) for place in _names(node, parts)]
    if error["type"] == "extra_forbidden" or not there:
        there = [*there, str(parts[-1])] if parts and parts[-1] not in there[-1:] else there
    word = ".".join(there)
    colon = ": " if word else ""
    return f"{path}, line {_line(node, parts)}: {word}{colon}{scenario_mistakes.told(error)}"


def _names(node: yaml.Node, parts: Sequence[str | int]) -> Iterator[str]:
    """The names among these parts that stand in the file, outermost first."""
    for part in parts:
        if isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[min(part, len(node.value) - 1)] if node.value else node
        elif isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == part:
                    node = value
                    yield key.value
                    break


def _line(node: yaml.Node, parts: Sequence[str | int]) -> int:
    """The line of the innermost of these parts that stands in the file."""
    line = node.start_mark.line + 1
    for part in parts:
        if isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[min(part, len(node.value) - 1)] if node.value else node
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
