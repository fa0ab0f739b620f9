"""A proxy that checks every answer of a server against the specification's OpenAPI files.

Those of sliding sync are in no version of it and are checked against `sliding_answer.json`.
The proxy is not part of this project: where there is none beside the checkout
(`*/tools/specproxy.py`), clients talk to the server directly and nothing is checked.
"""

import contextlib
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homeserver.testing import processes
from homeserver.testing.processes import Server

_BESIDE_THE_CHECKOUT = Path(__file__).resolve().parents[2]
_TELLS_OF_SLIDING_SYNC = Path(__file__).with_name("proxy_for_sliding.py")

# This schema is "one of" an object and an event: no event fits it, for each is an object too.
_EITHER_AN_OBJECT_OR_AN_EVENT = (
    "GET /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey} 200: at top:"
)


@dataclass(frozen=True, slots=True)
class Seen:
    """Where clients go, and what was wrong with the answers they got."""

    url: str
    is_checked: bool

    def violations(self, of_endpoints: int = 0) -> list[str]:
        """Every answer so far whose form is not the specification's.

        Fails where fewer endpoints than that were called: then nothing would have been shown.
        """
        if not self.is_checked:
            return []
        report = self._report()
        assert report["endpoints_called"] >= of_endpoints
        told = [f"{one['endpoint']} {one['status']}: {one['what']}" for one in report["violations"]]
        return [one for one in told if not one.startswith(_EITHER_AN_OBJECT_OR_AN_EVENT)]

    def _report(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}/_specproxy/report", timeout=10) as answer:
            report: dict[str, Any] = json.load(answer)
        return report


@dataclass(frozen=True, slots=True)
class CheckedServer:
    """A server, and where clients go that log in there: the proxy between, and around it."""

    server: Server
    seen: Seen

    @property
    def url(self) -> str:
        return self.seen.url

    @property
    def direct_url(self) -> str:
        return self.server.url

    @property
    def user(self) -> str:
        return self.server.user

    @property
    def password(self) -> str:
        return self.server.password

    def violations(self) -> list[str]:
        """Every answer so far whose form is not the specification's."""
        return self.seen.violations()


def exists() -> bool:
    """Whether there is such a proxy beside the checkout."""
    return _find_program() is not None


@contextlib.contextmanager
def checking(url: str) -> Iterator[Seen]:
    """Put the proxy in front of a server, if there is one."""
    program = _find_program()
    if program is None:
        yield Seen(url, is_checked=False)
        return
    port = processes.free_port()
    command = [sys.executable, str(_TELLS_OF_SLIDING_SYNC), str(program)]
    command += ["--upstream", url, "--listen", f"127.0.0.1:{port}"]
    proxy = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        seen = Seen(f"http://127.0.0.1:{port}", is_checked=True)
        _wait_until_it_answers(seen.url)
        yield seen
    finally:
        proxy.kill()  # it would wait for syncs that wait
        proxy.wait()


def _find_program() -> Path | None:
    return next(_BESIDE_THE_CHECKOUT.glob("*/tools/specproxy.py"), None)


def _wait_until_it_answers(url: str) -> None:
    limit = time.monotonic() + 30
    while time.monotonic() < limit:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{url}/_specproxy/report", timeout=5).close()
            return
        time.sleep(0.1)
    raise AssertionError("the checking proxy did not start")
