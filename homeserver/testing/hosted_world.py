"""Real servers with a host of their own each: real addresses, and faults that the kernel makes.

A `HostedWorld` is a `RealWorld` without relays. Where the machine or its kernel cannot do what a
scenario asks for, that is refused by name before the story begins.
"""

import asyncio
import functools
from pathlib import Path
from typing import Any

from homeserver.testing import hosts, real_world, traffic_control
from homeserver.testing.hosts import Host, HostNetwork
from homeserver.testing.network import Faults
from homeserver.testing.processes import Server
from homeserver.testing.real_world import RealServer, RealWorld
from homeserver.testing.scenario_deeds import faults_of
from homeserver.testing.scenario_files import ScenarioFile
from homeserver.testing.simulated_server import Making, SimulatedClient

_PORT = 8008
_BEYOND_SWITCHES = {
    "nat": "the switch between the hosts translates no addresses",
    "boxes": "the kernel moves packets, and nobody counts boxes",
}


class HostedServer(RealServer):
    """A process on a host of its own."""

    def __init__(self, making: Making, process: Server, host: Host, network: HostNetwork) -> None:
        super().__init__(making, process)
        self.host = host
        self.network = network
        self._clients: list[SimulatedClient] = []

    def client(self) -> SimulatedClient:
        """A client of its owner, who knows where the server has moved."""
        self._clients.append(super().client())
        return self._clients[-1]

    async def move(self, *routes: str) -> None:
        """Give its host another address, and tell it; restarts it, if it runs."""
        if routes:
            raise real_world.NotInReality("a host's address is chosen by the switch")
        was_running = self.is_running
        if was_running:
            await self.stop()
        self.host.move()
        self.network.shape()
        self.process.address = self.host.address
        self.process.public_url = self.process.url
        self.process.write_addresses()
        for client in self._clients:
            client.url = self.process.url
        if was_running:
            await self.start()


class HostedWorld(RealWorld):
    """Hosts on a switch, a server on each, and their people, who sit at their own host."""

    network: HostNetwork

    def __init__(self, directory: Path, seed: int = 0) -> None:
        super().__init__(directory, seed, network=HostNetwork(seed))

    async def _make(self, making: Making) -> RealServer:
        host = await asyncio.to_thread(self.network.add, making.name)
        # Whom nobody can reach listens where only his own host is.
        process = self._process(making, _PORT)
        process.namespace = host.namespace
        if making.is_reachable:
            process.address = host.address
            process.public_url = process.url
        return HostedServer(making, process, host, self.network)


def refusals(file: ScenarioFile) -> list[str]:
    """What of a scenario cannot happen on hosts of this machine, each with its place."""
    why_no_hosts = hosts.why_not()
    if why_no_hosts is not None:
        return [f"servers cannot have hosts of their own on this machine: {why_no_hosts}"]
    has_queue = functools.cache(hosts.has_queue)
    found = real_world.refusals(
        file, {**real_world.IMPOSSIBLE, **_BEYOND_SWITCHES}, needs_callers=False
    )
    for number, step in enumerate(file.scenario.story):
        for kind in _queues_for(step.word, step.content):
            if not has_queue(kind):
                place = file.place("story", number)
                found.append(f"{place}: {step.word}: needs {kind}, which this kernel does not have")
    return found


def _queues_for(word: str, content: Any) -> list[str]:
    """The kernel's kinds of queues that a step needs."""
    if word == "partition":
        return traffic_control.queues_for(Faults(is_cut=True))
    return traffic_control.queues_for(Faults(**faults_of(content))) if word == "faults" else []
