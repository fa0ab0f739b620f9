"""`homeserver init`: what it writes, what it prints, and what it leaves alone."""

import io
import socket
import stat
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from homeserver import app, config, errors
from homeserver.cli import main
from homeserver.config import Config


@dataclass
class _Initialised:
    server_name: str = "nodeid.p2p.alt"
    user_id: str = "@alice:nodeid.p2p.alt"
    node_id: str = "nodeid"
    recovery_phrase: str = "one two three"


@pytest.fixture(autouse=True)
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Config, str, str]]:
    """Stand in for what makes keys and the account: other tests are about that."""
    called: list[tuple[Config, str, str]] = []

    def initialise(settings: Config, user_name: str, password: str) -> _Initialised:
        called.append((settings, user_name, password))
        (settings.data_directory / "homeserver.db").touch()
        (settings.data_directory / "keys").mkdir()
        if password == "refused":
            raise errors.Conflict("There is something in the way.")
        return _Initialised()

    module = types.ModuleType("homeserver.app.initialising")
    module.initialise = initialise  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(app, "initialising", module, raising=False)
    return called


def init(directory: Path, *options: str, stdin: str | None = None) -> Result:
    arguments = ["init", "--data-dir", str(directory / "server"), *options]
    return CliRunner().invoke(main, arguments, input=stdin)


def written(directory: Path) -> Any:
    return yaml.safe_load((directory / "server" / "config.yaml").read_text())


def test_it_writes_only_what_differs_and_tells_the_owner_all_once(
    tmp_path: Path, calls: list[tuple[Config, str, str]]
) -> None:
    result = init(tmp_path, "--user", "alice", "--listen", "127.0.0.1:9999")
    assert result.exit_code == 0, result.output
    settings = written(tmp_path)
    settings.pop("federation", None)  # where python-olm is missing
    assert settings == {"server": {"user_name": "alice"}, "listeners": [{"port": 9999}]}
    ((used, user_name, password),) = calls
    assert used == config.load(tmp_path / "server" / "config.yaml", {})
    assert user_name == "alice"
    for told in (password, "nodeid.p2p.alt", "one two three", "alice"):
        assert told in result.stdout
    assert f"homeserver run --config {tmp_path}/server/config.yaml" in result.stdout


def test_generated_passwords_are_long_and_differ(
    tmp_path: Path, calls: list[tuple[Config, str, str]]
) -> None:
    init(tmp_path / "a")
    init(tmp_path / "b")
    first, second = (password for _, _, password in calls)
    assert first != second
    assert len(first) == len(second) == 23


def test_secrets_are_the_owners_alone(tmp_path: Path) -> None:
    init(tmp_path)
    token = tmp_path / "server" / "admin.token"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "server").stat().st_mode) == 0o700
    assert len(token.read_text().strip()) >= 40


def test_it_refuses_to_overwrite_a_server(tmp_path: Path) -> None:
    init(tmp_path, "--user", "alice")
    before = written(tmp_path)
    again = init(tmp_path, "--user", "bob")
    assert again.exit_code == 1
    assert "exists already; there is a server here, and nothing was changed." in again.stderr
    assert written(tmp_path) == before


@pytest.mark.parametrize("name", ["homeserver.db", "admin.token"])
def test_it_refuses_to_overwrite_parts_of_a_server(tmp_path: Path, name: str) -> None:
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / name).touch()
    assert init(tmp_path).exit_code == 1
    assert [path.name for path in (tmp_path / "server").iterdir()] == [name]


def test_a_failure_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "mine").touch()
    result = init(tmp_path, "--password-file", "-", stdin="refused\n")
    assert (result.exit_code, result.stderr) == (1, "Error: There is something in the way.\n")
    assert [path.name for path in (tmp_path / "server").iterdir()] == ["mine"]
    assert init(tmp_path).exit_code == 0


def test_a_given_password_is_used_and_never_printed(
    tmp_path: Path, calls: list[tuple[Config, str, str]]
) -> None:
    file = tmp_path / "password"
    file.write_text("correct horse\n")
    result = init(tmp_path, "--password-file", str(file))
    assert calls[0][2] == "correct horse"
    assert "correct horse" not in result.output


@pytest.mark.parametrize(("stdin", "sentence"), [("", "The password is empty."), ("\n", "empty")])
def test_an_empty_password_is_refused(tmp_path: Path, stdin: str, sentence: str) -> None:
    result = init(tmp_path, "--password-file", "-", stdin=stdin)
    assert result.exit_code == 1
    assert sentence in result.stderr
    assert not (tmp_path / "server").exists()


def test_names_and_urls_are_written(tmp_path: Path) -> None:
    init(tmp_path, "--server-name", "me.example.org", "--public-url", "https://me.example.org")
    assert written(tmp_path)["server"]["server_name"] == "me.example.org"
    assert written(tmp_path)["server"]["public_urls"] == ["https://me.example.org"]


def test_wrong_values_end_with_2_and_write_nothing(tmp_path: Path) -> None:
    result = init(tmp_path, "--server-name", "No Name", "--listen", "nowhere:1")
    assert result.exit_code == 2
    assert [line.split(":")[0] for line in result.stderr.splitlines()] == [
        "server.server_name",
        "listeners[0].bind",
    ]
    assert not (tmp_path / "server").exists()
    assert init(tmp_path, "--listen", "8008").exit_code == 2


def test_beyond_this_machine_the_owners_commands_get_a_listener_of_their_own(
    tmp_path: Path,
) -> None:
    assert init(tmp_path, "--listen", "0.0.0.0:9000").exit_code == 0
    settings = config.load(tmp_path / "server" / "config.yaml", {})
    outside, inside = settings.listeners
    assert (outside.bind, outside.port, outside.serves) == (
        "0.0.0.0",
        9000,
        ("client", "federation"),
    )
    assert (inside.bind, inside.serves) == ("127.0.0.1", ("admin",))


def test_without_listen_the_next_free_port_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        first = taken.getsockname()[1]
        monkeypatch.setattr("homeserver.cli.init._FIRST_PORT", first)
        init(tmp_path)
    assert written(tmp_path)["listeners"][0]["port"] > first


def test_the_settings_can_lie_elsewhere(tmp_path: Path) -> None:
    file = tmp_path / "etc" / "mine.yaml"
    assert init(tmp_path, "--config", str(file)).exit_code == 0
    assert config.load(file, {}).data_directory == tmp_path / "server"
    assert not (tmp_path / "server" / "config.yaml").exists()


def test_settings_alone_put_the_files_beside_them(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    result = CliRunner().invoke(main, ["init", "--config", str(file)])
    assert result.exit_code == 0, result.output
    assert config.load(file, {}).data_directory == tmp_path
    assert (tmp_path / "admin.token").exists()


def test_the_users_directory_is_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    result = CliRunner().invoke(main, ["init"])
    assert (tmp_path / "homeserver" / "config.yaml").exists()
    assert result.stdout.endswith("Start it:\n  homeserver run\n")


def test_the_environment_counts_when_a_server_is_set_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: list[tuple[Config, str, str]]
) -> None:
    monkeypatch.setenv("HOMESERVER__SERVER__SERVER_NAME", "me.example.org")
    init(tmp_path)
    assert calls[0][0].server.server_name == "me.example.org"
    assert "server_name" not in written(tmp_path)["server"]


def test_print_shows_every_setting_and_writes_nothing(tmp_path: Path) -> None:
    result = init(tmp_path, "--print")
    assert result.stdout == config.example_yaml()
    assert not (tmp_path / "server").exists()


def test_it_never_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert init(tmp_path).exit_code == 0
