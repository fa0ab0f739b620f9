"""Two connected servers with a recording proxy in front of each."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from homeserver.testing import processes, recording
from homeserver.testing.processes import Server
from homeserver.testing.recording import RecordingProxy


@dataclass(frozen=True, slots=True)
class WatchedPair:
    """What either server receives from the other, and answers, passes through its proxy."""

    alice: Server
    bob: Server
    to_alice: RecordingProxy
    to_bob: RecordingProxy


@contextlib.contextmanager
def behind_proxy(server: Server) -> Iterator[RecordingProxy]:
    """Give a server that is not initialised yet a proxy as its public address."""
    server.port = processes.free_port()
    with recording.recording(server.port) as proxy:
        server.public_url = proxy.url
        yield proxy


@contextlib.contextmanager
def watched_pair(directory: Path) -> Iterator[WatchedPair]:
    """Two servers, watched from before the moment they get to know each other."""
    alice, bob = (Server(directory=directory / user, user=user) for user in ("alice", "bob"))
    with (
        behind_proxy(alice) as to_alice,
        behind_proxy(bob) as to_bob,
        processes.running(alice, bob),
    ):
        processes.connect(alice, bob)
        yield WatchedPair(alice, bob, to_alice, to_bob)
