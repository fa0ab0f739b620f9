"""Time that passes when nobody has anything to do: an hour of pauses takes as long as its work.

An event loop whose clock jumps to the next timer as soon as nothing is ready. What would go to a
thread runs at once, so that nothing but the order of the callbacks decides what happens.
"""

import asyncio
import math
import selectors
from collections.abc import Callable, Mapping
from typing import Any

from homeserver.testing import runs

START_MS = 1_750_000_000_000  # 15 June 2025, when every simulation begins
_MS = 1000


class NobodyIsLeft(RuntimeError):
    """Everybody waits for something that nobody is going to do."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on virtual time."""

    def __init__(self) -> None:
        self._now = 0.0
        self.may_jump: Callable[[float], float] = float  # asked how far, before each jump
        super().__init__(_Jumping(self))

    def time(self) -> float:
        """Seconds since the simulation began."""
        return self._now

    def jump(self, seconds: float | None) -> None:
        """Nothing is ready before this long from now, so let it be then."""
        target = math.inf if seconds is None else self._now + seconds
        reached = self.may_jump(target)
        if reached == math.inf:
            raise NobodyIsLeft(NobodyIsLeft.__doc__)
        self._now = reached

    def create_task(self, coro: Any, **options: Any) -> "asyncio.Task[Any]":
        """Make a task; it belongs to the run of the server in whose context it is made."""
        task = super().create_task(coro, **options)
        context = options.get("context")
        run = runs.CURRENT.get() if context is None else context.get(runs.CURRENT)
        if run is not None:
            run.adopt(task)
        return task

    async def sendfile(self, *_arguments: Any, **_options: Any) -> int:
        """Refuse: there is no socket, and whoever asks sends the file as bytes then."""
        raise NotImplementedError

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> "asyncio.Future[Any]":
        """Run it here and now."""
        del executor
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - it belongs to whoever awaits it
            future.set_exception(error)
        return future


class _Jumping(selectors.BaseSelector):
    """Looks at real files without waiting for them, and lets virtual time pass instead."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._real = selectors.DefaultSelector()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._real.select(0)
        if ready or timeout == 0:
            return ready
        self._loop.jump(timeout)
        return ready

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()


class VirtualClock:
    """One server's clock on virtual time. It may be wrong, and may be put right or wrong."""

    def __init__(self) -> None:
        self.skew_s = 0.0

    def now_ms(self) -> int:
        """What this server takes for the time: milliseconds since 1970."""
        return START_MS + int((self._seconds() + self.skew_s) * _MS)

    def monotonic(self) -> float:
        """Seconds that never go back, whatever the clock on the wall does."""
        return self._seconds()

    async def sleep(self, seconds: float) -> None:
        """Wait, in virtual time."""
        await asyncio.sleep(seconds)

    @staticmethod
    def _seconds() -> float:
        return asyncio.get_running_loop().time()
