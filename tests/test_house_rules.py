"""The habits of this code that no other tool checks: names, budgets, docstrings, where time is."""

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from federation import payloads
from homeserver.config import Config, fields

ROOT = Path(__file__).parents[1]
FOLDERS = ("homeserver", "api", "federation", "migrations")

FILE_LINES = 350
FUNCTION_LINES = 40
MODULE_DOCSTRING_LINES = 8

# Longer than the budget, and why that reads better than two files or two functions.
LONG_FILES: dict[str, str] = {}
LONG_FUNCTIONS = {
    "homeserver/matrix/default_push_rules.py:_override_rules": "the specification's list as it is"
}
LONG_OPENINGS = {"api/routing.py": "says how every handler is written"}

BANNED_WORDS = frozenset(
    {
        *("util", "utils", "helper", "helpers", "common", "misc", "base", "manager", "handler"),
        *("processor", "data", "info", "core", "impl", "new", "old", "temp"),
    }
)
# Where a banned word is the right one: the specification's own names, and the data directory.
ALLOWED_PHRASES = (
    *("account_data", "AccountData", "auth_data", "AuthData", "base_url", "BaseUrl"),
    *("data_dir", "data_directory", "DatabaseTooNew"),
)

# Who may read the clock or draw chance: the ports, and what is not part of a running server.
BESIDE_THE_PORTS = ("homeserver/ports.py", "homeserver/cli/", "homeserver/testing/", "migrations/")
CLOCK_AND_CHANCE = re.compile(
    r"\btime\.(time|time_ns|monotonic|sleep|perf_counter)\(|\bdatetime\.(now|utcnow|today)\("
    r"|\brandom\.\w+\(|\bsecrets\.(token|choice|rand)\w*\(|\bos\.urandom\(|\buuid\.uuid[14]\("
    r"|\basyncio\.sleep\([^0]"
)


@dataclass(frozen=True)
class Source:
    """A file of the project, read once."""

    name: str
    text: str
    tree: ast.Module

    @property
    def functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node


def _read(path: Path) -> Source:
    text = path.read_text(encoding="utf-8")
    return Source(str(path.relative_to(ROOT)), text, ast.parse(text))


SOURCES = [
    _read(path)
    for folder in FOLDERS
    for path in sorted((ROOT / folder).rglob("*.py"))
    if "migrations/versions/0" not in str(path)  # written by a program
]
TESTS = [_read(path) for path in sorted((ROOT / "tests").rglob("*.py"))]


def none_of(found: Iterable[object]) -> None:
    """Fail with everything that breaks the rule, one a line."""
    lines = [str(one) for one in found]
    assert not lines, "\n".join(["", *lines])


def _words(name: str) -> set[str]:
    for allowed in ALLOWED_PHRASES:
        name = re.sub(rf"(?<![a-z]){allowed}(?![a-z])", "", name)
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", name)}


def _code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The lines of a function's body without its docstring."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return (function.end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_names_say_what_a_thing_is() -> None:
    named = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    names = [(source.name, Path(source.name).stem) for source in SOURCES] + [
        (source.name, node.name)
        for source in SOURCES
        for node in ast.walk(source.tree)
        if isinstance(node, named)
    ]
    none_of([f"{file}: {name}" for file, name in names if _words(name) & BANNED_WORDS])


def _long_files() -> dict[str, int]:
    lines = {source.name: source.text.count("\n") for source in SOURCES + TESTS}
    return {name: count for name, count in lines.items() if count > FILE_LINES}


def _long_functions() -> dict[str, int]:
    lines = {
        f"{source.name}:{function.name}": _code_lines(function)
        for source in SOURCES
        for function in source.functions
    }
    return {name: count for name, count in lines.items() if count > FUNCTION_LINES}


def test_a_file_can_be_read_in_one_sitting_and_exceptions_are_needed() -> None:
    assert sorted(_long_files()) == sorted(LONG_FILES), _long_files()


def test_a_function_can_be_seen_at_once_and_exceptions_are_needed() -> None:
    assert sorted(_long_functions()) == sorted(LONG_FUNCTIONS), _long_functions()


def test_a_module_opens_with_a_few_lines_that_say_what_is_here() -> None:
    docstrings = {source.name: ast.get_docstring(source.tree) or "" for source in SOURCES}
    lengths = {name: len(text.splitlines()) for name, text in docstrings.items()}
    wrong = {name for name, count in lengths.items() if not 1 <= count <= MODULE_DOCSTRING_LINES}
    none_of(wrong ^ set(LONG_OPENINGS))


def test_the_rules_name_their_place_in_the_specification() -> None:
    rules = [one for one in SOURCES if re.fullmatch(r"homeserver/matrix/[a-z]\w*\.py", one.name)]
    none_of([one.name for one in rules if not re.search(r"Spec: \S+[#/]\S+", one.text)])


def test_time_and_chance_come_through_the_ports() -> None:
    taken = {
        source.name: [match[0] for match in CLOCK_AND_CHANCE.finditer(source.text)]
        for source in SOURCES
        if not source.name.startswith(BESIDE_THE_PORTS)
    }
    none_of((name, found) for name, found in taken.items() if found)


def test_every_import_counts() -> None:
    none_of([source.name for source in SOURCES if "TYPE_CHECKING" in source.text])


def test_nothing_is_left_for_later_without_saying_where() -> None:
    left = re.compile(r"\b(?:TODO|FIXME|XXX)\b(?! *\(?(?:#\d|docs/decisions/))")
    none_of([source.name for source in SOURCES if left.search(source.text)])


def _documents() -> list[Path]:
    found = [path for name in ("*.md", "*.yaml", "Makefile", "*.toml") for path in ROOT.glob(name)]
    return sorted(found + list((ROOT / "docs").rglob("*.md")) + list(ROOT.glob(".ci/*")))


def test_nothing_knows_whose_machine_it_was_written_on() -> None:
    place = re.compile(r"(?<![\w.:/-])/(?:home|root|Users|work|workspace|tmp/build)/\w")
    texts = {source.name: source.text for source in SOURCES + TESTS}
    texts |= {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in _documents()}
    none_of([name for name, text in texts.items() if place.search(text)])


def _settings(model: object = Config) -> Iterator[str]:
    assert isinstance(model, type)
    for name, field in model.model_fields.items():  # type: ignore[attr-defined]
        section = fields.section_of(field.annotation)
        if section is None:
            yield name
        else:
            yield from _settings(section)


def test_every_setting_has_an_effect() -> None:
    texts = [one.text for one in SOURCES if one.name != "homeserver/config/example.py"]
    idle = [
        setting
        for setting in sorted(set(_settings()))
        if not any(re.search(rf"\.{setting}\b", text) for text in texts)
    ]
    # Grants are looked up by their names.
    needed = {*payloads.OPERATIONS.values(), *(one.grant for one in payloads.REGISTRY.values())}
    none_of(setting for setting in idle if setting not in needed)


def test_every_page_of_the_documents_links_to_what_is_there() -> None:
    links = [
        (page, target)
        for page in _documents()
        if page.suffix == ".md"
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
        if "://" not in target
    ]
    none_of([link for link in links if not (link[0].parent / link[1]).exists()])
