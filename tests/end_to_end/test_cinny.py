"""Cinny, in a browser: the owner logs in, is invited, chats, and loses nothing when servers stop.

Needs a build of Cinny's web client (`CINNY_DIST` names the folder), playwright and a chromium.
"""

import asyncio
import contextlib
import functools
import http.server
import json
import os
import shutil
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from homeserver.testing import processes
from homeserver.testing.processes import Server
from tests import checking_proxy
from tests.checking_proxy import Seen
from tests.end_to_end import story
from tests.end_to_end.conftest import WithClient
from tests.end_to_end.cutter import Cutter

playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed")

DIST = os.environ.get("CINNY_DIST", "")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
PATIENCE_MS = 90_000
pytestmark = [
    pytest.mark.skipif(not DIST, reason="CINNY_DIST names no build of Cinny"),
    pytest.mark.skipif(not CHROMIUM, reason="there is no chromium"),
]


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[tuple[Server, Server]]:
    alice, bob = (Server(directory=tmp_path / name, user=name) for name in ("alice", "bob"))
    with processes.running(alice, bob):
        processes.connect(alice, bob)
        yield alice, bob


@pytest.fixture
def seen(pair: tuple[Server, Server]) -> Iterator[Seen]:
    """Bob's server, as Cinny sees it."""
    with checking_proxy.checking(pair[1].url) as seen:
        yield seen


@pytest.fixture
async def cutter(seen: Seen) -> AsyncIterator[Cutter]:
    """The line between Cinny and that."""
    async with Cutter(seen.url) as cutter:
        yield cutter


@pytest.fixture
def cinny(tmp_path: Path, cutter: Cutter) -> Iterator[str]:
    """The web client's address, set up for Bob's server."""
    site = tmp_path / "cinny"
    shutil.copytree(DIST, site)
    settings = {"defaultHomeserver": 0, "homeserverList": [cutter.url]}
    (site / "config.json").write_text(json.dumps(settings | {"hashRouter": {"enabled": True}}))
    serve = functools.partial(_Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


async def test_cinny_shows_everything_once_and_in_order_whatever_breaks_in_between(
    pair: tuple[Server, Server], seen: Seen, cutter: Cutter, cinny: str, with_client: WithClient
) -> None:
    alice, bob = pair
    hers = await with_client(alice)
    async with playwright.async_playwright() as started:
        browser = await started.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        try:
            page = await browser.new_page()
            page.set_default_timeout(PATIENCE_MS)
            asked: set[str] = set()
            page.on("request", lambda request: asked.add(request.url.split("/")[2]))
            await page.route("**/.well-known/matrix/client", leads_to(cutter.url))
            await log_in(page, cinny, bob)
            room_id = await hers.create_room(
                name="harbour", invite=[f"@bob:{bob.status()['server_name']}"]
            )
            await accept(page, cinny)
            for number in range(5):
                await hers.send_text(room_id, f"before {number}")
            await sees(page, "before 4")
            bob.kill()
            for number in range(5):
                await hers.send_text(room_id, f"while away {number}")
            await asyncio.to_thread(bob.start)
            await sees(page, "while away 4")
            torn = cutter.tear_answer("/sync")
            await hers.send_text(room_id, "torn")
            await sees(page, "torn")
            await cutter.refuse()
            for number in range(3):
                await hers.send_text(room_id, f"while cut off {number}")
            await cutter.mend()
            await sees(page, "while cut off 2")
            assert torn.happened.is_set()
            with cutter.held():
                await hers.send_text(room_id, "held up")
                await asyncio.sleep(1)
            await sees(page, "held up")
            await write(page, "I have read all of it")
            await story.hears(hers, room_id, "I have read all of it")
            expected = [f"before {number}" for number in range(5)]
            expected += [f"while away {number}" for number in range(5)]
            expected += ["torn", *(f"while cut off {number}" for number in range(3)), "held up"]
            expected += ["I have read all of it"]
            assert texts(await hers.timeline(room_id)) == expected
            assert await shown(page, expected) == expected
            await page.reload()
            await sees(page, "I have read all of it")
            assert await shown(page, expected) == expected
            assert asked <= {cinny.split("/")[2], cutter.url.split("/")[2]}
            assert seen.violations(of_endpoints=1) == []
        finally:
            await browser.close()


def leads_to(url: str) -> Any:
    """Let discovery lead to where the answers are looked at."""
    found = json.dumps({"m.homeserver": {"base_url": url}})

    async def answer(route: Any) -> None:
        headers = {"Access-Control-Allow-Origin": "*"}
        await route.fulfill(body=found, content_type="application/json", headers=headers)

    return answer


def texts(events: list[dict[str, object]]) -> list[str]:
    bodies = [event["content"] for event in events if event["type"] == "m.room.message"]
    return [str(body["body"]) for body in bodies if isinstance(body, dict)]


async def log_in(page: Any, cinny: str, server: Server) -> None:
    await page.goto(f"{cinny}/#/login/")
    await page.fill("input[name=usernameInput]", server.user)
    await page.fill("input[name=passwordInput]", server.password)
    await page.click("button[type=submit]")
    await page.wait_for_url("**/home/**")


async def accept(page: Any, cinny: str) -> None:
    await page.goto(f"{cinny}/#/inbox/invites/")
    await page.get_by_role("button", name="Accept").click()
    await page.wait_for_selector("[data-slate-editor]")


async def sees(page: Any, text: str) -> None:
    """Wait for a line. A notice about the connection moves the view; the end is a click away."""
    line = page.get_by_text(text, exact=True).first
    end = page.get_by_role("button", name="Jump to Latest")
    while not await line.is_visible():
        await line.or_(end).first.wait_for()
        if await end.is_visible():
            with contextlib.suppress(playwright.Error):  # it goes when the view is at the end
                await end.click(timeout=2_000)


async def write(page: Any, text: str) -> None:
    await page.click("[data-slate-editor]")
    await page.keyboard.type(text)
    await page.keyboard.press("Enter")
    await sees(page, text)


async def shown(page: Any, among: list[str]) -> list[str]:
    """Which of these lines the timeline shows, from top to bottom, as often as it does."""
    parts = await page.eval_on_selector_all(
        "[data-message-id]", "parts => parts.map(part => part.innerText)"
    )
    lines = [line.strip() for part in parts for line in part.splitlines()]
    return [line for line in lines if line in among]
