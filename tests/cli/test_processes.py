"""The commands as real processes; tests/end_to_end/test_command_line.py tells the whole story."""

import json
import os
import re
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from homeserver.testing.processes import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running server."""
    made = Server(directory=tmp_path_factory.mktemp("alice"))
    made.init()
    made.start()
    yield made
    made.kill()


def homeserver(*words: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "homeserver", *words],
        env=os.environ | environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_what_init_writes_is_the_owners_alone(tmp_path: Path) -> None:
    finished = homeserver("init", "--data-dir", str(tmp_path / "server"))
    assert finished.returncode == 0, finished.stderr
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "server").iterdir()}
    assert {path.name: oct(mode) for path, mode in modes.items() if mode & 0o077} == {}


def test_init_says_everything_the_owner_needs_once(tmp_path: Path) -> None:
    told = homeserver("init", "--data-dir", str(tmp_path / "server"), "--user", "alice").stdout
    values = dict(re.findall(r"^([a-z ]+): +(.+)$", told, re.MULTILINE))
    assert values["user name"] == "alice"
    assert re.fullmatch(r"[a-z2-7]{52}", values["node id"])
    assert values["server name"] == f"{values['node id']}.p2p.alt"
    assert len(values["recovery phrase"].split()) > 8
    kept = "".join(
        path.read_bytes().decode("latin-1")
        for path in (tmp_path / "server").rglob("*")
        if path.is_file()
    )
    assert values["password"] not in kept
    assert values["recovery phrase"] not in kept


def test_run_says_how_to_use_the_server(server: Server) -> None:
    give_up_at = time.monotonic() + 10
    while "peers invite" not in (said := server.last_log()) and time.monotonic() < give_up_at:
        time.sleep(0.05)
    assert f"homeserver:  http://127.0.0.1:{server.port}" in said
    assert re.search(r"user name: +alice\b", said)
    assert f"homeserver peers invite --config {server.config_file}" in said


def test_an_invitation_is_one_line_and_warns_beside_it(server: Server) -> None:
    finished = server.command("peers", "invite", is_checked=False)
    assert finished.returncode == 0, finished.stderr
    assert re.fullmatch(r"homeserver://connect#[\w-]+\n", finished.stdout)
    assert "only works on this machine" in finished.stderr


def test_the_trail_says_that_the_owner_came_by_the_command_line(server: Server) -> None:
    for verb in ("pause", "resume"):
        server.command("peers", verb, "--all")
    trail = server.command("audit", "--lines").stdout.splitlines()
    ways = [(one["step"], one["how"]) for one in map(json.loads, trail)]
    assert ("everything paused", "command line") in ways
    assert ("everything resumed", "command line") in ways


def test_nobody_is_connected_at_first(server: Server) -> None:
    assert server.command("peers", "list", "--json").stdout.strip() == "[]"
    refused = server.command("peers", "show", "bob", is_checked=False)
    assert (refused.returncode, refused.stderr) == (
        1,
        "Error: There is no connection with bob.\n",
    )


def test_a_link_that_is_none_is_refused_in_one_sentence(server: Server) -> None:
    refused = server.command("peers", "connect", "homeserver://connect#x", is_checked=False)
    assert refused.returncode == 1
    assert refused.stderr.startswith("Error: ")
    assert refused.stderr.count("\n") == 1


def test_a_second_server_on_the_same_directory_does_not_start(server: Server) -> None:
    second = homeserver("run", "--config", str(server.config_file))
    assert second.returncode == 1
    assert "Another server is running on this data directory." in second.stderr


def test_a_taken_port_is_told_in_one_sentence(server: Server, tmp_path: Path) -> None:
    other = Server(directory=tmp_path, port=server.port)
    other.init()
    refused = homeserver("run", "--config", str(other.config_file))
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1].startswith("Error: Nothing can listen at ")
    assert "Traceback" not in refused.stderr


def test_a_command_starts_quickly_and_loads_only_what_it_needs() -> None:
    program = (
        "import sys, homeserver.cli; main = homeserver.cli.main;"
        "main.get_command(None, 'run'); main.get_command(None, 'peers');"
        "print([name for name in ('sqlalchemy', 'alembic', 'aiohttp', 'PIL', 'rich', 'nacl')"
        " if name in sys.modules])"
    )
    finished = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert finished.stdout == "[]\n"
