"""What a server costs by its own connections and by the number of all servers: least squares."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from homeserver.testing.scale import Measured

_WORK = ("connect", "join rooms", "talk")
_KIB = 1024


@dataclass(frozen=True, slots=True)
class Fit:
    """A server's cost is about: base + per connection x its connections + per other x servers."""

    name: str
    unit: str
    base: float
    per_connection: float
    per_server: float

    def at(self, connections: float, servers: float) -> float:
        """What a server costs."""
        return self.base + self.per_connection * connections + self.per_server * servers


COSTS: tuple[tuple[str, str, Callable[[Measured], float]], ...] = (
    ("boxes", "boxes", lambda run: sum(run.phase(name).boxes for name in _WORK)),
    ("traffic", "KiB", lambda run: sum(run.phase(name).bytes for name in _WORK) / _KIB),
    ("processor time", "ms", lambda run: sum(run.phase(name).cpu_s for name in _WORK) * 1000),
    ("memory", "KiB", lambda run: run.servers_mib * _KIB),
)


def connections_of(run: Measured) -> float:
    """How many connections a server has, on average."""
    return 2 * run.connected / run.plan.servers


def per_server(run: Measured, cost: Callable[[Measured], float]) -> float:
    """One server's part of a cost."""
    return cost(run) / run.plan.servers


def fits(runs: Sequence[Measured]) -> list[Fit]:
    """The fit of every cost. Needs runs of different connections and of different sizes."""
    rows = [(1.0, connections_of(run), float(run.plan.servers)) for run in runs]
    return [
        Fit(name, unit, *_least_squares(rows, [per_server(run, cost) for run in runs]))
        for name, unit, cost in COSTS
    ]


def can_fit(runs: Sequence[Measured]) -> bool:
    """Whether the runs differ enough to tell connections and servers apart."""
    rows = [(1.0, connections_of(run), float(run.plan.servers)) for run in runs]
    return abs(_determinant(_products(rows))) > 1.0


def _least_squares(
    rows: Sequence[tuple[float, ...]], values: Sequence[float]
) -> tuple[float, float, float]:
    """By the normal equations and Cramer's rule."""
    products = _products(rows)
    right = [sum(row[i] * value for row, value in zip(rows, values, strict=True)) for i in range(3)]
    whole = _determinant(products)
    found = []
    for column in range(3):
        changed = [
            [right[i] if j == column else products[i][j] for j in range(3)] for i in range(3)
        ]
        found.append(_determinant(changed) / whole)
    return found[0], found[1], found[2]


def _products(rows: Sequence[tuple[float, ...]]) -> list[list[float]]:
    return [[sum(row[i] * row[j] for row in rows) for j in range(3)] for i in range(3)]


def _determinant(m: Sequence[Sequence[float]]) -> float:
    return (
        m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1])
        - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
        + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
    )
