"""Real servers on this machine: `homeserver init` and `homeserver run`, each in a directory.

Each `Server` listens on a free loopback port, logs into its directory and is stopped by whoever
started it. What a test wants to know of a server it asks over HTTP or by the command line.
"""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import yaml

from homeserver import config
from homeserver.testing.hosts import Namespace

OURS = (sys.executable, "-m", "homeserver")  # what starts this program

_START_LIMIT_S = 30.0
_STOP_LIMIT_S = 20.0
_COMMAND_LIMIT_S = 60.0
_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")

# The environment of a server whose ratchets vodozemac steps.
VODOZEMAC = {"HOMESERVER__FEDERATION__RATCHETS": "vodozemac"}


class ServerFailed(Exception):
    """A server did not start, or a command failed; the message ends with what it printed."""


@dataclass(slots=True, kw_only=True)
class Server:
    """One server: a directory, a port, and while it runs a process."""

    directory: Path
    user: str = "alice"
    password: str = "correct horse battery staple"  # noqa: S105 - of a server that lives for a test
    address: str = "127.0.0.1"
    port: int = 0
    namespace: Namespace | None = None  # the host on which it runs; None is this machine
    public_url: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    launcher: Sequence[str] = OURS
    process: "subprocess.Popen[bytes] | None" = None
    _log: IO[bytes] | None = None

    @property
    def url(self) -> str:
        """Where its clients reach it."""
        return f"http://{self.address}:{self.port}"

    @property
    def admin_url(self) -> str:
        """Where its owner's commands reach it: on its own host only."""
        listener = config.load(self.config_file, {}).listener_serving("admin")
        return self.url if listener is None else listener.url

    @property
    def data_dir(self) -> Path:
        """Where it keeps everything."""
        return self.directory / "server"

    @property
    def config_file(self) -> Path:
        """What `init` wrote."""
        return self.data_dir / "config.yaml"

    @property
    def log_file(self) -> Path:
        """What it printed, over all its starts."""
        return self.directory / "server.log"

    @property
    def pid(self) -> int:
        """The process, for measuring it."""
        if self.process is None:
            raise ServerFailed(f"{self.user}'s server is not running")
        return self.process.pid

    def init(self, *options: str) -> str:
        """Run `homeserver init` and return what it printed."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.port = self.port or free_port()
        self._password_file.touch(mode=0o600)
        self._password_file.write_text(self.password)
        if self.public_url is not None:
            options = ("--public-url", self.public_url, *options)
        finished = self.run_command(
            "init",
            *("--data-dir", str(self.data_dir)),
            *("--user", self.user),
            *("--password-file", str(self._password_file)),
            *("--listen", f"{self.address}:{self.port}"),
            *options,
        )
        return finished.stdout

    def start(self) -> None:
        """Start it and wait until it answers clients."""
        self._log = self.log_file.open("ab")
        self.process = subprocess.Popen(  # noqa: S603 - our own program
            [*self._words, "run", "--config", str(self.config_file)],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env=self._full_environment(),
        )
        limit = time.monotonic() + _START_LIMIT_S
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > limit:
                self.kill()
                raise ServerFailed(f"{self.user}'s server did not start:\n{self.last_log()}")
            time.sleep(0.01)

    def stop(self) -> int:
        """End it as a service manager does, with SIGTERM, and return its exit code."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a power cut does."""
        self._end(signal.SIGKILL)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Let it do nothing for a while, so that its files do not change; it need not run."""
        if self.process is None:
            yield
            return
        self.process.send_signal(signal.SIGSTOP)
        os.waitpid(self.process.pid, os.WUNTRACED)  # until it has really stopped
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def back_up(self, file: Path) -> None:
        """Write the sealed file of `homeserver backup`. The passphrase is the password."""
        self.command("backup", str(file), "--passphrase-file", str(self._password_file))

    def restore(self, file: Path) -> None:
        """Become what a sealed file holds, by `homeserver restore`. It must not be running."""
        shutil.rmtree(self.data_dir)
        where = ("--data-dir", str(self.data_dir))
        self.run_command(
            "restore", str(file), *where, "--passphrase-file", str(self._password_file)
        )

    def write_addresses(self) -> None:
        """Put into its settings where it listens, and where others find it, from now on."""
        settings = yaml.safe_load(self.config_file.read_text())
        found_at = [] if self.public_url is None else [self.public_url]
        settings.setdefault("server", {})["public_urls"] = found_at
        settings["listeners"][0]["bind"] = self.address
        self.config_file.write_text(yaml.safe_dump(settings))

    def command(
        self, *arguments: str, is_checked: bool = True
    ) -> "subprocess.CompletedProcess[str]":
        """Run one of its commands, with its configuration."""
        return self.run_command(
            *arguments, "--config", str(self.config_file), is_checked=is_checked
        )

    def status(self) -> dict[str, Any]:
        """What `homeserver status --json` says."""
        status: dict[str, Any] = json.loads(self.command("status", "--json").stdout)
        return status

    def run_command(
        self, *arguments: str, is_checked: bool = True
    ) -> "subprocess.CompletedProcess[str]":
        """Run the command line with exactly these arguments."""
        finished = subprocess.run(  # noqa: S603 - our own program
            [*self._words, *arguments],
            capture_output=True,
            check=False,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=_COMMAND_LIMIT_S,
            env=self._full_environment(),
        )
        if is_checked and finished.returncode != 0:
            raise ServerFailed(
                f"homeserver {' '.join(arguments)}: exit {finished.returncode}\n"
                f"{finished.stdout}{finished.stderr}{self.last_log()}"
            )
        return finished

    def last_log(self) -> str:
        """The end of what it printed."""
        if not self.log_file.exists():
            return ""
        return self.log_file.read_text(errors="replace")[-4000:]

    def cpu_seconds(self) -> float:
        """Processor time it has used since its start, in the program and in the system."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _CLOCK_TICKS

    def resident_mib(self) -> float:
        """Memory it holds at the moment."""
        return resident_mib(self.pid)

    def _end(self, number: signal.Signals) -> int:
        if self.process is None:
            return 0
        self.process.send_signal(number)
        try:
            return self.process.wait(_STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise ServerFailed(f"{self.user}'s server did not stop:\n{self.last_log()}") from None
        finally:
            self.process = None
            if self._log is not None:
                self._log.close()

    @property
    def _password_file(self) -> Path:
        return self.directory / "password"

    @property
    def _words(self) -> tuple[str, ...]:
        """What starts the program, where it shall run."""
        entrance = () if self.namespace is None else self.namespace.entrance
        return (*entrance, *self.launcher)

    def _answers(self) -> bool:
        if self.namespace is None:
            return _answers(self.url)
        with self.namespace.entered():  # where commands have a listener of their own
            return _answers(self.url) and _answers(self.admin_url)

    def _full_environment(self) -> dict[str, str]:
        outside = {
            name: value for name, value in os.environ.items() if not name.startswith("HOMESERVER__")
        }
        return outside | {"HOMESERVER__RATE_LIMITS__ENABLED": "false"} | dict(self.environment)


@contextlib.contextmanager
def running(*servers: Server) -> Iterator[None]:
    """Initialise and start servers; stop them at the end whatever happened."""
    try:
        for server in servers:
            server.init()
            server.start()
        yield
    finally:
        for server in servers:
            server.kill()


def connect(inviter: Server, invitee: Server) -> None:
    """Let both owners say yes, by the command line."""
    link = inviter.command("peers", "invite").stdout.strip()
    invitee.command("peers", "connect", link)


def resident_mib(pid: int | str) -> float:
    """Memory that a process holds at the moment; "self" is this one."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    kib = next(line.split()[1] for line in lines if line.startswith("VmRSS:"))
    return int(kib) / 1024


def free_port() -> int:
    """A loopback port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(url: str) -> bool:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=1)
    try:
        connection.request("GET", "/_matrix/client/versions")
        return connection.getresponse().status < http.HTTPStatus.INTERNAL_SERVER_ERROR
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
