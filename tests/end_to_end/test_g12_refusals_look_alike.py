"""G12: a server that was not agreed to gets the same bytes, whatever it tries."""

import contextlib
import random
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from homeserver.testing import processes
from homeserver.testing.processes import VODOZEMAC, Server
from homeserver.testing.recording import RecordingProxy
from tests.end_to_end import watched

BUCKETS = (1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10)
ODD_SIZES = (0, 1, 1023, 1025, 5_000, (256 << 10) - 1, (256 << 10) + 1, 300_000)
METHODS = ("GET", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "LOCK", "SEARCH")


@dataclass(frozen=True, slots=True)
class Scene:
    """Alice's server with a peer in each standing, and the paths her peers were seen to use."""

    alice: Server
    lonely: Server
    paths: dict[str, list[str]]

    @property
    def every_path(self) -> list[str]:
        return [path for paths in self.paths.values() for path in paths]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    directory = tmp_path_factory.mktemp("strangers")
    alice = Server(directory=directory / "alice")
    others = {
        name: Server(directory=directory / name, user=name, environment=environment)
        for name, environment in (
            *(("active", {}), ("paused", VODOZEMAC)),
            *(("revoked", VODOZEMAC), ("blocked", {})),
        )
    }
    lonely = Server(directory=directory / "lonely", user="lonely")
    with (
        watched.behind_proxy(alice) as proxy,
        processes.running(alice, lonely, *others.values()),
    ):
        paths = {name: connect(alice, other, proxy) for name, other in others.items()}
        alice.command("peers", "pause", others["paused"].status()["server_name"])
        alice.command("peers", "revoke", others["revoked"].status()["server_name"])
        alice.command("peers", "block", others["blocked"].status()["server_name"])
        alice.command("peers", "invite")
        yield Scene(alice, lonely, paths)


def connect(alice: Server, other: Server, proxy: RecordingProxy) -> list[str]:
    """Connect, and return the paths that were used: the invitation's and the one made for them."""
    before = {one.path for one in proxy.exchanges()}
    processes.connect(alice, other)
    used = {one.path for one in proxy.exchanges()} - before
    assert len(used) >= 2
    return sorted(used)


def answer_to(server: Server, method: str, path: str, body: bytes = b"", *headers: str) -> bytes:
    """Every byte that one request brings back."""
    more = "".join(f"{header}\r\n" for header in headers)
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{more}"
        f"Content-Type: application/octet-stream\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(head.encode() + body)
        answer = bytearray()
        while chunk := connection.recv(65_536):
            answer += chunk
    return bytes(answer)


def refusal(server: Server) -> bytes:
    """What a stranger with the right size of box gets at an address that never was."""
    path = "/_federation/v1/deliver/" + "a" * 32
    return answer_to(server, "POST", path, random.Random(0).randbytes(1 << 10))


def differing(server: Server, tries: dict[str, tuple[str, str, bytes]]) -> dict[str, bytes]:
    expected = refusal(server)
    assert expected.startswith(b"HTTP/1.1 ")
    answers = {name: answer_to(server, *one) for name, one in tries.items()}
    return {name: answer[:300] for name, answer in answers.items() if answer != expected}


def test_every_address_refuses_a_bad_box_with_the_same_bytes(scene: Scene) -> None:
    chance = random.Random(1)
    tries = {
        f"{name} {path} {size}": ("POST", path, chance.randbytes(size))
        for name, paths in scene.paths.items()
        for path in paths
        for size in BUCKETS
    }
    assert differing(scene.alice, tries) == {}


def test_every_odd_size_is_refused_with_the_same_bytes(scene: Scene) -> None:
    chance = random.Random(2)
    tries = {
        f"{path} {size}": ("POST", path, chance.randbytes(size))
        for path in [*scene.every_path, "/_federation/v1/deliver/" + "b" * 32]
        for size in ODD_SIZES
    }
    assert differing(scene.alice, tries) == {}


def test_every_method_is_refused_with_the_same_bytes(scene: Scene) -> None:
    body = random.Random(3).randbytes(1 << 10)
    tries = {
        f"{method} {path}": (method, path, body)
        for method in METHODS
        for path in [*scene.every_path, "/_federation/v1/deliver/" + "c" * 32]
    }
    assert differing(scene.alice, tries) == {}


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "nonsense"])
def test_a_body_that_lies_about_its_encoding_is_refused_with_the_same_bytes(
    scene: Scene, encoding: str
) -> None:
    body = random.Random(4).randbytes(1 << 10)
    logged = scene.alice.log_file.read_bytes()
    for path in [*scene.every_path, "/_federation/v1/deliver/" + "d" * 32]:
        answer = answer_to(scene.alice, "POST", path, body, f"Content-Encoding: {encoding}")
        assert answer == refusal(scene.alice)
    assert scene.alice.log_file.read_bytes() == logged


@pytest.mark.parametrize("expected", ["100-continue", "foo", ""])
def test_who_expects_something_is_refused_with_the_same_bytes(scene: Scene, expected: str) -> None:
    body = random.Random(5).randbytes(1 << 10)
    for path in [*scene.every_path, "/_federation/v1/deliver/" + "e" * 32]:
        answer = answer_to(scene.alice, "POST", path, body, f"Expect: {expected}")
        assert answer == refusal(scene.alice)


def test_who_wants_a_tunnel_is_refused_with_the_same_bytes(scene: Scene) -> None:
    places = [*scene.every_path, "/_federation/v1/deliver/" + "f" * 32, "127.0.0.1:22", "x:443"]
    assert differing(scene.alice, {place: ("CONNECT", place, b"") for place in places}) == {}


def test_what_is_no_method_tells_nothing_of_the_address(scene: Scene) -> None:
    """HTTP's own refusal quotes the request, so every one has an address of the same length."""
    answers = {
        answer_to(scene.alice, "LETMEIN", path).replace(path.encode(), b"")
        for path in [*scene.every_path, "/_federation/v1/deliver/" + "0" * 32]
    }
    assert len({without_date(answer) for answer in answers}) == 1


def without_date(answer: bytes) -> bytes:
    lines = answer.split(b"\r\n")
    return b"\r\n".join(line for line in lines if not line.lower().startswith(b"date:"))


def test_asking_for_the_head_alone_gets_the_head_of_the_same_bytes(scene: Scene) -> None:
    head = refusal(scene.alice).partition(b"\r\n\r\n")[0]
    for path in scene.every_path:
        assert answer_to(scene.alice, "HEAD", path).partition(b"\r\n\r\n")[0] == head


def test_every_path_below_federation_is_refused_with_the_same_bytes(scene: Scene) -> None:
    address = scene.paths["active"][0]
    paths = [
        "/_federation/",
        "/_federation/v1",
        "/_federation/v1/",
        "/_federation/v1/deliver",
        "/_federation/v1/deliver/",
        "/_federation/v1/deliver/x",
        "/_federation/v1/deliver/" + "A" * 22,
        "/_federation/v1/deliver/" + "x" * 4_000,
        "/_federation/v1/deliver/%00",
        "/_federation/v1/deliver/%ff%fe",
        "/_federation/v1/deliver/a/b/c",
        "/_federation/v1/version",
        "/_federation/v2/deliver/" + "a" * 32,
        "/_federation/metrics",
        address + "/",
        address + "/x",
        address + "?x=1",
        address + "%20",
        f"/_federation/v1/deliver/{address.rpartition('/')[2].upper()}",
    ]
    body = random.Random(4).randbytes(1 << 10)
    tries = {
        f"{method} {path}": (method, path, body) for path in paths for method in ("POST", "GET")
    }
    assert differing(scene.alice, tries) == {}


def test_a_server_without_peers_answers_strangers_the_same(scene: Scene) -> None:
    assert refusal(scene.lonely) == refusal(scene.alice)
    for path in scene.every_path:
        assert answer_to(scene.lonely, "POST", path, bytes(1 << 10)) == refusal(scene.alice)


def test_a_refusal_names_no_program_and_no_time(scene: Scene) -> None:
    head = refusal(scene.alice).partition(b"\r\n\r\n")[0].lower()
    for header in (b"\r\nserver:", b"\r\ndate:", b"\r\naccess-control"):
        assert header not in head


def test_a_stranger_leaves_no_line_in_the_log_and_no_word_in_the_audit(scene: Scene) -> None:
    log = scene.lonely.log_file.read_bytes()
    for number in range(50):
        path = f"/_federation/v1/deliver/{number:032x}"
        answer_to(scene.lonely, "POST", path, random.Random(number).randbytes(4 << 10))
    assert scene.lonely.log_file.read_bytes() == log
    assert scene.lonely.status()["inbox_pending"] == 0
    assert sum(scene.lonely.status()["peers"].values()) == 0
