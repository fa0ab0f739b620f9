"""Every answer that real clients get has the form the specification gives it.

Needs a proxy that checks answers against the specification's OpenAPI files; without one beside
the checkout (`*/tools/specproxy.py`) these tests are skipped.
"""

import contextlib
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from homeserver.testing import processes
from homeserver.testing.processes import Server
from tests.end_to_end import test_one_server as stories
from tests.end_to_end.conftest import WithJs, WithNio

BESIDE_THE_CHECKOUT = Path(__file__).resolve().parents[3]


class Checked:
    """A server seen through the checking proxy."""

    def __init__(self, server: Server, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.user = server.user
        self.password = server.password

    def violations(self) -> list[str]:
        with urllib.request.urlopen(f"{self.url}/_specproxy/report", timeout=10) as answer:
            report: dict[str, Any] = json.load(answer)
        assert report["endpoints_called"] > 10
        return [f"{one['endpoint']} {one['status']}: {one['what']}" for one in report["violations"]]


@pytest.fixture
def checked(server: Server) -> Iterator[Any]:
    program = next(BESIDE_THE_CHECKOUT.glob("*/tools/specproxy.py"), None)
    if program is None:
        pytest.skip("no checking proxy beside the checkout")
    port = processes.free_port()
    command = [sys.executable, str(program), "--upstream", server.url]
    proxy = subprocess.Popen([*command, "--listen", f"127.0.0.1:{port}"], stdout=subprocess.DEVNULL)
    try:
        seen = Checked(server, port)
        wait_until_it_answers(seen.url)
        yield seen
    finally:
        proxy.kill()  # it would wait for syncs that wait
        proxy.wait()


def wait_until_it_answers(url: str) -> None:
    limit = time.monotonic() + 30
    while time.monotonic() < limit:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{url}/_specproxy/report", timeout=5).close()
            return
        time.sleep(0.1)
    raise AssertionError("the checking proxy did not start")


async def test_nio_gets_only_answers_of_the_specified_form(checked: Any, with_nio: WithNio) -> None:
    phone, laptop = await with_nio(checked), await with_nio(checked)
    await stories.talk_from_two_devices(phone, laptop)
    await stories.share_files(phone, laptop)
    assert checked.violations() == []


@pytest.mark.node
async def test_js_sdk_gets_only_answers_of_the_specified_form(
    checked: Any, with_js: WithJs
) -> None:
    phone, laptop = await with_js(checked), await with_js(checked)
    await stories.talk_from_two_devices(phone, laptop)
    await stories.share_files(phone, laptop)
    assert checked.violations() == []
