"""What the core asks of the world: time, chance, and the peers it is connected to.

The core never imports `federation`. What must reach a peer is a row in the outbox; the few
questions that cannot wait go through `PeerNetwork`.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import DeviceId, ServerName, UserId


@dataclass(frozen=True, slots=True)
class Requester:
    """Whoever makes a request: a logged-in device of the owner."""

    user_id: UserId
    device_id: DeviceId


class Clock(Protocol):
    """The only source of time."""

    def now_ms(self) -> int:
        """Milliseconds since 1970, as `origin_server_ts` wants them."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back, for measuring how long something took."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class Entropy(Protocol):
    """The only source of chance (the Olm libraries draw their own)."""

    def token_bytes(self, count: int) -> bytes:
        """Unpredictable bytes."""
        ...

    def random(self) -> float:
        """A number in [0, 1), for jitter."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now_ms(self) -> int:
        """Milliseconds since 1970."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Seconds since some start."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait on the event loop."""
        await asyncio.sleep(seconds)


class SystemEntropy:
    """The machine's own chance."""

    def token_bytes(self, count: int) -> bytes:
        """Unpredictable bytes."""
        return secrets.token_bytes(count)

    def random(self) -> float:
        """A number in [0, 1)."""
        return secrets.SystemRandom().random()


@dataclass(frozen=True, slots=True)
class PeerFile:
    """A file that a peer is sending: its kind, name, size in bytes and its parts."""

    content_type: str
    filename: str | None
    size: int
    parts: AsyncIterator[bytes]


class PeerNetwork(Protocol):
    """Questions to peers that cannot wait in the outbox.

    Every method raises `PeerUnreachable` where no answer comes in time and `PeerRefused` where
    the peer says no; none may be awaited while a unit of work is open.
    """

    def is_awake(self, peer: ServerName) -> bool:
        """Whether the peer was heard from so recently that asking is likely to be quick."""
        ...

    async def ask(
        self, peer: ServerName, operation: str, body: JsonObject, timeout_s: float = 20.0
    ) -> JsonObject:
        """Ask a connected peer by an operation's name from federation.md (`make_join`, …).

        The answer to `send_join` holds the whole state, however many pages it came in.
        """
        ...

    async def fetch_media(self, peer: ServerName, media_id: str) -> PeerFile:
        """Fetch a file that the peer's owner uploaded."""
        ...

    def tell_now(self, peer: ServerName, edu: JsonObject) -> None:
        """Send something that is worthless later (typing): dropped when it cannot go at once."""
        ...
