"""One world in several processes: each runs some of the servers, and their clocks go together.

No process goes further than the shortest way between two of them takes, beyond the earliest thing
that any of them has to do; so nothing ever arrives in somebody's past, and the same seed tells the
same story. What passes from one process to another is a parcel; a box and its answer are two.
"""

import asyncio
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from federation.transport.interface import Receive
from homeserver import errors
from homeserver.testing.network import CALM, Link, Network
from homeserver.testing.runs import Crashed
from homeserver.testing.virtual_time import VirtualLoop

WAY_S = CALM.latency_s

# (which shard, when it arrives, what kind, content)
Parcel = tuple[int, float, str, Any]


class ShardFailed(Exception):
    """One of the processes ended before its story did."""


@dataclass(slots=True)
class Shard:
    """One of `count` processes, as the world in it sees the others."""

    number: int
    count: int
    pipe: "Connection[Any, Any] | None" = None
    take: dict[str, Callable[[Any], None]] = field(default_factory=dict)
    _horizon: float = 0.0
    _leaving: list[Parcel] = field(default_factory=list)
    _loop: asyncio.AbstractEventLoop | None = None

    def of(self, place: int) -> int:
        """Which shard runs the server at this place in the list of all."""
        return place % self.count

    def join(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let this loop's time pass only together with the others'."""
        self._loop = loop
        if self.pipe is not None and isinstance(loop, VirtualLoop):
            loop.may_jump = self._may_jump

    def post(self, shard: int, kind: str, content: Any) -> None:
        """Send something to the world of another shard, or to our own."""
        loop = asyncio.get_running_loop()
        arrival = loop.time() + WAY_S
        if shard == self.number:
            loop.call_at(arrival, self.take[kind], content)
        else:
            self._leaving.append((shard, arrival, kind, content))

    def _may_jump(self, target: float) -> float:
        if self.pipe is None or self._loop is None:
            return target
        while target >= self._horizon:
            self.pipe.send((target, self._leaving))
            self._leaving = []
            self._horizon, parcels = self.pipe.recv()
            # Nothing of what comes is in the past: see `Conductor`.
            for _, arrival, kind, content in parcels:
                self._loop.call_at(arrival, self.take[kind], content)
                target = min(target, arrival)
            if self._horizon == math.inf:
                break
        return target


class ShardedNetwork(Network):
    """A network on which some servers are in other processes. It keeps count, and no list."""

    def __init__(self, seed: object, shard: Shard, names: Sequence[str]) -> None:
        super().__init__(seed)
        self.boxes = self.bytes = 0
        self._shard = shard
        self._homes = {name: shard.of(place) for place, name in enumerate(names)}
        self._numbers = itertools.count()
        self._asked: dict[int, asyncio.Future[bytes | None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        shard.take |= {"box": self._take_box, "answer": self._take_answer}
        for name, home in self._homes.items():
            if home != shard.number:
                self.listen(route_of(name), name, self._forward(name))

    def link(self, source: str, target: str) -> Link:
        """The way from one server to another; between shards the parcel takes the time."""
        is_first = (source, target) not in self._links
        link = super().link(source, target)
        if is_first and self._homes[source] != self._homes[target]:
            self.one_way(source, target, latency_s=0.0)
        return link

    def _forward(self, name: str) -> Receive:
        async def forward(address: bytes, box: bytes, _socket: Any) -> bytes | None:
            number = next(self._numbers)
            future: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
            self._asked[number] = future
            sent = (self._shard.number, number, name, address, box)
            self._shard.post(self._homes[name], "box", sent)
            try:
                return await future
            finally:
                del self._asked[number]

        return forward

    def _take_box(self, sent: Any) -> None:
        task = asyncio.get_running_loop().create_task(self._answer(*sent))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, shard: int, number: int, name: str, address: bytes, box: bytes) -> None:
        found = self._listening.get(route_of(name))
        try:
            answer = None if found is None else await found[1](address, box, None)
        except (Crashed, errors.PeerUnreachable):
            return  # silence: the caller gives up by itself
        self._shard.post(shard, "answer", (number, answer))

    def _take_answer(self, came: Any) -> None:
        number, answer = came
        future = self._asked.get(number)
        if future is not None and not future.done():
            future.set_result(answer)

    def _note(self, *passage: Any) -> None:
        self.boxes += 1
        self.bytes += passage[4]


def route_of(name: str) -> str:
    """Where a simulated server is found."""
    return f"http://{name}.test"


class Conductor:
    """Lets the shards' time pass together, until each has sent ("done", its result)."""

    def __init__(self, pipes: Sequence["Connection[Any, Any]"]) -> None:
        self._pipes = dict(enumerate(pipes))
        self._waiting: dict[int, list[Parcel]] = {number: [] for number in self._pipes}
        self._results: dict[int, Any] = {}

    def conduct(self) -> list[Any]:
        """Conduct to the end; every shard's result."""
        count = len(self._pipes)
        while self._pipes:
            targets = [self._hear(number) for number in tuple(self._pipes)]
            arrivals = [parcel[1] for waiting in self._waiting.values() for parcel in waiting]
            horizon = min(*targets, *arrivals, math.inf) + WAY_S
            for number, pipe in self._pipes.items():
                pipe.send((horizon, self._waiting[number]))
                self._waiting[number] = []
        return [self._results[number] for number in range(count)]

    def _hear(self, number: int) -> float:
        """Until when this shard has nothing to do; what it sends to others is kept for them."""
        try:
            target, content = self._pipes[number].recv()
        except EOFError as error:
            raise ShardFailed("a process of the simulation ended early") from error
        if target == "done":
            self._results[number] = content
            del self._pipes[number]
            return math.inf
        for parcel in content:
            self._waiting[parcel[0]].append(parcel)
        return float(target)
