"""Chance from a seed: every part of a simulation draws from a stream of its own.

So a fault more on one link changes nothing that another link or a server draws.
"""

import random


class SeededEntropy:
    """What a server takes for chance. Only for simulations: whoever knows the seed knows it all."""

    def __init__(self, *seed: object) -> None:
        self._random = stream(*seed)

    def token_bytes(self, count: int) -> bytes:
        """Bytes that the seed decides."""
        return self._random.randbytes(count)

    def random(self) -> float:
        """A number in [0, 1)."""
        return self._random.random()


def stream(*seed: object) -> random.Random:
    """A stream of chance under a name, such as (1, "alice")."""
    return random.Random("/".join(str(part) for part in seed))  # noqa: S311 - it shall repeat
