"""Who is connected with whom in a measurement of scale, and in which rooms they are.

Rooms of six, of people drawn by the seed: four rooms each make twenty connections. Whoever has too
few then is brought together with others like that, in rooms of two.
"""

import itertools
from dataclasses import dataclass

from homeserver.testing import chance

_IN_A_ROOM = 6

Group = tuple[int, ...]
Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Plan:
    """So many servers, and so many connections for each, if there are enough others.

    The ratchets are the stand-in's unless they shall be real.
    """

    servers: int
    connections: int = 20
    seed: int = 1
    is_encrypted: bool = False

    @property
    def wanted(self) -> int:
        """How many connections a server can have at most."""
        return min(self.connections, self.servers - 1)

    def groups(self) -> list[Group]:
        """Every room: its owner first, whoever only listens last."""
        random = chance.stream(self.seed, "groups", self.servers, self.connections)
        places = list(range(self.servers))
        peers: list[set[int]] = [set() for _ in places]
        found: list[Group] = []
        for _ in range(self.wanted // (_IN_A_ROOM - 1)):
            random.shuffle(places)
            rooms = [
                tuple(places[at : at + _IN_A_ROOM]) for at in range(0, self.servers - 1, _IN_A_ROOM)
            ]
            for room in rooms:
                if all(len(peers[one] | set(room)) - 1 <= self.wanted for one in room):
                    found.append(room)
                    _introduce(room, peers)
        return found + self._pairs(peers)

    def _pairs(self, peers: list[set[int]]) -> list[Group]:
        """Bring together who has too few connections, the loneliest first."""
        found: list[Group] = []
        lonely = [one for one, known in enumerate(peers) if len(known) <= self.wanted]
        while lonely:
            lonely.sort(key=lambda one: (len(peers[one]), one))
            one = lonely.pop(0)
            free = [other for other in lonely if other not in peers[one]]
            for other in free[: self.wanted + 1 - max(1, len(peers[one]))]:
                found.append((one, other))
                _introduce((one, other), peers)
            lonely = [other for other in lonely if len(peers[other]) <= self.wanted]
        return found


def _introduce(room: Group, peers: list[set[int]]) -> None:
    # Everybody counts as his own peer, which spares a look.
    for one in room:
        peers[one] |= set(room)


def pairs_of(groups: list[Group]) -> list[Pair]:
    """Every connection, once."""
    pairs = (
        (min(pair), max(pair)) for group in groups for pair in itertools.combinations(group, 2)
    )
    return list(dict.fromkeys(pairs))


def deliveries_of(groups: list[Group]) -> int:
    """How many times somebody gets a message: everybody but the last of a room says one."""
    return sum((len(group) - 1) ** 2 for group in groups)


def readings_of(groups: list[Group]) -> int:
    """How many messages everybody together finds in the rooms, the own ones too."""
    return sum(len(group) * (len(group) - 1) for group in groups)
