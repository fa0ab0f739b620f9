"""The addresses at which somebody may deliver to us. They live in memory only.

Whoever knocks at an address that is not here meets the same box opening with a key that nobody
has, and the same answer.
"""

from dataclasses import dataclass

from federation import envelope
from federation.envelope import DoorKeys

INTAKE, PEER, HANDSHAKE = "intake", "peer", "handshake"
ADDRESS_BYTES = 16


@dataclass(frozen=True, slots=True)
class Door:
    """One address: what it is for, whom it leads to, and its keys."""

    kind: str
    name: str
    keys: DoorKeys


class Doors:
    """All addresses that are open at this moment."""

    def __init__(self, dummy_key: bytes) -> None:
        self._doors: dict[bytes, Door] = {}
        self._dummy = Door("", "", envelope.door_keys(dummy_key))

    def open(self, address: bytes, door: Door) -> None:
        """Let one party deliver at an address."""
        self._doors[address] = door

    def close(self, address: bytes) -> None:
        """Make an address look like one that never was."""
        self._doors.pop(address, None)

    def close_all(self, kind: str, name: str) -> None:
        """Close every address that leads to one party."""
        for address, door in tuple(self._doors.items()):
            if door.kind == kind and door.name == name:
                del self._doors[address]

    def find(self, address: bytes) -> Door:
        """The door at an address, or the one whose key nobody has."""
        return self._doors.get(address, self._dummy)
