"""What a transport is: bytes to an address at a route, bytes back."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from homeserver import errors

# The grant that a box is sent under whose connection was ended in this moment.
FAREWELL = "farewell"


class Refused(errors.PeerUnreachable):
    """The other side gave the one answer that says nothing."""


# Takes an address and a box; the answer, or None for the refusal. The socket, where there is one,
# is closed when the connection ends.
Receive = Callable[[bytes, bytes, asyncio.BaseTransport | None], Awaitable[bytes | None]]


class Transport(Protocol):
    """Carries boxes. Sees nothing else."""

    async def deliver(
        self, party: str, route: str, address: bytes, box: bytes, timeout_s: float, *, grant: str
    ) -> bytes:
        """Deliver a box and return the answer; raises `PeerUnreachable` or `Refused`.

        `grant` is what the party has that allows it: a connection, an invitation, last words.
        """
        ...

    async def hang_up(self, party: str) -> None:
        """Close whatever is open to one party."""
        ...
