"""A host of its own for each real server: network namespaces with a switch between them.

Each namespace is held by a process that waits for us on a pipe. So none is left once we and the
servers in them are gone, and the machine's own network is never touched. Linux, and root, only.
"""

import contextlib
import ctypes
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from homeserver.testing import traffic_control
from homeserver.testing.network import Faults, Network
from homeserver.testing.traffic_control import INTERFACE

_COMMANDS = ("unshare", "nsenter", "ip", "tc")
_HOLD = "ip link set lo up && echo up && exec cat"
_LIMIT_S = 20.0
_BRIDGE = "switch"
_PREFIX = 16
_SPARE = 1  # 10.77.0.0 and what the switch could have
# What a kind of queue cannot be without.
_LEAST = {"pfifo": ("limit", "1"), "tbf": ("rate", "1mbit", "burst", "1600", "limit", "3000")}
_OWN_NETWORK = Path("/proc/thread-self/ns/net")


class NoHosts(AssertionError):
    """This machine does not allow hosts of their own, or cannot do something to them."""


class Namespace:
    """A network of its own, until it is closed or its owner ends."""

    def __init__(self) -> None:
        self._holder = subprocess.Popen(  # noqa: S603 - nothing from outside is in it
            ["unshare", "--net", "sh", "-c", _HOLD],  # noqa: S607 - wherever the system has it
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        if self._holder.stdout is None or self._holder.stdout.readline() != b"up\n":
            _, said = self._holder.communicate()
            raise NoHosts(said.decode(errors="replace").strip() or "no network namespace")

    @property
    def pid(self) -> int:
        """The process that holds it."""
        return self._holder.pid

    @property
    def entrance(self) -> tuple[str, ...]:
        """What stands before a command that shall run in it."""
        return ("nsenter", f"--net={self._path}", "--")

    def run(self, *words: str, told: str = "") -> None:
        """Run a command in it. Raises NoHosts with what the command said, if it fails."""
        finished = subprocess.run(  # noqa: S603 - commands of the system, on our own network
            [*self.entrance, *words],
            input=told,
            capture_output=True,
            check=False,
            text=True,
            timeout=_LIMIT_S,
        )
        if finished.returncode != 0:
            raise NoHosts(f"{' '.join(words)}: {finished.stderr.strip()}")

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Let this thread be in it: a socket belongs for good to where it was made."""
        with _OWN_NETWORK.open() as home, self._path.open() as there:
            _enter(there.fileno())
            try:
                yield
            finally:
                _enter(home.fileno())

    def socket(self, address: tuple[Any, ...]) -> socket.socket:
        """A socket in it, for one of the addresses that `getaddrinfo` tells."""
        with self.entered():
            found = socket.socket(*address[:3])
        found.setblocking(False)  # noqa: FBT003 - has no name
        return found

    def close(self) -> None:
        """Let go of it; what still runs in it keeps it."""
        self._holder.communicate()

    @property
    def _path(self) -> Path:
        return Path(f"/proc/{self.pid}/ns/net")


class Switch:
    """What joins the hosts; it has no address of its own."""

    def __init__(self) -> None:
        self.namespace = Namespace()
        self._given = _SPARE
        self.namespace.run("ip", "link", "add", _BRIDGE, "type", "bridge")
        self.namespace.run("ip", "link", "set", _BRIDGE, "up")

    def next_address(self) -> str:
        """An address that no host has had."""
        self._given += 1
        return f"10.77.{self._given // 256}.{self._given % 256}"


class Host:
    """One namespace with an interface on the switch, and one address."""

    def __init__(self, switch: Switch) -> None:
        self.namespace = Namespace()
        self.address = switch.next_address()
        self._switch = switch
        self._is_shaped = False
        port = f"port{self.namespace.pid}"
        peer = ("peer", "name", INTERFACE, "netns", str(self.namespace.pid))
        switch.namespace.run("ip", "link", "add", port, "type", "veth", *peer)
        switch.namespace.run("ip", "link", "set", port, "master", _BRIDGE, "up")
        self._use("add", self.address)
        self.namespace.run("ip", "link", "set", INTERFACE, "up")

    def move(self) -> None:
        """Have another address from now on."""
        self._use("del", self.address)
        self.address = self._switch.next_address()
        self._use("add", self.address)

    def shape(self, ways: Sequence[tuple[str, Faults]]) -> None:
        """Let what it sends to these addresses suffer so from now on, and nothing else."""
        if self._is_shaped:
            self.namespace.run("tc", "qdisc", "del", "dev", INTERFACE, "root")
        lines = traffic_control.script(ways)
        self._is_shaped = bool(lines)
        if lines:
            self.namespace.run("tc", "-batch", "-", told="\n".join([*lines, ""]))

    def _use(self, verb: str, address: str) -> None:
        self.namespace.run("ip", "address", verb, f"{address}/{_PREFIX}", "dev", INTERFACE)


class HostNetwork(Network):
    """Faults of links, done by the kernel to packets. It does not see the boxes in them."""

    sees_boxes = False

    def __init__(self, seed: object) -> None:
        super().__init__(seed)
        self.switch = Switch()
        self.hosts: dict[str, Host] = {}

    def add(self, name: str) -> Host:
        """A host of this name."""
        host = self.hosts[name] = Host(self.switch)
        self.shape()
        return host

    def everywhere(self, **faults: Any) -> None:
        """Set faults on every link."""
        super().everywhere(**faults)
        self.shape()

    def one_way(self, source: str, target: str, **faults: Any) -> None:
        """Set faults in one direction. TCP needs both, so a cut one silences the other too."""
        super().one_way(source, target, **faults)
        self.shape()

    def heal(self) -> None:
        """End every fault on every link."""
        super().heal()
        self.shape()

    def shape(self) -> None:
        """Tell every host what its links are like, and where the others are."""
        for name, host in self.hosts.items():
            host.shape(
                [
                    (other.address, self.link(name, target).faults)
                    for target, other in self.hosts.items()
                    if target != name
                ]
            )

    async def close(self) -> None:
        """Let go of every host."""
        await super().close()
        for host in self.hosts.values():
            host.namespace.close()
        self.switch.namespace.close()


def why_not() -> str | None:
    """Why this machine cannot give servers hosts of their own; None where it can."""
    missing = [name for name in _COMMANDS if shutil.which(name) is None]
    if missing:
        return f"there is no {missing[0]} command here (iproute2 and util-linux have them)"
    if os.geteuid() != 0:
        return "only root may make network namespaces"
    try:
        switch = Switch()
    except NoHosts as error:
        return str(error)
    switch.namespace.close()
    return None


def has_queue(kind: str) -> bool:
    """Whether this machine's kernel has a kind of queue: htb, pfifo, tbf or netem."""
    namespace = Namespace()
    try:
        namespace.run("tc", "qdisc", "add", "dev", "lo", "root", kind, *_LEAST.get(kind, ()))
    except NoHosts:
        return False
    finally:
        namespace.close()
    return True


def _enter(descriptor: int) -> None:
    system = ctypes.CDLL(None, use_errno=True)
    if system.setns(descriptor, 0) != 0:
        raise OSError(ctypes.get_errno(), "setns")
