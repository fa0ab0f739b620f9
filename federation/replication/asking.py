"""How replication asks a peer: a function, so that tests can answer in its place."""

from typing import Protocol

from homeserver import errors
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import ServerName
from homeserver.ports import Clock

_FIRST_PAUSE_S = 1.0
_MOST_TRIES = 5


class Ask(Protocol):
    """Ask a peer by an operation's name and await its answer; see `ports.PeerNetwork.ask`."""

    async def __call__(
        self, peer: ServerName, operation: str, body: JsonObject, timeout_s: float = 20.0
    ) -> JsonObject:
        """Raise PeerUnreachable or PeerRefused where there is no answer."""
        ...


class AskForBytes(Protocol):
    """Ask a peer and await its answer with the bytes that are attached to it."""

    async def __call__(
        self, peer: ServerName, operation: str, body: JsonObject, timeout_s: float = 20.0
    ) -> tuple[JsonObject, bytes]:
        """Raise PeerUnreachable or PeerRefused where there is no answer."""
        ...


class Patient:
    """Asks again a few times if the peer cannot be reached or has no time; up to some moment.

    For what is asked because of something the peer sent: mostly it is awake, and the line bad.
    `until` is a reading of the clock's `monotonic`, after which nothing is asked or awaited.
    """

    def __init__(self, ask: Ask, clock: Clock, until: float) -> None:
        self._ask = ask
        self._clock = clock
        self._until = until

    async def __call__(
        self, peer: ServerName, operation: str, body: JsonObject, timeout_s: float = 20.0
    ) -> JsonObject:
        """Raise PeerUnreachable if five tries were in vain, or there is no time left."""
        pause = _FIRST_PAUSE_S
        for _ in range(_MOST_TRIES):
            within_s = min(timeout_s, self._left_s())
            if within_s <= 0:
                break
            try:
                return await self._ask(peer, operation, body, within_s)
            except errors.PeerUnreachable:
                pass
            except errors.PeerRefused as refusal:
                if refusal.extra.get("peer_errcode") != errors.LimitExceeded.errcode:
                    raise
            await self._clock.sleep(max(0.0, min(pause, self._left_s())))
            pause *= 2
        raise errors.PeerUnreachable

    def _left_s(self) -> float:
        return self._until - self._clock.monotonic()
