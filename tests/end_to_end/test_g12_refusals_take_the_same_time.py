"""G12: unknown, paused, revoked, blocked, spent, open: how long a refusal takes tells nothing.

That their bytes are equal too, over methods, paths and sizes, shows test_g12_refusals_look_alike.
"""

import contextlib
import math
import random
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import pytest

from homeserver.testing import processes
from homeserver.testing.processes import Server
from homeserver.testing.recording import RecordingProxy
from tests.end_to_end import watched

TRIES = 10_000
WITHIN_S = 20e-6
BOX_BYTES = 1 << 10
# A busy machine can part two medians once; what tells an address apart does it every time.
ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Median:
    """The median of a sample, and the half width of its 95 % interval; in seconds."""

    value: float
    margin: float

    @classmethod
    def of(cls, sample: Sequence[float]) -> "Median":
        """By order statistics: no assumption about how the times are distributed."""
        ordered, half = sorted(sample), len(sample) // 2
        reach = math.ceil(1.96 * math.sqrt(len(sample)) / 2)
        return cls(ordered[half], (ordered[half + reach] - ordered[half - reach]) / 2)


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, dict[str, str]]]:
    """Alice's server, and a path of each kind at it."""
    directory = tmp_path_factory.mktemp("same-time")
    alice = Server(directory=directory / "alice")
    standings = ("active", "paused", "revoked", "blocked")
    others = {name: Server(directory=directory / name, user=name) for name in standings}
    with watched.behind_proxy(alice) as proxy, processes.running(alice, *others.values()):
        used = {name: connect(alice, other, proxy) for name, other in others.items()}
        for command, name in (("pause", "paused"), ("revoke", "revoked"), ("block", "blocked")):
            alice.command("peers", command, others[name].status()["server_name"])
        # The first path is the invitation's, which is spent; the last one was made for the peer.
        paths = {name: path for name, (_, path) in used.items()}
        paths["spent"] = used["active"][0]
        paths["unknown"] = "/_federation/v1/deliver/" + "5e" * 16
        yield alice, paths


def connect(alice: Server, other: Server, proxy: RecordingProxy) -> tuple[str, str]:
    """Connect; returns the path of the invitation, and that made for the peer."""
    before = len(proxy.exchanges())
    processes.connect(alice, other)
    used = list(dict.fromkeys(one.path for one in proxy.exchanges()[before:]))
    return used[0], used[-1]


@pytest.mark.alone
def test_a_refusal_takes_the_same_time_whatever_the_reason(
    addresses: tuple[Server, dict[str, str]],
) -> None:
    alice, paths = addresses
    assert len(set(paths.values())) == len(paths)
    suspects = set(combinations(sorted(paths), 2))
    for seed in range(ROUNDS):
        medians = {
            name: Median.of(sample) for name, sample in timed(alice, paths, TRIES, seed).items()
        }
        suspects &= {pair for pair in suspects if differ(medians[pair[0]], medians[pair[1]])}
        if not suspects:
            return
    pytest.fail(f"these can be told apart by time: {suspects}; {medians}")


def test_the_comparison_sees_twenty_microseconds() -> None:
    chance = random.Random(1)
    sample = [abs(chance.gauss(3e-4, 5e-5)) for _ in range(TRIES)]
    later = [one + 2.5e-5 for one in sample]
    assert differ(Median.of(sample), Median.of(later))
    assert not differ(Median.of(sample), Median.of(sample))


def differ(one: Median, other: Median) -> bool:
    """Whether the 95 % interval of the difference leaves ±20 µs."""
    return abs(one.value - other.value) + math.hypot(one.margin, other.margin) > WITHIN_S


def timed(server: Server, paths: dict[str, str], tries: int, seed: int) -> dict[str, list[float]]:
    """How long each refusal took, the cases in a fresh random order again and again."""
    chance = random.Random(seed)
    order = list(paths)
    times: dict[str, list[float]] = {name: [] for name in paths}
    with contextlib.closing(socket.create_connection(("127.0.0.1", server.port))) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(tries):
            chance.shuffle(order)
            for name in order:
                times[name].append(refused_in(connection, paths[name], chance.randbytes(BOX_BYTES)))
    return times


def refused_in(connection: socket.socket, path: str, box: bytes) -> float:
    """Seconds until the whole refusal has come."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/octet-stream\r\n"
        f"Content-Length: {len(box)}\r\n\r\n"
    )
    request = head.encode() + box
    began = time.perf_counter()
    connection.sendall(request)
    answer = bytearray(connection.recv(65_536))
    while b"\r\n\r\n" not in answer or len(answer) < whole_length(answer):
        answer += connection.recv(65_536)
    took = time.perf_counter() - began
    assert answer.startswith(b"HTTP/1.1 404 ")
    return took


def whole_length(answer: bytearray) -> int:
    """How long the answer is going to be, by its head."""
    head, _, _ = bytes(answer).partition(b"\r\n\r\n")
    lengths = [
        int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"Content-Len")
    ]
    return len(head) + 4 + lengths[0]
