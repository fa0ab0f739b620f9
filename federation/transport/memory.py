"""A transport within one process, where a test decides what is lost, delayed or doubled."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from federation.transport.interface import Receive, Refused
from homeserver import errors

# Sees each delivery before it happens and each answer before it is returned; may raise
# `PeerUnreachable`, wait, or note the bytes.
Interfere = Callable[["Passing"], Awaitable[None]]


@dataclass(slots=True)
class Passing:
    """One box on its way; `answer` is set on the way back. Changing the bytes tampers with it."""

    party: str
    route: str
    address: bytes
    box: bytes
    answer: bytes | None = None
    is_doubled: bool = False


async def _nothing(_passing: Passing) -> None:
    return None


@dataclass(slots=True)
class MemoryNetwork:
    """Routes to servers of the same process."""

    before: Interfere = _nothing
    after: Interfere = _nothing
    receivers: dict[str, Receive] = field(default_factory=dict)

    async def deliver(
        self, party: str, route: str, address: bytes, box: bytes, timeout_s: float, *, grant: str
    ) -> bytes:
        """Hand a box to whoever listens at the route."""
        del timeout_s, grant
        passing = Passing(party, route, address, box)
        await self.before(passing)
        passing.answer = await self._hand_over(passing)
        if passing.is_doubled:
            passing.answer = await self._hand_over(passing)
        await self.after(passing)
        if passing.answer is None:
            raise Refused
        return passing.answer

    async def hang_up(self, party: str) -> None:
        """There is nothing open between deliveries."""

    async def _hand_over(self, passing: Passing) -> bytes | None:
        receive = self.receivers.get(passing.route)
        if receive is None:
            raise errors.PeerUnreachable
        return await receive(passing.address, passing.box, None)
