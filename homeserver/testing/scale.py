"""Measures very many servers: start them, connect them, and let them talk.

The servers are whole; passwords cost nothing, nobody waits for a disk, and the ratchets are the
stand-in (`fast_ratchets`) unless the plan says otherwise. Everything is done, and checked, through
the client and the admin API.
"""

import asyncio
import contextlib
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from homeserver.testing import processes, scale_plan, thrift
from homeserver.testing.fast_ratchets import FastRatchets
from homeserver.testing.person import Person
from homeserver.testing.scale_plan import Group, Plan
from homeserver.testing.shards import Conductor, Shard, ShardedNetwork
from homeserver.testing.thrift import Thrift
from homeserver.testing.world import World

_PHASE_S = 30.0  # virtual seconds, far more than any phase needs
_AT_ONCE = 50
_TRIES_TO_JOIN = 5


@dataclass(frozen=True, slots=True)
class Phase:
    """What one phase took, in one process or in all."""

    name: str
    wall_s: float
    cpu_s: float
    boxes: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Measured:
    """What a run took. Memory is what the servers hold, and all that the processes did at most."""

    plan: Plan
    processes: int
    connected: int
    messages: int
    phases: list[Phase]
    servers_mib: float
    peak_mib: float

    @property
    def counted(self) -> list[Phase]:
        """The phases of the measurement; checking afterwards is none."""
        return [one for one in self.phases if one.name != "check"]

    @property
    def wall_s(self) -> float:
        """How long it took."""
        return sum(one.wall_s for one in self.counted)

    def phase(self, name: str) -> Phase:
        """One phase."""
        return next(one for one in self.phases if one.name == name)


@dataclass(slots=True)
class _Part:
    """One process's part of a run."""

    plan: Plan
    shard: Shard
    world: World
    network: ShardedNetwork
    phases: list[Phase] = field(default_factory=list)
    people: dict[int, Person] = field(default_factory=dict)
    user_ids: dict[int, str] = field(default_factory=dict)
    links: list[tuple[int, str]] = field(default_factory=list)
    rooms: dict[int, str] = field(default_factory=dict)

    async def play(self) -> tuple[list[Phase], float, int, int]:
        """Everything; what it took, and how many connections and messages were seen."""
        self.shard.take |= {
            "known": self.user_ids.update,
            "link": self.links.append,
            "room": self.rooms.update,
        }
        before = processes.resident_mib("self")
        groups = self.plan.groups()
        async with self._phase("start"):
            await self._start()
        async with self._phase("connect"):
            await self._connect(scale_plan.pairs_of(groups))
        async with self._phase("join rooms"):
            await self._make_rooms(groups)
            await self._join(groups)
        async with self._phase("talk"):
            await self._talk(groups)
        memory = processes.resident_mib("self") - before
        async with self._phase("check"):
            seen = await self._count(groups)
        return self.phases, memory, *seen

    @contextlib.asynccontextmanager
    async def _phase(self, name: str) -> AsyncIterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        boxes, size = self.network.boxes, self.network.bytes
        yield
        await self._together()
        self.phases.append(
            Phase(
                name,
                time.perf_counter() - wall,
                time.process_time() - cpu,
                self.network.boxes - boxes,
                self.network.bytes - size,
            )
        )

    async def _together(self) -> None:
        """Wait until everybody in every process must long be done."""
        now = self.world.now
        await asyncio.sleep((now // _PHASE_S + 1) * _PHASE_S - now)

    async def _start(self) -> None:
        for place in range(self.shard.number, self.plan.servers, self.shard.count):
            person = self.people[place] = await self.world.person(name_of(place))
            self.user_ids[place] = person.user_id
        for shard in range(self.shard.count):
            self.shard.post(shard, "known", dict(self.user_ids))

    async def _connect(self, pairs: list[scale_plan.Pair]) -> None:
        for one, other in pairs:
            if one in self.people:
                link = await self.people[one].invitation()
                self.shard.post(self.shard.of(other), "link", (other, link))
        await self._together()
        for other, link in self.links:
            await self.people[other].open_link(link)

    async def _make_rooms(self, groups: list[Group]) -> None:
        for number, (owner, *others) in enumerate(groups):
            if owner in self.people:
                invited = [self.user_ids[other] for other in others]
                room_id = await self.people[owner].create_room(invite=invited)
                for shard in range(self.shard.count):
                    self.shard.post(shard, "room", {number: room_id})
        await self._together()

    async def _join(self, groups: list[Group]) -> None:
        """One of each room at a time."""
        for seat in range(1, max(map(len, groups))):
            joins = [
                self.people[group[seat]].join(self.rooms[number], _TRIES_TO_JOIN)
                for number, group in enumerate(groups)
                if seat < len(group) and group[seat] in self.people
            ]
            await _some_at_a_time(joins)
            await self._together()

    async def _talk(self, groups: list[Group]) -> None:
        """Everybody but the last says something; so a message passes over every connection."""
        for number, group in enumerate(groups):
            for place in group[:-1]:
                if place in self.people:
                    await self.people[place].say(self.rooms[number], f"from {place}")

    async def _count(self, groups: list[Group]) -> tuple[int, int]:
        """What each server says of its connections, and what each member of each room reads."""
        active = 0
        for person in self.people.values():
            active += (await person.status())["peers"].get("active", 0)
        texts = 0
        for number, group in enumerate(groups):
            for place in group:
                if place in self.people:
                    texts += len(await self.people[place].texts(self.rooms[number]))
        return active, texts


def measure(plan: Plan, processes: int = 1) -> Measured:
    """Run a plan in so many processes; raises AssertionError if somebody missed something."""
    with tempfile.TemporaryDirectory(prefix="homeserver-scale-") as directory:
        if processes == 1:
            parts = [_run(plan, Shard(0, 1), Path(directory), is_alone=True)]
        else:
            parts = _run_together(plan, processes, Path(directory))
    groups = plan.groups()
    connected = sum(part[2] for part in parts) // 2
    texts = sum(part[3] for part in parts)
    expected = scale_plan.readings_of(groups)
    if connected != len(scale_plan.pairs_of(groups)) or texts != expected:
        raise AssertionError(f"{connected} connections, {texts} of {expected} messages were seen")
    phases = [_merged(*same) for same in zip(*(part[0] for part in parts), strict=True)]
    memory, peak = sum(part[1] for part in parts), sum(part[4] for part in parts)
    return Measured(
        plan, processes, connected, scale_plan.deliveries_of(groups), phases, memory, peak
    )


def name_of(place: int) -> str:
    """The short name of a server and its owner."""
    return f"p{place}"


def _merged(*same: Phase) -> Phase:
    return Phase(
        same[0].name,
        max(one.wall_s for one in same),
        sum(one.cpu_s for one in same),
        sum(one.boxes for one in same),
        sum(one.bytes for one in same),
    )


async def _some_at_a_time(work: list[Coroutine[Any, Any, None]]) -> None:
    for start in range(0, len(work), _AT_ONCE):
        await asyncio.gather(*work[start : start + _AT_ONCE])


def _run(plan: Plan, shard: Shard, directory: Path, *, is_alone: bool) -> Any:
    thrift.raise_limits()
    names = [name_of(place) for place in range(plan.servers)]
    network = ShardedNetwork(plan.seed, shard, names)
    world = World(
        directory,
        plan.seed,
        ratchets=None if plan.is_encrypted else FastRatchets(f"{plan.seed}/{shard.number}"),
        thrift=Thrift(directory / "template"),
        network=network,
    )
    shard.join(world.loop)
    played = world.run(_Part(plan, shard, world, network).play())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if is_alone:
        world.close()  # otherwise the process ends anyway
    return (*played, peak)


def _run_together(plan: Plan, count: int, directory: Path) -> list[Any]:
    context = multiprocessing.get_context("spawn")
    pipes, children = [], []
    for number in range(count):
        ours, theirs = context.Pipe()
        child = context.Process(target=_work, args=(plan, number, count, directory, theirs))
        child.start()
        theirs.close()
        pipes.append(ours)
        children.append(child)
    try:
        return Conductor(pipes).conduct()
    finally:
        for child in children:
            child.terminate()
            child.join()


def _work(
    plan: Plan, number: int, count: int, directory: Path, pipe: "Connection[Any, Any]"
) -> None:
    shard = Shard(number, count, pipe)
    pipe.send(("done", _run(plan, shard, directory / str(number), is_alone=False)))
    sys.stdout.flush()
    pipe.recv()  # until the parent ends this process
