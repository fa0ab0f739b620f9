"""Direct delivery over HTTP: POST to a peer's address, and the one route that receives.

Everything that is not a box for an address of ours gets the same answer, byte for byte.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Protocol

from aiohttp import web

from federation.envelope import SIZES
from federation.transport.interface import Refused
from federation.transport.strangers import Strangers
from homeserver import errors
from homeserver.outbound import Outbound

PATH = "/_federation/v1/deliver/"
_ADDRESS = re.compile(r"/_federation/v1/deliver/([0-9a-f]{32})")
_NO_ADDRESS = bytes(16)
_READ_SECONDS = 10
_TYPE = "application/octet-stream"
REFUSAL_STATUS = 404
# As long as the smallest box: a size on the wire never tells more than the five do.
REFUSAL_BODY = b"nothing here\n".ljust(SIZES[0])


class Serve(Protocol):
    """`Receive` for what may come from anybody."""

    async def __call__(
        self,
        address: bytes,
        box: bytes,
        socket: asyncio.BaseTransport | None,
        *,
        is_limited: bool = False,
    ) -> bytes | None:
        """Who has tried too often is limited: he may begin nothing; a peer is served all the same.

        See `interface.Receive` for the rest.
        """
        ...


class HttpTransport:
    """Delivers boxes by POST, over connections that stay open."""

    def __init__(self, outbound: Outbound) -> None:
        self._outbound = outbound

    async def deliver(
        self, party: str, route: str, address: bytes, box: bytes, timeout_s: float, *, grant: str
    ) -> bytes:
        """POST a box to an address; at most the largest box is read of the answer."""
        answer = await self._outbound.post(
            route + PATH + address.hex(),
            box,
            grant=grant,
            party=party,
            timeout_s=timeout_s,
            most_bytes=SIZES[-1],
            headers={"Content-Type": _TYPE},
        )
        if answer.status != 200:  # noqa: PLR2004 - HTTP's word for success
            raise Refused
        return answer.body

    async def hang_up(self, party: str) -> None:
        """Close the sockets to one party."""
        await self._outbound.close_party(party)


class FederationDoor:
    """The only thing of ours that strangers can reach."""

    def __init__(self, receive: Serve, strangers: Strangers | None = None) -> None:
        self._receive = receive
        self._strangers = strangers

    def attach(self, application: web.Application) -> None:
        """Answer everything below `/_federation`, whatever the method, and what has no path."""
        for path in ("/_federation", "/_federation/{rest:.*}"):
            application.router.add_route("*", path, self.answer, expect_handler=_expect_nothing)
        application.middlewares.insert(0, self._refuse_tunnels)
        application.on_response_prepare.append(_say_nothing)

    async def answer(self, request: web.Request) -> web.Response:
        """Take one delivery. Every request costs the same: a body read, one box opened."""
        body = await _read_body(request)
        match = _ADDRESS.fullmatch(request.rel_url.raw_path)
        is_delivery = match is not None and request.method == "POST" and not request.query_string
        address = bytes.fromhex(match[1]) if match is not None and is_delivery else _NO_ADDRESS
        answer = None
        if body is not None:
            is_limited = not self._may_try(request)
            answer = await self._receive(address, body, request.transport, is_limited=is_limited)
        if answer is None:
            return self._refuse(request)
        return web.Response(body=answer, content_type=_TYPE)

    def note_asked(self, socket: asyncio.BaseTransport | None) -> None:
        """Somebody with an invitation was answered, which costs more than a refusal: it counts."""
        peer_name = None if socket is None else socket.get_extra_info("peername")
        if self._strangers is not None and isinstance(peer_name, tuple):
            self._strangers.note_try(peer_name[0])

    def _refuse(self, request: web.Request) -> web.Response:
        self._note_refusal(request)
        return web.Response(status=REFUSAL_STATUS, body=REFUSAL_BODY, content_type="text/plain")

    @web.middleware
    async def _refuse_tunnels(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """CONNECT names no path that a route could match, and its body never ends."""
        return self._refuse(request) if request.method == "CONNECT" else await handler(request)

    def _may_try(self, request: web.Request) -> bool:
        return self._strangers is None or self._strangers.may_try(request.remote)

    def _note_refusal(self, request: web.Request) -> None:
        if self._strangers is not None:
            self._strangers.note_try(request.remote)


async def _read_body(request: web.Request) -> bytes | None:
    """The body if it has the size of a box, read within ten seconds."""
    most = SIZES[-1]
    if request.content_length is not None and request.content_length > most:
        return None
    body = bytearray()
    try:
        async with asyncio.timeout(_READ_SECONDS):
            async for part in request.content.iter_any():
                body += part
                if len(body) > most:
                    return None
    except (TimeoutError, ConnectionError, web.RequestPayloadError, errors.HomeserverError):
        return None
    return bytes(body) if len(body) in SIZES else None


async def _expect_nothing(_request: web.Request) -> None:
    """Neither `100 Continue` nor `417`: what somebody expects changes no byte of the answer."""


async def _say_nothing(request: web.Request, response: web.StreamResponse) -> None:
    """No header may tell what answers: neither our software nor the second it answered in."""
    if request.path.startswith("/_federation") or request.method == "CONNECT":
        for name in tuple(response.headers):
            if name not in ("Content-Type", "Content-Length", "Connection", "Transfer-Encoding"):
                del response.headers[name]
