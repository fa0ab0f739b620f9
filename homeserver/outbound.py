"""The one place that opens connections to the outside. Every call names the grant it uses.

Each party has connections of its own, so that pausing one closes its sockets and nobody else's.
Redirects are never followed; no cookie, no user agent, no proxy of the environment.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import aiohttp

from homeserver import errors, metrics

# Whether a party has a grant at this moment.
Asked = Callable[[str], bool]

_CONNECT_SECONDS = 10
_KEEP_ALIVE_SECONDS = 60
_SOCKETS_A_PARTY = 8


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    body: bytes


class NotPermitted(errors.PeerUnreachable):
    """The party does not have the grant, or no more."""


class Outbound:
    """Connections to the outside, by party. None leads anywhere until a grant is permitted."""

    def __init__(self) -> None:
        self._sessions: dict[str, aiohttp.ClientSession] = {}
        self._grants: dict[str, Asked] = {}

    def permit(self, grant: str, asked: Asked) -> None:
        """Say who is asked whether a party has a grant. At the wiring."""
        self._grants[grant] = asked

    async def post(  # noqa: PLR0913 - each of these bounds what the call may do
        self,
        url: str,
        body: bytes,
        *,
        grant: str,
        party: str,
        timeout_s: float,
        most_bytes: int,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """POST a body and read at most so many bytes of the answer.

        Raises `PeerUnreachable` for everything that goes wrong on the way, and where the party
        does not have the grant.
        """
        asked = self._grants.get(grant)
        if asked is None:
            raise ValueError(f"Nothing may be sent under the grant {grant!r}.")
        if not asked(party):
            metrics.bump("outbound_not_permitted")
            raise NotPermitted
        metrics.bump("outbound_requests")
        timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=_CONNECT_SECONDS)
        try:
            async with self._session(party).post(
                url, data=body, headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                return Answer(response.status, await _read(response, most_bytes))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise errors.PeerUnreachable from error

    async def close_party(self, party: str) -> None:
        """Close every socket to one party."""
        session = self._sessions.pop(party, None)
        if session is not None:
            await session.close()

    async def close(self) -> None:
        """Close every socket."""
        for party in tuple(self._sessions):
            await self.close_party(party)

    def _session(self, party: str) -> aiohttp.ClientSession:
        session = self._sessions.get(party)
        if session is None:
            session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=_SOCKETS_A_PARTY, keepalive_timeout=_KEEP_ALIVE_SECONDS
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
                auto_decompress=False,
                trust_env=False,
                loop=asyncio.get_running_loop(),
            )
            self._sessions[party] = session
        return session


async def _read(response: aiohttp.ClientResponse, most_bytes: int) -> bytes:
    parts, size = [], 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > most_bytes:
            response.close()
            raise errors.PeerUnreachable
        parts.append(part)
    return b"".join(parts)
