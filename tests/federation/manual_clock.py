"""Time that moves only when a test says so."""

import asyncio
import heapq
import itertools
from collections.abc import Callable

_TURNS = 60


class ManualClock:
    """Sleepers wake in the order of their time, each after everything before has settled."""

    def __init__(self) -> None:
        self._seconds = 1_700_000_000.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = itertools.count()

    def now_ms(self) -> int:
        return int(self._seconds * 1000)

    def monotonic(self) -> float:
        return self._seconds

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        due = self._seconds + max(0.0, seconds)
        heapq.heappush(self._sleepers, (due, next(self._count), future))
        await future

    async def settle(self) -> None:
        """Let everything run that can run without time passing."""
        for _ in range(_TURNS):
            await asyncio.sleep(0)

    async def advance(self, seconds: float) -> None:
        """Let time pass."""
        until = self._seconds + seconds
        await self.settle()
        while self._sleepers and self._sleepers[0][0] <= until:
            await self._wake_next()
        self._seconds = until
        await self.settle()

    async def until(self, is_so: Callable[[], bool], *, within: float = 3_600.0) -> None:
        """Let time pass until something is so."""
        end = self._seconds + within
        await self.settle()
        while not is_so():
            assert self._sleepers, "nothing is left to happen"
            assert self._sleepers[0][0] <= end, "it did not happen in time"
            await self._wake_next()

    async def _wake_next(self) -> None:
        due, _, future = heapq.heappop(self._sleepers)
        if future.done():
            return
        self._seconds = max(self._seconds, due)
        future.set_result(None)
        await self.settle()
