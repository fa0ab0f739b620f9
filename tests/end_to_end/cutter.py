"""A line on this machine that can be cut: a relay between a client and where its server listens.

It refuses whoever comes, holds everything back for a while, tears an answer in its middle, and
loses an answer whose request got through.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

_PIECE = 1 << 16
_RESET_AT_ONCE = struct.pack("ii", 1, 0)

_End = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(slots=True)
class Cut:
    """What becomes of the answer to the next request of a kind: so much of it still arrives."""

    path: bytes
    arrives: float
    happened: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True)
class _Line:
    cut: Cut | None = None


class Cutter:
    """The line. Clients go to `url`."""

    def __init__(self, upstream: str) -> None:
        address = urlsplit(upstream)
        self._host, self._upstream_port = address.hostname, address.port
        self._port = 0
        self._server: asyncio.Server | None = None
        self._lines: set[asyncio.Task[None]] = set()
        self._cuts: list[Cut] = []
        self._flows = asyncio.Event()
        self._flows.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def __aenter__(self) -> Self:
        await self.mend()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.refuse()

    async def refuse(self) -> None:
        """Tear every line, and let nobody in until it is mended."""
        if self._server is not None:
            self._server.close()
            self._server = None
        lines = list(self._lines)
        for line in lines:
            line.cancel()
        await asyncio.gather(*lines, return_exceptions=True)

    async def mend(self) -> None:
        """Listen again, at the same address."""
        self._server = await asyncio.start_server(self._begin, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Let nothing pass either way for the length of a block; what was said arrives late."""
        self._flows.clear()
        try:
            yield
        finally:
            self._flows.set()

    def lose_answer(self, path: str) -> Cut:
        """Let the next request with this in its path through, and reset instead of answering."""
        return self._cut(path, 0)

    def tear_answer(self, path: str) -> Cut:
        """Reset the line in the middle of the next answer to such a request."""
        return self._cut(path, 0.5)

    def _cut(self, path: str, arrives: float) -> Cut:
        self._cuts.append(Cut(path.encode(), arrives))
        return self._cuts[-1]

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = asyncio.create_task(self._carry((reader, writer)))
        self._lines.add(line)
        line.add_done_callback(self._lines.discard)

    async def _carry(self, client: _End) -> None:
        opened = [client]
        try:
            opened.append(await asyncio.open_connection(self._host, self._upstream_port))
            await self._both_ways(_Line(), *opened)
        except OSError:
            pass  # either side has gone: so does the other
        finally:
            for _, writer in opened:
                _reset(writer)

    async def _both_ways(self, line: _Line, client: _End, server: _End) -> None:
        """Carry until either way has ended."""
        ways = [
            asyncio.create_task(self._carry_requests(line, client[0], server[1])),
            asyncio.create_task(self._carry_answers(line, server[0], client[1])),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _carry_requests(
        self, line: _Line, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while piece := await reader.read(_PIECE):
            first, _, _ = piece.partition(b"\r\n")
            cut = next((one for one in self._cuts if one.path in first), None)
            if cut is not None:
                self._cuts.remove(cut)
                line.cut = cut
            await self._pass_on(piece, writer)

    async def _carry_answers(
        self, line: _Line, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while piece := await reader.read(_PIECE):
            if line.cut is not None:
                await self._pass_on(piece[: int(len(piece) * line.cut.arrives)], writer)
                line.cut.happened.set()
                return
            await self._pass_on(piece, writer)

    async def _pass_on(self, piece: bytes, writer: asyncio.StreamWriter) -> None:
        await self._flows.wait()
        writer.write(piece)
        await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a line as a broken one ends, not in order."""
    line = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_ONCE)
    writer.transport.abort()
