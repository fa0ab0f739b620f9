"""A place on loopback where real servers reach each other, and where the network's faults happen.

Peers are told the address of a server's relay. A relay takes each box off HTTP, lets the `Network`
do to it what it does to every box, and hands it to the server.
"""

import asyncio
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import aiohttp
from aiohttp import web

from federation.transport import http
from federation.transport.interface import Refused
from homeserver import errors
from homeserver.testing.network import Network, Recorded

_LONGEST_S = 180.0
_SOCKETS = Path("/proc/net/tcp")
_TYPE = "application/octet-stream"
_LARGEST_BOX = 1 << 20

# The processes that run now, by the names of their servers.
Processes = Callable[[], dict[str, int]]


class Relay:
    """In front of one server."""

    def __init__(self, name: str, network: Network, port: int, processes: Processes) -> None:
        self.name = name
        self._network = network
        self._target = f"http://127.0.0.1:{port}"
        self._processes = processes
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None

    async def open(self, port: int) -> str:
        """Listen on a loopback port; its address."""
        application = web.Application(client_max_size=_LARGEST_BOX)
        application.router.add_post("/_federation/v1/deliver/{address:[0-9a-f]{32}}", self._relay)
        self._session = aiohttp.ClientSession()
        self._runner = web.AppRunner(
            application, access_log=None, handler_cancellation=True, shutdown_timeout=0.1
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        route = f"http://127.0.0.1:{port}"
        self._network.listen(route, self.name, self._hand_over)
        self._route = route
        return route

    async def move(self, port: int) -> str:
        """Listen at another port and nowhere else; its address."""
        await self.close()
        self._network.deafen(self.name)
        return await self.open(port)

    async def close(self) -> None:
        """Stop listening."""
        if self._session is not None and self._runner is not None:
            await self._session.close()
            await self._runner.cleanup()

    async def _relay(self, request: web.Request) -> web.Response:
        source = who_calls(request.transport, self._processes())
        address = bytes.fromhex(request.match_info["address"])
        sent = Recorded(source, self._route, address, await request.read())
        try:
            answer = await self._network.deliver(source, sent, _LONGEST_S)
        except Refused:
            return web.Response(status=http.REFUSAL_STATUS, body=http.REFUSAL_BODY)
        except errors.PeerUnreachable:
            return web.Response(status=502)
        return web.Response(body=answer, content_type=_TYPE)

    async def _hand_over(
        self, address: bytes, box: bytes, _socket: asyncio.BaseTransport | None
    ) -> bytes | None:
        if self._session is None:
            raise errors.PeerUnreachable
        url = f"{self._target}{http.PATH}{address.hex()}"
        try:
            async with self._session.post(
                url, data=box, headers={"Content-Type": _TYPE}
            ) as response:
                content = await response.read()
                return content if response.status == web.HTTPOk.status_code else None
        except aiohttp.ClientError as error:
            raise errors.PeerUnreachable from error


def knows_callers() -> bool:
    """Whether this system tells which process is at the other end of a loopback connection."""
    return _SOCKETS.exists()


def who_calls(transport: asyncio.BaseTransport | None, processes: dict[str, int]) -> str:
    """The server whose process called; "somebody" where the system does not tell."""
    if transport is None or not knows_callers():
        return "somebody"
    theirs, ours = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
    inode = _inode_of(theirs[1], ours[1]) if theirs and ours else None
    for name, pid in processes.items():
        if inode is not None and inode in _sockets_of(pid):
            return name
    return "somebody"


def _inode_of(theirs: int, ours: int) -> str | None:
    """The other end of a connection: its own port may stand in others that are over, too."""
    ends = [f"0100007F:{port:04X}" for port in (theirs, ours)]
    for line in _SOCKETS.read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1:3] == ends:
            return fields[9]
    return None


def _sockets_of(pid: int) -> Iterable[str]:
    """The inodes of a process's sockets; none once it is gone."""
    found = set()
    try:
        for file in Path(f"/proc/{pid}/fd").iterdir():
            match = re.fullmatch(r"socket:\[([0-9]+)\]", str(file.readlink()))
            if match:
                found.add(match[1])
    except OSError:
        pass
    return found
