"""One run of a server, from its start to its end: every task that belongs to it, however begun.

A task belongs to the run in whose context it was made. So a crash can end all of them at once, in
the middle of whatever they do, as a power cut would.
"""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from homeserver import crash_points
from homeserver.crash_points import Point

T = TypeVar("T")

_MOST_ROUNDS = 1_000


class Crashed(ConnectionError):
    """The server went down before it answered."""


class Run:
    """The tasks of one run."""

    def __init__(self, server: str) -> None:
        self.server = server
        self.is_over = False
        self.when_over: list[Callable[[], None]] = []
        self.reaches: Callable[[Point], bool] = _goes_on
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self.context = contextvars.copy_context()
        self.context.run(CURRENT.set, self)

    def adopt(self, task: "asyncio.Task[Any]") -> None:
        """Take a task in; one that comes after the end is cancelled."""
        self._tasks[task] = None
        task.add_done_callback(self._forget)
        if self.is_over:
            task.cancel()

    async def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Let this server do something and await it; raises `Crashed` if it goes down meanwhile."""
        if self.is_over:
            work.close()
            raise Crashed(self.server)
        task = asyncio.get_running_loop().create_task(work, context=self.context)
        try:
            return await task
        except asyncio.CancelledError:
            if self.is_over and not _is_cancelled():
                raise Crashed(self.server) from None
            raise

    def cut(self) -> None:
        """Nothing of this run matters any more. `clear` ends what still hangs."""
        self.is_over = True
        for tell in self.when_over:
            tell()
        self.when_over.clear()

    async def clear(self) -> None:
        """End every task; cleaning up cannot keep one alive."""
        for _ in range(_MOST_ROUNDS):
            if not self._tasks:
                return
            for task in tuple(self._tasks):
                task.cancel()
            await asyncio.sleep(0)
        raise RuntimeError(f"{self.server} does not end: {[str(task) for task in self._tasks]}")

    def _forget(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.pop(task, None)
        if self.is_over and not task.cancelled():
            task.exception()  # what fails while everything ends interests nobody


def _goes_on(_point: Point) -> bool:
    return False


def _reach(point: Point) -> None:
    """A server is at a crash point; if the power goes there, not one step more is taken."""
    run = CURRENT.get()
    if run is not None and run.reaches(point):
        raise asyncio.CancelledError


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


crash_points.arm(_reach)

CURRENT: contextvars.ContextVar[Run | None] = contextvars.ContextVar("run", default=None)
