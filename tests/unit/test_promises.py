"""docs/promises.md names the tests of each promise, and every test that is named after one."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "promises.md").read_text("utf-8")
PROMISES = [f"G{number}" for number in (1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12, 14, 15, 16, 18, 20)]
ROWS = {row[1]: row[0] for row in re.finditer(r"^\| (G\d+) \|.*$", PAGE, re.MULTILINE)}


def _tests_in(text: str) -> set[Path]:
    links = re.findall(r"\]\(\.\./(tests/[^)]+)\)", text)
    return {ROOT / link for link in links}


def test_every_promise_has_its_row() -> None:
    assert list(ROWS) == PROMISES


def test_every_row_names_a_test_that_is_named_after_its_promise() -> None:
    nameless = [
        promise
        for promise, row in ROWS.items()
        if not any(file.name.startswith(f"test_{promise.lower()}_") for file in _tests_in(row))
    ]
    assert nameless == []


def test_every_test_that_is_named_is_there() -> None:
    assert [file for file in _tests_in(PAGE) if not file.exists()] == []


def test_every_test_that_is_named_after_a_promise_stands_in_its_row() -> None:
    found = {
        file: re.match(r"test_(g\d+)_", file.name) for file in ROOT.glob("tests/**/test_g*.py")
    }
    named = {file: match[1].upper() for file, match in found.items() if match is not None}
    assert named
    left_out = [file for file, name in named.items() if file not in _tests_in(ROWS.get(name, ""))]
    assert left_out == []


def test_every_row_says_how_to_run_it_and_what_it_was_seen_to_notice() -> None:
    for promise, row in ROWS.items():
        assert "`pytest tests" in row, promise
        assert re.search(r"\*[ESH]\d?\*", row), promise


def test_every_command_runs_the_tests_of_its_row() -> None:
    left_out = [
        f"{promise}: {file.relative_to(ROOT)}"
        for promise, row in ROWS.items()
        for file in sorted(_tests_in(row))
        if file.name.startswith("test_") and not _is_run(file, row)
    ]
    assert left_out == []


def _is_run(file: Path, row: str) -> bool:
    """Whether the row's command reaches this file, or at least one test in it, by name."""
    command = re.search(r"`pytest (\S+) -k (?:\"([^\"]+)\"|(\S+))`", row)
    assert command is not None, row
    words = (command[2] or command[3]).split(" or ")
    names = [file.stem, *re.findall(r"def (test_\w+)", file.read_text("utf-8"))]
    is_named = any(word in name for word in words for name in names)
    return is_named and (ROOT / command[1]) in file.parents
