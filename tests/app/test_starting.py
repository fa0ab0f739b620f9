"""What a server says where it cannot start: names that changed, places taken, no certificate."""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from homeserver import config
from homeserver.app import initialising, running, wiring
from homeserver.config import Config


def never() -> str:
    raise AssertionError("nobody should have been asked")


def start(settings: Config) -> None:
    keyring = initialising.unlock(settings, never)

    async def begin() -> None:
        async with running.started(settings, keyring):
            pass

    asyncio.run(begin())


@pytest.fixture
def port(free_port: Callable[[], int]) -> int:
    return free_port()


def found(settings: Config) -> None:
    initialising.initialise(settings, "alice", "a password")
    (settings.data_directory / "admin.token").write_text("a token\n")


def parsed(directory: Path, port: int, server: object = None, **listener: object) -> Config:
    given = {"listeners": [{"port": port, **listener}], "server": server}
    return config.parse(given, directory, {})


@pytest.mark.parametrize(
    ("server", "sentence"),
    [
        ({"user_name": "bob"}, "server.user_name was alice when this server was set up"),
        ({"server_name": "b.example"}, "server.server_name was a.example when"),
    ],
)
def test_a_name_that_changed_is_refused_with_the_one_to_put_back(
    tmp_path: Path, port: int, server: dict[str, str], sentence: str
) -> None:
    first = {"user_name": "alice", "server_name": "a.example"}
    found(parsed(tmp_path, port, first))
    start(parsed(tmp_path, port, first))
    start(parsed(tmp_path, port))
    with pytest.raises(wiring.NamesChanged, match=sentence):
        start(parsed(tmp_path, port, first | server))


def test_a_port_that_is_taken_is_named(tmp_path: Path, port: int) -> None:
    settings = parsed(tmp_path, port)
    found(settings)
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(running.CannotListen) as refused,
    ):
        start(settings)
    assert str(refused.value) == (
        f"Nothing can listen at 127.0.0.1 port {port}: another program listens there already."
    )


def test_a_certificate_that_cannot_be_used_is_named(tmp_path: Path, port: int) -> None:
    given = {"tls_certificate": "cert.pem", "tls_key": "key.pem"}
    settings = parsed(tmp_path, port, **given)
    found(settings)
    with pytest.raises(running.UnusableCertificate, match=r"cert\.pem cannot be read: No such"):
        start(settings)
    (tmp_path / "cert.pem").write_text("no certificate")
    (tmp_path / "key.pem").write_text("no key")
    with pytest.raises(running.UnusableCertificate, match="are not a PEM certificate and its key"):
        start(settings)
