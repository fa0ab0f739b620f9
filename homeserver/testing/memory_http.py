"""HTTP without sockets: a client's real connection to a server's real parser, within one loop."""

import asyncio
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.client_proto import ResponseHandler

from homeserver.testing.runs import Run


class MemoryConnector(aiohttp.BaseConnector):
    """Connects every request of a client session to one application."""

    def __init__(self, listener: "Listener") -> None:
        super().__init__()
        self._listener = listener

    async def _create_connection(self, *_request: Any, **_options: Any) -> ResponseHandler:
        near = self._factory()
        self._listener.accept(near)
        return near


class Listener:
    """Where a server's clients come in, over all its runs."""

    def __init__(self) -> None:
        self._server: web.Server | None = None
        self._run: Run | None = None
        self._open: set[Pipe] = set()

    def open(self, server: web.Server, run: Run) -> None:
        """Serve clients from now on, as long as the run goes on."""
        self._server, self._run = server, run
        run.when_over.append(self.shut)

    def shut(self) -> None:
        """Cut every connection and take no more."""
        self._server = self._run = None
        for pipe in tuple(self._open):
            pipe.abort()
        self._open.clear()

    def accept(self, near: asyncio.Protocol) -> None:
        """Connect a client."""
        if self._server is None or self._run is None:
            raise aiohttp.ClientConnectionError("The server is not running.")
        far = self._server()
        context = self._run.context
        to_near, to_far = Pipe(near, None), Pipe(far, context)
        to_near.other, to_far.other = to_far, to_near
        near.connection_made(to_far)
        context.run(far.connection_made, to_near)
        self._open.add(to_far)
        to_far.when_closed = self._open.discard


class Pipe(asyncio.Transport):
    """One direction of a connection: what is written here, the protocol reads."""

    def __init__(self, reader: asyncio.Protocol, context: Any) -> None:
        super().__init__({"peername": ("127.0.0.1", 0)})
        self._reader = reader
        self._context = context
        self._is_closed = False
        self.other: Pipe | None = None
        self.when_closed: Any = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Let the other side read this in its own time."""
        if not self._is_closed:
            self._soon(self._give, bytes(data))

    def close(self) -> None:
        """Close both directions, after what was written."""
        if self._is_closed:
            return
        self._is_closed = True
        self._soon(self._reader.connection_lost, None)
        if self.when_closed is not None:
            self.when_closed(self)
        if self.other is not None:
            self.other.close()

    def abort(self) -> None:
        """Close at once."""
        self.close()

    def is_closing(self) -> bool:
        """Whether nothing more can be written."""
        return self._is_closed

    def can_write_eof(self) -> bool:
        """One direction is never closed alone."""
        return False

    def get_write_buffer_size(self) -> int:
        """Nothing waits here."""
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """There is no buffer to limit."""

    def _give(self, content: bytes) -> None:
        self._reader.data_received(content)

    def _soon(self, call: Any, *arguments: Any) -> None:
        asyncio.get_running_loop().call_soon(call, *arguments, context=self._context)
