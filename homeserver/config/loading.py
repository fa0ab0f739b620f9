"""Load the settings from their file and the environment; say clearly what is wrong with them."""

import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import platformdirs
import yaml
from pydantic import ValidationError

from homeserver.config import fields
from homeserver.config.settings import Config

_PREFIX = "HOMESERVER__"
_SHOWN_LENGTH = 60

# Mistakes whose sentence says more than what is allowed there.
_TOLD_BY_VALIDATOR = "value_error"


class ConfigError(Exception):
    """The settings have mistakes: one line for each."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = tuple(lines)


class _StrictLoader(yaml.SafeLoader):
    """YAML in which a name that stands twice is a mistake instead of a surprise."""


def default_data_dir() -> Path:
    """The directory in which a user's server lives unless told otherwise."""
    return Path(platformdirs.user_data_dir("homeserver", appauthor=False))


def default_path() -> Path:
    """The file that every command reads unless told otherwise."""
    return default_data_dir() / "config.yaml"


def load(path: Path, environ: Mapping[str, str]) -> Config:
    """Read a file; variables `HOMESERVER__SECTION__FIELD` win over it. Raises ConfigError."""
    try:
        given = yaml.load(path.read_text(encoding="utf-8"), _StrictLoader)  # noqa: S506 - is a SafeLoader
    except FileNotFoundError as error:
        raise ConfigError(
            [f"{path}: there is no such file; `homeserver init` makes one"]
        ) from error
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: {_yaml_mistake(error)}"]) from error
    if not isinstance(given, dict | None):
        raise ConfigError([f"{path}: must hold names and values, `server:` and so on"])
    return parse(given or {}, path.parent, environ)


def parse(given: Mapping[str, Any], directory: Path, environ: Mapping[str, str]) -> Config:
    """Check settings as they would stand in a file of that directory. Raises ConfigError."""
    merged, mistakes = _with_overrides(given, environ)
    try:
        config = Config.model_validate(merged)
    except ValidationError as error:
        mistakes += [_from_where(path, environ) + line for path, line in _mistakes(error)]
    if mistakes:
        raise ConfigError(mistakes)
    return config.model_copy(update={"data_dir": (directory / config.data_dir).resolve()})


def _with_overrides(
    given: Mapping[str, Any], environ: Mapping[str, str]
) -> tuple[dict[str, Any], list[str]]:
    merged: dict[str, Any] = dict(given)
    mistakes: list[str] = []
    for variable in sorted(name for name in environ if name.startswith(_PREFIX)):
        path = variable.removeprefix(_PREFIX).lower().split("__")
        field = fields.find(Config, path)
        if field is None or variable != variable.upper():
            mistakes.append(f"{variable}: no such setting")
            continue
        try:
            _put(merged, path, _value(environ[variable], field.annotation))
        except ValueError:
            mistakes.append(f"{variable}: must be {fields.allowed(field)}, written as JSON")
    return merged, mistakes


def _value(text: str, annotation: Any) -> Any:
    if fields.is_list(annotation) or fields.section_of(annotation):
        value = json.loads(text)
        if not isinstance(value, list | dict):
            raise ValueError
        return value
    return None if text == "null" else text


def _put(settings: dict[str, Any], path: Sequence[str], value: Any) -> None:
    """Set one value, copying each section on the way: the caller's stay as they are."""
    for step in path[:-1]:
        section = settings.get(step)
        settings[step] = dict(section) if isinstance(section, dict) else {}
        settings = settings[step]
    settings[path[-1]] = value


def _from_where(path: Sequence[str | int], environ: Mapping[str, str]) -> str:
    """The variable that gave a wrong value: nobody should look for it in the file."""
    for end in range(1, len(path) + 1):
        variable = _PREFIX + "__".join(str(step) for step in path[:end]).upper()
        if variable in environ:
            return f"{variable}: "
    return ""


def _mistakes(error: ValidationError) -> list[tuple[tuple[str | int, ...], str]]:
    details = error.errors()
    # A list all of whose entries are wrong is called too short as well: that says nothing more.
    around = {one["loc"][:end] for one in details for end in range(len(one["loc"]))}
    return [
        (one["loc"], _mistake(one))
        for one in details
        if one["type"] != "too_short" or one["loc"] not in around
    ]


def _mistake(details: Any) -> str:
    path: tuple[str | int, ...] = details["loc"]
    field = fields.find(Config, path)
    if field is None:
        return f"{_dotted(path)}: no such setting{_suggestion(path)}"
    if details["type"] == _TOLD_BY_VALIDATOR:
        return f"{_dotted(path)}: {details['ctx']['error']}"
    is_element = bool(path) and isinstance(path[-1], int)
    allowed = fields.allowed_element(field) if is_element else fields.allowed(field)
    return f"{_dotted(path)}: must be {allowed}, not {_shown(details['input'])}"


def _suggestion(path: Sequence[str | int]) -> str:
    parent = fields.find(Config, path[:-1])
    section = fields.section_of(parent.annotation) if parent else Config
    known = section.model_fields if section and len(path) > 1 else Config.model_fields
    close = difflib.get_close_matches(str(path[-1]), known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _dotted(path: Sequence[str | int]) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.lstrip(".")


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= _SHOWN_LENGTH else text[:_SHOWN_LENGTH] + "…"


def _yaml_mistake(error: Exception) -> str:
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return "is not valid YAML"
    mark = error.problem_mark
    return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"


def _unique_map(loader: _StrictLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    names = [loader.construct_object(name, deep=True) for name, _ in node.value]
    for index, name in enumerate(names):
        if name in names[:index]:
            mark = node.value[index][0].start_mark
            raise yaml.MarkedYAMLError(problem=f"{name} stands twice", problem_mark=mark)
    return loader.construct_mapping(node, deep=True)


_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_map)
