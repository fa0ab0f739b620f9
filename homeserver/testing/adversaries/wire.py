"""Somebody on the wire between servers, who has no key at all.

He records what passes, and hands on whatever he likes: the same, another box of his collection, a
changed one, nothing. Everything he does is drawn from one seed.
"""

from collections.abc import Callable
from dataclasses import replace

from homeserver.testing import chance
from homeserver.testing.network import Network, Parcel

Choice = Callable[["Wire", Parcel], bytes | None]


class Wire:
    """Sits on every link of a network from now on, until `leave`."""

    def __init__(self, network: Network, seed: object) -> None:
        self.random = chance.stream(seed, "wire")
        self.recorded: list[Parcel] = []
        self.choose: Choice = hand_on
        self._network = network
        self._held: dict[tuple[str, str, str], Parcel] = {}
        network.is_recording = True
        network.tampers.append(self._take)

    def leave(self) -> None:
        """Let everything pass again."""
        self._network.tampers.remove(self._take)
        self._network.is_recording = False

    async def replay_all(self) -> list[bytes | None]:
        """Deliver every request once more, in another order; the answers, None for a refusal."""
        recorded = list(self._network.recorded)
        self.random.shuffle(recorded)
        return [await self._network.replay(replace(one, party="")) for one in recorded]

    def older(self, parcel: Parcel) -> bytes:
        """A box that went the same way before, if there was one."""
        same = [one.box for one in self.recorded[:-1] if _way(one) == _way(parcel)]
        return self.random.choice(same) if same else parcel.box

    def swapped(self, parcel: Parcel) -> bytes | None:
        """The box of this way that was held back before; this one is held back in its place."""
        before = self._held.pop(_way(parcel), None)
        self._held[_way(parcel)] = parcel
        return None if before is None else before.box

    def _take(self, parcel: Parcel) -> bytes | None:
        self.recorded.append(parcel)
        return self.choose(self, parcel)


def hand_on(_wire: Wire, parcel: Parcel) -> bytes | None:
    """Change nothing."""
    return parcel.box


def substitute(wire: Wire, parcel: Parcel) -> bytes | None:
    """Now and then give an older box in the place of this one."""
    return wire.older(parcel) if wire.random.random() < 0.3 else parcel.box  # noqa: PLR2004


def reorder(wire: Wire, parcel: Parcel) -> bytes | None:
    """Now and then hold a box back until another one goes the same way."""
    return wire.swapped(parcel) if wire.random.random() < 0.3 else parcel.box  # noqa: PLR2004


def cross(wire: Wire, parcel: Parcel) -> bytes | None:
    """Now and then give a box that was meant for somebody else, or went the other way."""
    if wire.random.random() < 0.3:  # noqa: PLR2004
        return wire.random.choice(wire.recorded).box
    return parcel.box


def _way(parcel: Parcel) -> tuple[str, str, str]:
    return parcel.source, parcel.target, parcel.kind
