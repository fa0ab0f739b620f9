"""What all tests share: no way out of this machine, and databases to test on."""

import os
import socket
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import sqlalchemy

from homeserver.storage.database import Database
from homeserver.storage.wake_ups import WakeUps

# How long one example takes says more about the machine than about the code.
hypothesis.settings.register_profile(
    "project", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("project")

_POSTGRES = "HOMESERVER_TEST_POSTGRES"
_THIS_MACHINE = ("127.", "::1", "localhost")


class OutsideWorld(Exception):
    """A test tried to leave this machine."""


@pytest.fixture(autouse=True)
def stay_on_this_machine(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Refuse connections and look-ups beyond loopback; the test fails even if nobody noticed.

    Tests in tests/unit open no connection at all. (uvloop connects on its own and is not seen.)
    """
    may_connect = "unit" not in request.path.parts
    attempts: list[str] = []

    def guard(call: Callable[..., Any], find_host: Callable[..., object]) -> Callable[..., Any]:
        def guarded(*arguments: Any, **named: Any) -> Any:
            host = find_host(*arguments, **named)
            if host is None or (may_connect and str(host).startswith(_THIS_MACHINE)):
                return call(*arguments, **named)
            attempts.append(str(host))
            raise OutsideWorld(host)

        return guarded

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, guard(getattr(socket.socket, name), _host_of))
    monkeypatch.setattr(
        socket, "getaddrinfo", guard(socket.getaddrinfo, lambda host, *_, **_named: host)
    )
    yield
    assert attempts == [], "a test reached for the outside world"


def _host_of(_socket: socket.socket, *arguments: Any) -> object:
    """The host in `connect(address)` or `sendto(bytes, address)`; None for a Unix socket."""
    address = arguments[-1]
    return address[0] if isinstance(address, tuple) else None


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Ask for loopback ports that nobody listens on."""

    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            return port

    return find


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of each kind; PostgreSQL where HOMESERVER_TEST_POSTGRES names one."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/test.db"
        return
    if _POSTGRES not in os.environ:
        pytest.skip(f"{_POSTGRES} names no PostgreSQL server")
    url = os.environ[_POSTGRES]
    schema = f"test_{uuid.uuid4().hex}"
    engine = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {schema}")
        yield f"{url}{'&' if '?' in url else '?'}options=-csearch_path%3D{schema}"
        connection.exec_driver_sql(f"DROP SCHEMA {schema} CASCADE")
    engine.dispose()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """An open, empty database."""
    opened = Database(database_url, WakeUps())
    yield opened
    opened.close()
