"""Wait for one thing or another, on the server's own clock."""

import asyncio
from typing import Any, TypeVar

from homeserver.ports import Clock

T = TypeVar("T")


async def wait_for(event: asyncio.Event, clock: Clock, seconds: float) -> None:
    """Wait until the event is set, or so many seconds."""
    await first_of(asyncio.ensure_future(event.wait()), clock, seconds)


async def first_of(future: "asyncio.Future[T]", clock: Clock, seconds: float) -> bool:
    """Wait for a future or so many seconds; whether the future was done. It is cancelled if not.

    `asyncio.timeout` would measure on the event loop's clock, which no test can move.
    """
    sleeper = asyncio.ensure_future(clock.sleep(seconds))
    either: set[asyncio.Future[Any]] = {future, sleeper}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        return future.done()
    finally:
        sleeper.cancel()
        if not future.done():
            future.cancel()
