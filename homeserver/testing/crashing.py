"""Crash a server at every step of a story: at each commit boundary, and at each named point.

Nothing needs a list: the story is told again and again, and each time the server goes down one
boundary later, until it gets through. `crash_points.Point` names the steps between the commits.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import aiohttp

from homeserver.crash_points import Point
from homeserver.testing.simulated_server import SimulatedServer, never
from homeserver.testing.watched_database import Boundary
from homeserver.testing.world import World

# Told with the number of the try. It may be told twice with the same number, as a client asks
# again that got no answer; so it names its own transactions.
Story = Callable[[int], Awaitable[object]]
Plan = Callable[[Boundary], bool]

_MOST = 500


async def crash_everywhere(
    world: World, server: SimulatedServer, story: Story, step: int = 1
) -> list[Boundary]:
    """Crash at each commit boundary in turn, then at each named point that the story passes.

    Each time restart, tell the story again, let it settle. Returns where it crashed. A larger step
    leaves commit boundaries out.
    """
    crashed: list[Boundary] = []
    for number in range(0, _MOST, step):
        where = await crash_once(world, server, story, number)
        if where is None:
            break
        crashed.append(where)
    else:
        raise AssertionError(f"{server.name} still crashes after {_MOST} boundaries")
    return crashed + await crash_at_points(world, server, story)


async def crash_at_points(world: World, server: SimulatedServer, story: Story) -> list[Boundary]:
    """Crash at each named point that the story passes on this server, as in `crash_everywhere`."""
    with passing(server) as passed:
        await story(_MOST)
        await world.settle()
    crashed = []
    for number, point in enumerate([point for point in Point if point in passed], _MOST + 1):
        where = await _crash(world, server, story, number, CrashAt(point))
        if where is not None:
            crashed.append(where)
    return crashed


async def crash_once(
    world: World, server: SimulatedServer, story: Story, number: int
) -> Boundary | None:
    """Crash at the boundary with this number, counted from now; None if there are not so many."""
    return await _crash(world, server, story, number, CrashAfter(number))


@contextmanager
def passing(*servers: SimulatedServer) -> Iterator[set[Point]]:
    """The named points that these servers pass, gathered while the block runs; nobody crashes."""
    passed: set[Point] = set()

    def note(where: Boundary) -> bool:
        if where.side == "at":
            passed.add(Point(where.work))
        return False

    for server in servers:
        server.crash_at = note
    yield passed
    for server in servers:
        server.crash_at = never


async def _crash(
    world: World,
    server: SimulatedServer,
    story: Story,
    number: int,
    plan: "CrashAfter | CrashAt",
) -> Boundary | None:
    server.crash_at = plan
    try:
        await story(number)
        await world.settle()
    except aiohttp.ClientError:
        if server.is_running:
            raise
    server.crash_at = never
    if plan.where is None:
        return None
    await server.start()
    await story(number)
    await world.check_healed()
    return plan.where


class CrashAfter:
    """A plan: let so many commit boundaries pass, and crash at the next."""

    def __init__(self, count: int) -> None:
        self.where: Boundary | None = None
        self._left = count

    def __call__(self, boundary: Boundary) -> bool:
        """Whether this is the one."""
        if boundary.side == "at":
            return False
        self._left -= 1
        if self._left >= 0 or self.where is not None:
            return False
        self.where = boundary
        return True


class CrashAt:
    """A plan: crash at a named point."""

    def __init__(self, point: Point) -> None:
        self.where: Boundary | None = None
        self._point = point

    def __call__(self, boundary: Boundary) -> bool:
        """Whether this is the one."""
        if self.where is not None or boundary.side != "at" or boundary.work != self._point:
            return False
        self.where = boundary
        return True
