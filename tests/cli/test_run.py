"""`homeserver run`: what it says when the server is up, and how it ends when it cannot be."""

import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from homeserver import app, errors
from homeserver.app import initialising
from homeserver.config import Config
from homeserver.keyring import Keyring
from tests.cli.conftest import Run

Serve = Callable[[Config, Keyring, Callable[[], None]], None]


@pytest.fixture
def serve_with(monkeypatch: pytest.MonkeyPatch) -> Callable[[Serve], None]:
    """Put something in the server's place."""

    def replace(serve: Serve) -> None:
        module = types.ModuleType("homeserver.app.running")
        module.serve = serve  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setattr(app, "running", module, raising=False)
        monkeypatch.setattr(initialising, "unlock", lambda _config, _ask: Keyring(bytes(32)))

    return replace


def test_it_says_what_to_type_into_a_client_once_the_server_is_up(
    run: Run, data_dir: Path, serve_with: Callable[[Serve], None]
) -> None:
    (data_dir / "config.yaml").write_text(
        "server: {user_name: alice}\n"
        "listeners: [{port: 1, serves: [admin]}, {bind: '0.0.0.0', port: 2, serves: [client]}]\n"
    )
    served: list[Path] = []

    def serve(config: Config, _keyring: Keyring, announce: Callable[[], None]) -> None:
        served.append(config.data_directory)
        announce()

    serve_with(serve)
    result = run("run")
    assert (result.exit_code, served) == (0, [data_dir])
    assert "homeserver:  http://127.0.0.1:2\n" in result.stdout
    assert "user name:   alice " in result.stdout
    assert f"homeserver peers invite --config {data_dir}/config.yaml" in result.stdout


def test_it_says_nothing_before(run: Run, serve_with: Callable[[Serve], None]) -> None:
    serve_with(lambda _config, _keyring, _announce: None)
    assert run("run").stdout == ""


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (errors.Conflict("The database is newer than this program."), "The database is newer"),
        (OSError(98, "address already in use"), "The server cannot start: [Errno 98] address"),
    ],
)
def test_what_keeps_it_from_starting_is_one_sentence(
    run: Run, serve_with: Callable[[Serve], None], error: Exception, sentence: str
) -> None:
    def serve(_config: Config, _keyring: Keyring, _announce: Callable[[], None]) -> None:
        raise error

    serve_with(serve)
    result = run("run")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"Error: {sentence}")
    assert result.stderr.count("\n") == 1
