"""A data directory with settings and a token, and a stand-in for the server's admin API."""

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from homeserver.cli import main

TOKEN = "the-token-of-the-test"
PREFIX = "/_homeserver/admin/v1"


@dataclass
class Admin:
    """Answers what it is told to; remembers what it was asked."""

    answers: dict[tuple[str, str], list[tuple[int, Any]]] = field(default_factory=dict)
    asked: list[tuple[str, str, Any]] = field(default_factory=list)

    def answer(self, method: str, path: str, body: Any, status: int = 200) -> None:
        """Answer so; where several answers are given the last one stays."""
        self.answers.setdefault((method, path), []).append((status, body))

    def take(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        self.asked.append((method, path, body))
        waiting = self.answers[method, path]
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]


@pytest.fixture
def admin(free_port: Callable[[], int], data_dir: Path) -> Iterator[Admin]:
    stand_in = Admin()

    class Answering(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(size)) if size else None
            status, answer = (403, {"error": "wrong token"})
            if self.headers["Authorization"] == f"Bearer {TOKEN}":
                path = self.path.removeprefix(PREFIX)
                status, answer = stand_in.take(self.command, path, body)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(answer if isinstance(answer, bytes) else json.dumps(answer).encode())

        do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815 - http.server's name

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", free_port()), Answering) as server:
        (data_dir / "config.yaml").write_text(f"listeners: [{{port: {server.server_port}}}]")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield stand_in
        server.shutdown()
        thread.join()


@pytest.fixture
def data_dir(tmp_path: Path, free_port: Callable[[], int]) -> Path:
    """The directory of a server that is not running."""
    (tmp_path / "config.yaml").write_text(f"listeners: [{{port: {free_port()}}}]")
    (tmp_path / "admin.token").write_text(TOKEN + "\n")
    return tmp_path


Run = Callable[..., Result]


@pytest.fixture
def run(data_dir: Path) -> Run:
    """Run `homeserver WORDS --config …`."""

    def run_command(*words: str) -> Result:
        return CliRunner().invoke(main, [*words, "--config", str(data_dir / "config.yaml")])

    return run_command
