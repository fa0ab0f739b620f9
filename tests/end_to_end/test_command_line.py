"""The command line, as an owner and a service manager use it."""

import json
import re
import sqlite3
import stat
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from homeserver.testing import processes
from homeserver.testing.processes import Server


@pytest.fixture
def initialised(tmp_path: Path) -> Server:
    server = Server(directory=tmp_path)
    server.init()
    return server


@pytest.fixture
def running(initialised: Server) -> Iterator[Server]:
    initialised.start()
    yield initialised
    initialised.kill()


def test_init_refuses_to_overwrite(initialised: Server) -> None:
    before = {file: file.read_bytes() for file in files_of(initialised)}
    again = initialised.run_command(
        "init", "--data-dir", str(initialised.data_dir), is_checked=False
    )
    assert again.returncode != 0
    assert len(again.stderr.strip().splitlines()) == 1
    assert {file: file.read_bytes() for file in files_of(initialised)} == before


def files_of(server: Server) -> list[Path]:
    return [file for file in server.data_dir.rglob("*") if file.is_file()]


def test_init_without_a_password_prints_one_that_works_nowhere_else(tmp_path: Path) -> None:
    server = Server(directory=tmp_path)
    listen = f"127.0.0.1:{processes.free_port()}"
    options = ("--data-dir", str(server.data_dir), "--user", "dora", "--listen", listen)
    printed = server.run_command("init", *options).stdout
    assert "dora" in printed
    words = set(re.findall(r"\S{12,}", printed))
    stored = "".join(file.read_text(errors="replace") for file in files_of(server))
    assert any(word not in stored for word in words)


def test_secrets_are_readable_by_their_owner_only(running: Server) -> None:
    config = running.config_file.read_text()
    assert running.password not in config
    others = stat.S_IRWXG | stat.S_IRWXO
    token = running.data_dir / "admin.token"
    assert token.stat().st_mode & others == 0
    readable = [file for file in files_of(running) if file.stat().st_mode & others]
    for file in readable:
        assert token.read_text().strip() not in file.read_text(errors="replace")


def test_sigterm_ends_the_server_with_exit_code_0(running: Server) -> None:
    assert running.stop() == 0
    with sqlite3.connect(f"file:{database_of(running)}?mode=ro", uri=True) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()


def database_of(server: Server) -> Path:
    return next(file for file in files_of(server) if file.suffix in {".db", ".sqlite", ".sqlite3"})


def test_status_tells_what_the_admin_api_tells(running: Server) -> None:
    status = running.status()
    assert set(status) >= {
        "server_name",
        "node_id",
        "user_id",
        "version",
        "uptime_s",
        "peers",
        "outbox_pending",
        "inbox_pending",
    }
    assert status["user_id"] == f"@{running.user}:{status['server_name']}"
    assert status["server_name"] == f"{status['node_id']}.p2p.alt"
    assert len(status["node_id"]) == 52
    readable = running.command("status").stdout
    assert status["server_name"] in readable


def test_the_admin_api_wants_its_token(running: Server) -> None:
    url = f"{running.url}/_homeserver/admin/v1/status"
    token = (running.data_dir / "admin.token").read_text().strip()
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=5)
        assert refused.value.code == 401
        refused.value.close()
    asked = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(asked, timeout=5) as answer:
        assert json.load(answer)["server_name"].endswith(".p2p.alt")


def test_status_of_a_server_that_does_not_run_is_one_sentence(initialised: Server) -> None:
    asked = initialised.command("status", is_checked=False)
    assert asked.returncode == 1
    assert len(asked.stderr.strip().splitlines()) == 1


def test_a_bad_configuration_gives_a_line_per_mistake_and_exit_code_2(initialised: Server) -> None:
    config = initialised.config_file
    config.write_text(config.read_text() + "\nno_such_section: 1\nneither_this: true\n")
    refused = initialised.command("run", is_checked=False)
    assert refused.returncode == 2
    lines = refused.stderr.strip().splitlines()
    assert len(lines) == 2
    assert any("no_such_section" in line for line in lines)
    assert any("neither_this" in line for line in lines)


def test_an_unknown_environment_variable_is_exit_code_2(tmp_path: Path) -> None:
    server = Server(directory=tmp_path)
    server.init()
    server.environment = {"HOMESERVER__NO_SUCH__FIELD": "1"}
    refused = server.command("run", is_checked=False)
    assert refused.returncode == 2
    assert "HOMESERVER__NO_SUCH__FIELD" in refused.stderr


def test_run_without_a_configuration_is_exit_code_2(tmp_path: Path) -> None:
    server = Server(directory=tmp_path)
    refused = server.command("run", is_checked=False)
    assert refused.returncode == 2
    assert len(refused.stderr.strip().splitlines()) == 1


def test_a_restart_keeps_name_and_password(running: Server) -> None:
    before = running.status()["server_name"]
    running.kill()
    running.start()
    assert running.status()["server_name"] == before
