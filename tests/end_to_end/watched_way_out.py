"""Starts a server whose every way out is written down, and leads nowhere but to this machine.

Run it in place of `python -m homeserver`; WAY_OUT names the file. Python tells of each connection
and look-up, whichever library asks for it; uvloop would not, so it counts as not installed. What
leaves loopback fails, as where there is neither Internet nor DNS.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VARIABLE = "WAY_OUT"
_LOOPBACK = ("127.", "::1")
_CONNECTS = ("socket.connect", "socket.sendto", "socket.sendmsg")
_LOOKS_UP = (
    *("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"),
    "socket.getnameinfo",
)


@dataclass(frozen=True, slots=True)
class WayOut:
    """The file in which a server's ways out stand, one a line."""

    file: Path

    @property
    def environment(self) -> Mapping[str, str]:
        """What the launcher has to be told."""
        return {VARIABLE: str(self.file)}

    @property
    def launcher(self) -> tuple[str, ...]:
        """In place of `python -m homeserver`."""
        return (sys.executable, str(Path(__file__)))

    def connected(self) -> set[str]:
        """Where connections were opened to, as `host:port`."""
        return {to for how, to in self._lines() if how == "connect"}

    def looked_up(self) -> set[str]:
        """Which names were asked for."""
        return {to for how, to in self._lines() if how == "look up"}

    def forget(self) -> None:
        """Begin anew."""
        self.file.write_text("")

    def _lines(self) -> list[tuple[str, str]]:
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        return [(how, to) for how, _, to in (line.partition(": ") for line in lines)]


def _watch(file: int, event: str, arguments: tuple[Any, ...]) -> None:
    if event in _CONNECTS and isinstance(arguments[1], tuple):
        host, port = arguments[1][:2]
        os.write(file, f"connect: {host}:{port}\n".encode())
        _refuse_beyond(str(host))
    elif event in _LOOKS_UP:
        host = arguments[0]
        host = host.decode() if isinstance(host, bytes) else str(host)
        if not host.startswith(_LOOPBACK):  # an address of this machine is no name
            os.write(file, f"look up: {host}\n".encode())
        _refuse_beyond(host)


def _refuse_beyond(host: str) -> None:
    if not host.startswith(_LOOPBACK):
        raise OSError(f"there is no way to {host}")


def _start() -> None:
    sys.modules["uvloop"] = None  # type: ignore[assignment]
    if "run" in sys.argv[1:2]:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        file = os.open(os.environ[VARIABLE], flags, 0o600)
        sys.addaudithook(lambda event, arguments: _watch(file, event, arguments))
    from homeserver.cli import main

    main()


if __name__ == "__main__":
    _start()
