"""Links, as two people use them on the command line."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from homeserver.testing import processes
from homeserver.testing.encrypted_client import PATIENCE_S
from homeserver.testing.processes import Server


@dataclass(frozen=True, slots=True)
class Three:
    """Three people who have not met."""

    alice: Server
    bob: Server
    carol: Server


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Three]:
    servers = [Server(directory=tmp_path / user, user=user) for user in ("alice", "bob", "carol")]
    with processes.running(*servers):
        yield Three(*servers)


def active_peers(server: Server) -> int:
    count: int = server.status()["peers"].get("active", 0)
    return count


def test_a_link_connects_the_first_who_opens_it_and_nobody_else(three: Three) -> None:
    link = three.alice.command("peers", "invite").stdout.strip()
    three.bob.command("peers", "connect", link)
    late = three.carol.command("peers", "connect", link, is_checked=False)
    assert late.returncode == 1
    assert len(late.stderr.strip().splitlines()) == 1
    assert active_peers(three.carol) == 0
    assert active_peers(three.bob) == 1


def test_an_invitation_that_nobody_opens_connects_nobody(three: Three) -> None:
    invited = three.alice.command("peers", "invite")
    assert invited.stdout.count("\n") == 1
    assert invited.stdout.startswith("homeserver://connect#")
    assert "on this machine" in invited.stderr
    assert all(active_peers(server) == 0 for server in (three.alice, three.bob, three.carol))


def test_a_link_to_a_server_that_is_away_is_kept_until_it_is_back(three: Three) -> None:
    link = three.alice.command("peers", "invite").stdout.strip()
    three.alice.kill()
    given_up = three.bob.command("peers", "connect", link, is_checked=False)
    assert given_up.returncode == 3
    assert "kept and repeated" in given_up.stderr
    three.alice.start()
    three.bob.stop()
    three.bob.start()  # it asks again at once
    wait_until_connected(three.bob)
    wait_until_connected(three.alice)


def wait_until_connected(server: Server) -> None:
    limit = time.monotonic() + PATIENCE_S
    while active_peers(server) == 0:
        assert time.monotonic() < limit, server.last_log()
        time.sleep(0.2)


def test_what_is_no_link_is_refused_with_one_sentence(three: Three) -> None:
    for link in ("", "hello", "homeserver://connect#", "homeserver://connect#AAAA"):
        refused = three.bob.command("peers", "connect", link, is_checked=False)
        assert refused.returncode == 1
        assert len(refused.stderr.strip().splitlines()) == 1
