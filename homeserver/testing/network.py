"""A network that does to every box what the test, or the seed, decides.

Each direction between two servers is a `Link` of its own, with its own faults. A delivery goes out
over one link and its answer comes back over the other; what is lost shows itself only as silence.
"""

import asyncio
import contextlib
import functools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from federation.transport.interface import Receive, Refused
from homeserver import errors
from homeserver.testing import chance
from homeserver.testing.runs import Crashed

Kind = Literal["request", "answer"]
Fate = Literal["arrived", "lost", "refused", "doubled", "held", "damaged", "nobody there"]

_REFUSAL_BYTES = 13


@dataclass(frozen=True, slots=True)
class Faults:
    """What one direction between two servers does to boxes. Chances are between 0 and 1."""

    latency_s: float = 0.02
    jitter_s: float = 0.0
    loss: float = 0.0
    duplication: float = 0.0
    reordering: float = 0.0  # held back so long that newer ones overtake it
    corruption: float = 0.0
    bytes_per_second: float | None = None
    held_s: float = 90.0  # the longest that a box is held back, or its double
    is_cut: bool = False
    only_answers: bool = False  # as through a NAT: whoever is behind it calls, nobody calls them


CALM = Faults()


@dataclass(frozen=True, slots=True)
class Passage:
    """A box that set out, and what became of it: when, and how long until that was clear."""

    at: float
    source: str
    target: str
    kind: Kind
    size: int
    fate: Fate
    took_s: float = 0.0
    label: str = ""  # what kind of box it was, where somebody can tell


@dataclass(frozen=True, slots=True)
class Recorded:
    """A request as somebody on the wire has it."""

    source: str
    route: str
    address: bytes
    box: bytes
    party: str = ""


@dataclass(frozen=True, slots=True)
class Parcel:
    """A box that is about to leave. `party` is what its sender calls the other side."""

    source: str
    target: str
    kind: Kind
    address: bytes
    box: bytes
    party: str = ""


# Sees a box before it leaves; what it returns goes on in its place, None is lost.
Tamper = Callable[[Parcel], bytes | None]


@dataclass(slots=True)
class Link:
    """One direction."""

    faults: Faults
    random: Any = field(repr=False)
    free_at: float = 0.0  # a line carries one byte after the other, whoever's they are

    def delay(self, size: int, now: float) -> float:
        """How long a box of this size is on its way, behind those that set out before it."""
        faults = self.faults
        if faults.bytes_per_second:
            self.free_at = max(self.free_at, now) + size / faults.bytes_per_second
        queued = max(0.0, self.free_at - now)
        return faults.latency_s + faults.jitter_s * float(self.random.random()) + queued

    def happens(self, likelihood: float) -> bool:
        """Draw; draws nothing where it is out of the question."""
        return likelihood > 0 and self.random.random() < likelihood


class Network:
    """Every link, who listens at which route, and a record of what passed."""

    sees_boxes = True

    def __init__(self, seed: object) -> None:
        self._seed = seed
        self._links: dict[tuple[str, str], Link] = {}
        self._faults = CALM
        self._listening: dict[str, tuple[str, Receive]] = {}
        self._listened: dict[str, str] = {}  # who was the last to listen there
        self._behind_nat: set[str] = set()
        self._late: set[asyncio.Task[None]] = set()
        self.passages: list[Passage] = []
        self.recorded: list[Recorded] = []
        self.is_recording = False
        self.watchers: list[Callable[[Parcel], None]] = []  # told of every box that leaves
        self.tampers: list[Tamper] = []  # whoever sits on the wire, in their order
        self.label: Callable[[Parcel], str] = lambda _parcel: ""  # names the kind of a box

    def listen(self, route: str, server: str, receive: Receive) -> None:
        """From now on the route leads to this server."""
        self._listening[route] = (server, receive)
        self._listened[route] = server

    def deafen(self, server: str) -> None:
        """Nobody of this server listens any more."""
        self._listening = {
            route: found for route, found in self._listening.items() if found[0] != server
        }

    def link(self, source: str, target: str) -> Link:
        """The way from one server to another."""
        found = self._links.get((source, target))
        if found is None:
            drawn = chance.stream(self._seed, "link", source, target)
            found = self._links[source, target] = Link(self._faults, drawn)
        return found

    def everywhere(self, **faults: Any) -> None:
        """Set faults on every link, also on those that nobody has used yet."""
        self._faults = replace(self._faults, **faults)
        for link in self._links.values():
            link.faults = replace(link.faults, **faults)

    def between(self, one: str, other: str, **faults: Any) -> None:
        """Set faults between two servers, both ways."""
        self.one_way(one, other, **faults)
        self.one_way(other, one, **faults)

    def one_way(self, source: str, target: str, **faults: Any) -> None:
        """Set faults in one direction."""
        link = self.link(source, target)
        link.faults = replace(link.faults, **faults)

    def put_behind_nat(self, server: str, *, is_behind: bool = True) -> None:
        """From now on this server calls, and nobody calls it. That is no fault: it never heals."""
        if is_behind:
            self._behind_nat.add(server)
        else:
            self._behind_nat.discard(server)

    def heal(self) -> None:
        """End every fault on every link."""
        self._faults = CALM
        for link in self._links.values():
            link.faults = CALM

    def can_reach(self, source: str, route: str) -> bool:
        """Whether a request that goes out now would arrive, if it is lucky."""
        target = self._listening.get(route)
        if target is None:
            return False
        out, back = self.link(source, target[0]).faults, self.link(target[0], source).faults
        return not (out.is_cut or back.is_cut or self._is_barred(out, target[0]))

    async def deliver(self, source: str, recorded: Recorded, timeout_s: float) -> bytes:
        """Carry a request and its answer, within the time that the caller waits."""
        if self.is_recording:
            self.recorded.append(recorded)
        try:
            async with asyncio.timeout(timeout_s):
                answer = await self._exchange(source, recorded)
        except TimeoutError:
            raise errors.PeerUnreachable from None
        if answer is None:
            raise Refused
        return answer

    async def replay(self, recorded: Recorded) -> bytes | None:
        """Deliver a recorded request once more; the answer, or None for the refusal."""
        found = self._listening.get(recorded.route)
        return None if found is None else await found[1](recorded.address, recorded.box, None)

    async def close(self) -> None:
        """Forget what is still on its way."""
        for task in tuple(self._late):
            task.cancel()
        await asyncio.gather(*self._late, return_exceptions=True)

    async def _exchange(self, source: str, sent: Recorded) -> bytes | None:
        found = self._listening.get(sent.route)
        if found is None:
            self._watch_in_vain(source, sent)
            self._note(_now(), source, sent.route, "request", len(sent.box), "nobody there")
            raise errors.PeerUnreachable
        target = found[0]
        parcel = Parcel(source, target, "request", sent.address, sent.box, sent.party)
        box = await self._travel(parcel, sent)
        answer = await self._hand_over(replace(sent, box=box))
        return await self._come_back(parcel, answer)

    def _watch_in_vain(self, source: str, sent: Recorded) -> None:
        """A box leaves its sender also where nobody listens any more."""
        target = self._listened.get(sent.route)
        if target is not None:
            parcel = Parcel(source, target, "request", sent.address, sent.box, sent.party)
            for watch in self.watchers:
                watch(parcel)

    async def _come_back(self, asked: Parcel, answer: bytes | None) -> bytes | None:
        source, target = asked.target, asked.source
        if answer is None:
            at = _now()
            await asyncio.sleep(self.link(source, target).faults.latency_s)
            self._note(at, source, target, "answer", _REFUSAL_BYTES, "refused")
            return None
        return await self._travel(Parcel(source, target, "answer", asked.address, answer), None)

    async def _travel(self, parcel: Parcel, sent: Recorded | None) -> bytes:
        """Go over one link; hangs until the caller gives up if the box is lost."""
        source, target, kind = parcel.source, parcel.target, parcel.kind
        for watch in self.watchers:
            watch(parcel)
        box = await self._tampered(parcel)
        if sent is not None:
            sent = replace(sent, box=box)
        link, at = self.link(source, target), _now()
        faults = link.faults
        note = functools.partial(self._note, at, source, target, kind, len(box))
        label = self.label(parcel)
        is_barred = kind == "request" and self._is_barred(faults, target)
        if faults.is_cut or is_barred or link.happens(faults.loss):
            note("lost", label)
            await _for_ever()
        if sent is not None and link.happens(faults.duplication):
            note("doubled", label)
            self._later(link, sent)
        if sent is not None and link.happens(faults.reordering):
            note("held", label)
            self._later(link, sent)
            await _for_ever()
        await asyncio.sleep(link.delay(len(box), at))
        if link.faults.is_cut:
            note("lost", label)
            await _for_ever()
        is_damaged = link.happens(faults.corruption)
        note("damaged" if is_damaged else "arrived", label)
        return _damage(box, link) if is_damaged else box

    def _is_barred(self, faults: Faults, target: str) -> bool:
        """Whether no request gets through, only answers."""
        return faults.only_answers or target in self._behind_nat

    async def _tampered(self, parcel: Parcel) -> bytes:
        """What becomes of a box in the hands of whoever sits on the wire."""
        for tamper in self.tampers:
            box = tamper(parcel)
            if box is None:
                size = len(parcel.box)
                self._note(_now(), parcel.source, parcel.target, parcel.kind, size, "lost")
                await _for_ever()
            parcel = replace(parcel, box=box or b"")
        return parcel.box

    def _later(self, link: Link, sent: Recorded) -> None:
        """Let a box arrive when nobody waits for it any more."""
        delay = link.faults.held_s * float(link.random.random())
        task = asyncio.get_running_loop().create_task(self._arrive_late(delay, sent))
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def _arrive_late(self, delay: float, sent: Recorded) -> None:
        await asyncio.sleep(delay)
        with contextlib.suppress(errors.PeerUnreachable):
            await self._hand_over(sent)

    async def _hand_over(self, sent: Recorded) -> bytes | None:
        found = self._listening.get(sent.route)
        if found is None:
            raise errors.PeerUnreachable
        try:
            return await found[1](sent.address, sent.box, None)
        except Crashed:
            raise errors.PeerUnreachable from None
        except errors.HomeserverError:
            return None  # over HTTP an error of the server, which says as little as the refusal

    def _note(self, *passage: Any) -> None:
        at, source, target, kind, size, fate, *label = passage
        self.passages.append(Passage(at, source, target, kind, size, fate, _now() - at, *label))


class Socket:
    """One server's way onto the network; what its federation takes for a transport."""

    def __init__(self, network: Network, server: str) -> None:
        self._network = network
        self._server = server

    async def deliver(
        self, party: str, route: str, address: bytes, box: bytes, timeout_s: float, *, grant: str
    ) -> bytes:
        """Deliver a box and return the answer."""
        del grant
        sent = Recorded(self._server, route, address, box, party)
        return await self._network.deliver(self._server, sent, timeout_s)

    async def hang_up(self, party: str) -> None:
        """There is nothing open between deliveries."""


def _now() -> float:
    return asyncio.get_running_loop().time()


def _damage(box: bytes, link: Link) -> bytes:
    place = int(link.random.random() * len(box))
    return box[:place] + bytes([box[place] ^ 1]) + box[place + 1 :]


async def _for_ever() -> None:
    await asyncio.get_running_loop().create_future()
