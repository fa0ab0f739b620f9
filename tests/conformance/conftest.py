"""Alice's server, seen through the checking proxy where there is one; Bob's beside it."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from homeserver.testing import processes
from homeserver.testing.processes import Server
from tests import checking_proxy
from tests.checking_proxy import CheckedServer
from tests.conformance import coverage, device
from tests.conformance.device import Device

HERE = Path(__file__).resolve().parent
# What Alice allows and has; nobody answers there.
GATEWAY = "http://127.0.0.1:9/_matrix/push/v1/notify"
LIVEKIT = "https://calls.example.org/livekit/jwt"
ALICES = {
    "HOMESERVER__PUSH__GATEWAYS": f'["{GATEWAY}"]',
    "HOMESERVER__VOIP__LIVEKIT_SERVICE_URL": LIVEKIT,
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents and {"checked", "spare"} & {
            *getattr(item, "fixturenames", ())
        }:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="module", autouse=True)
def _kept_calls(request: pytest.FixtureRequest) -> Iterator[None]:
    """A file whose tests have all passed has called, with success, what `calls.txt` says of it.

    Each file is run as a whole by one process, however many there are.
    """
    session, module = request.session, request.node
    failed_before = session.testsfailed
    device.succeeded.clear()
    yield
    chosen = [item for item in session.items if item.getparent(pytest.Module) is module]
    if len(chosen) == len(list(module.collect())) and session.testsfailed == failed_before:
        assert coverage.not_called(request.path.stem, device.succeeded) == []


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    """Alice's and Bob's servers, connected."""
    alice, bob = (
        Server(directory=tmp_path_factory.mktemp(user), user=user, environment=environment)
        for user, environment in (("alice", ALICES), ("bob", {}))
    )
    with processes.running(alice, bob):
        processes.connect(alice, bob)
        yield alice, bob


@pytest.fixture(scope="session")
def checked_server(pair: tuple[Server, Server]) -> Iterator[CheckedServer]:
    with _checking(pair[0]) as checked:
        yield checked


@pytest.fixture(scope="module")
def spare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CheckedServer]:
    """A server that nobody else needs."""
    directory = tmp_path_factory.mktemp("eve")
    (directory / "turn").write_text("a secret shared with the relay")
    relay = {
        "HOMESERVER__VOIP__TURN_URLS": '["turn:turn.example.org"]',
        "HOMESERVER__VOIP__TURN_SECRET_FILE": str(directory / "turn"),
    }
    server = Server(directory=directory, user="eve", environment=relay)
    with processes.running(server), _checking(server) as checked:
        yield checked
        assert checked.violations() == []


@contextlib.contextmanager
def _checking(server: Server) -> Iterator[CheckedServer]:
    with checking_proxy.checking(server.url) as seen:
        device.looked_at.add(seen.url)
        yield CheckedServer(server, seen)


@pytest.fixture
def checked(checked_server: CheckedServer) -> Iterator[CheckedServer]:
    """Alice's server; in the end no answer of this test may have had a form of its own."""
    before = checked_server.violations()
    yield checked_server
    assert [one for one in checked_server.violations() if one not in before] == []


@pytest.fixture
def open_device() -> Iterator[Callable[[str], Device]]:
    with contextlib.ExitStack() as opened:

        def connect(url: str) -> Device:
            device = Device(url)
            opened.callback(device.close)
            return device

        yield connect


@pytest.fixture
def stranger(checked: CheckedServer, open_device: Callable[[str], Device]) -> Device:
    """Somebody without a token, past the proxy."""
    return open_device(checked.direct_url)


@pytest.fixture
def newcomer(checked: CheckedServer, open_device: Callable[[str], Device]) -> Device:
    """Somebody who has no token yet, seen through the proxy."""
    return open_device(checked.url)


@pytest.fixture
def log_in(checked: CheckedServer, open_device: Callable[[str], Device]) -> Callable[..., Device]:
    """Log in on Alice's server once more."""

    def log_in(**more: Any) -> Device:
        return open_device(checked.url).log_in("alice", checked.server.password, **more)

    return log_in


@pytest.fixture(scope="session")
def alices_phone(checked_server: CheckedServer) -> Iterator[Device]:
    """Logged in once: a password takes its time."""
    with contextlib.closing(Device(checked_server.url)) as device:
        yield device.log_in("alice", checked_server.server.password, device_id="PHONE")


@pytest.fixture
def alice(alices_phone: Device, checked: CheckedServer) -> Device:
    return alices_phone


@pytest.fixture(scope="session")
def bob(pair: tuple[Server, Server]) -> Iterator[Device]:
    with contextlib.closing(Device(pair[1].url)) as device:
        yield device.log_in("bob", pair[1].password)
