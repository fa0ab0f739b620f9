"""Tests with matrix-js-sdk are left out only where it cannot be had."""

import subprocess
from pathlib import Path
from typing import Any

import platformdirs
import pytest

from tests.end_to_end import js_client
from tests.end_to_end.js_client import NodeMissing, NotInstalled


@pytest.fixture(autouse=True)
def look_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What was found before is not asked, and nothing is installed where other tests look."""
    monkeypatch.setattr(js_client, "_find_library", js_client._find_library.__wrapped__)
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda _name: str(tmp_path / "cache"))


class Npm:
    """Answers each command as it is told; an installation that works leaves what it must."""

    def __init__(self, *, works_from: int, has_registry: bool) -> None:
        self.installed = 0
        self._works_from = works_from
        self._has_registry = has_registry

    def run(self, command: list[str], *, cwd: Path, **_: Any) -> None:
        if command[1] == "ping":
            works = self._has_registry
        else:
            self.installed += 1
            works = self.installed >= self._works_from
            if works:
                (cwd / "node_modules").mkdir()
        if not works:
            raise subprocess.CalledProcessError(1, command, stderr=b"no")


def with_npm(monkeypatch: pytest.MonkeyPatch, npm: Npm) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(subprocess, "run", npm.run)


def test_an_installation_that_fails_is_tried_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    npm = Npm(works_from=2, has_registry=True)
    with_npm(monkeypatch, npm)
    folder = js_client.folder_with_library()
    assert (folder.parent / "node_modules").is_dir()
    assert (folder / "driver.mjs").is_file()
    assert js_client.folder_with_library() == folder
    assert npm.installed == 2


@pytest.mark.parametrize(("has_registry", "expected"), [(True, NotInstalled), (False, NodeMissing)])
def test_it_is_a_mistake_where_the_registry_answers(
    monkeypatch: pytest.MonkeyPatch, has_registry: bool, expected: type[Exception]
) -> None:
    npm = Npm(works_from=3, has_registry=has_registry)
    with_npm(monkeypatch, npm)
    with pytest.raises(expected):
        js_client.folder_with_library()
    assert npm.installed == 2


def test_node_may_be_missing_but_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _name: None)
    with pytest.raises(NodeMissing):
        js_client.folder_with_library()
    assert js_client.is_needed({"CI": "true"})
    assert not js_client.is_needed({})
