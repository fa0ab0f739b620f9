"""G18: no central service is needed: servers meet and talk without Internet and without DNS.

Of every other test, tests/conftest.py sees to it that no socket of its own leaves
this machine.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from homeserver.testing import processes
from homeserver.testing.processes import VODOZEMAC, Server
from tests.end_to_end import lonely_machine
from tests.end_to_end.watched_way_out import WayOut

ROOT = Path(__file__).parents[2]
_APART = ("unshare", "--map-root-user", "--net")


def _can_be_apart() -> bool:
    try:
        tried = subprocess.run([*_APART, "true"], check=False, capture_output=True)
    except FileNotFoundError:
        return False
    return tried.returncode == 0


@pytest.mark.skipif(not _can_be_apart(), reason="no network namespace may be made here")
def test_two_servers_meet_on_a_machine_that_has_only_loopback(tmp_path: Path) -> None:
    told = subprocess.run(
        [*_APART, sys.executable, "-m", "tests.end_to_end.lonely_machine", str(tmp_path)],
        check=False,
        capture_output=True,
        cwd=ROOT,
        text=True,
        timeout=120,
    )
    assert told.stdout == "heard\n", told.stderr


async def test_two_servers_meet_where_every_look_up_and_every_way_out_fails(tmp_path: Path) -> None:
    ways = [WayOut(tmp_path / f"way-out-{user}") for user in ("alice", "bob")]
    alice, bob = (
        Server(
            directory=tmp_path / user,
            user=user,
            environment={**way.environment, **VODOZEMAC},
            launcher=way.launcher,
        )
        for user, way in zip(("alice", "bob"), ways, strict=True)
    )
    with processes.running(alice, bob):
        await lonely_machine.meet_and_talk(alice, bob)
    places = {f"127.0.0.1:{server.port}" for server in (alice, bob)}
    for way in ways:
        assert way.looked_up() == set()  # not one was even tried
        assert way.connected() <= places
