"""Crash a server at every commit boundary of a story, one after the other.

The boundaries need no list: the story is told again and again, and each time the server goes down
one boundary later, until it gets through.
"""

from collections.abc import Awaitable, Callable

import aiohttp

from homeserver.testing.simulated_server import SimulatedServer
from homeserver.testing.watched_database import Boundary
from homeserver.testing.world import World

# Told with the number of the try. It may be told twice with the same number, as a client asks
# again that got no answer; so it names its own transactions.
Story = Callable[[int], Awaitable[object]]

_MOST = 500


async def crash_everywhere(
    world: World, server: SimulatedServer, story: Story, step: int = 1
) -> list[Boundary]:
    """Crash at each boundary in turn, restart, tell the story again, let it settle.

    Returns where it crashed. A larger step leaves boundaries out.
    """
    crashed: list[Boundary] = []
    for number in range(0, _MOST, step):
        where = await crash_once(world, server, story, number)
        if where is None:
            return crashed
        crashed.append(where)
    raise AssertionError(f"{server.name} still crashes after {_MOST} boundaries")


async def crash_once(
    world: World, server: SimulatedServer, story: Story, number: int
) -> Boundary | None:
    """Crash at the boundary with this number, counted from now; None if there are not so many."""
    plan = CrashAfter(number)
    server.crash_at = plan
    try:
        await story(number)
        await world.settle()
    except aiohttp.ClientError:
        if server.is_running:
            raise
    server.crash_at = _never
    if plan.where is None:
        return None
    await server.start()
    await story(number)
    await world.check_healed()
    return plan.where


class CrashAfter:
    """A plan: let so many boundaries pass, and crash at the next."""

    def __init__(self, count: int) -> None:
        self.where: Boundary | None = None
        self._left = count

    def __call__(self, boundary: Boundary) -> bool:
        """Whether this is the one."""
        self._left -= 1
        if self._left >= 0 or self.where is not None:
            return False
        self.where = boundary
        return True


def _never(_boundary: Boundary) -> bool:
    return False
