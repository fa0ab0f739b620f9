"""Take measurements of a running server and print them beside what was asked for."""

import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from homeserver.testing.processes import Server

MS = 1_000.0


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; `is_met` is None where nothing was asked for."""

    name: str
    measured: str
    cpu: str = ""
    wanted: str = ""
    synapse: str = ""
    is_met: bool | None = None


@dataclass(slots=True)
class Cost:
    """Wall and processor time of a stretch of work."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    latencies_s: list[float] = field(default_factory=list)

    @property
    def p50_ms(self) -> float:
        return statistics.median(self.latencies_s) * MS

    def cpu_ms(self, count: int) -> float:
        return self.cpu_s / count * MS

    async def time(self, call: Callable[[], Awaitable[object]]) -> None:
        """Run one operation and note how long it took."""
        started = time.perf_counter()
        await call()
        self.latencies_s.append(time.perf_counter() - started)


@contextmanager
def cost_of(*servers: Server) -> Iterator[Cost]:
    """Measure a block: its wall time, and the processor time of server processes."""
    cost = Cost()
    cpu, wall = _cpu(servers), time.perf_counter()
    yield cost
    cost.wall_s = time.perf_counter() - wall
    cost.cpu_s = _cpu(servers) - cpu


def _cpu(servers: tuple[Server, ...]) -> float:
    return sum(server.cpu_seconds() for server in servers)


def print_table(title: str, rows: Sequence[Row]) -> None:
    """Print rows under their heads; a row that missed what was asked for is marked."""
    heads = Row("", "wall", "CPU of the server", "asked for", "Synapse 1.163")
    print(f"\n{title}\n")
    for row in (heads, *rows):
        print(
            f"{row.name:<38}{row.measured:>18}{row.cpu:>20}{row.wanted:>16}{row.synapse:>16}"
            f"{_verdict(row.is_met)}"
        )


def missed(tables: Mapping[str, Sequence[Row]]) -> list[str]:
    """Every row that missed what was asked for: its table, its name, both values."""
    return [
        f"{title}: {row.name.strip()}: {row.measured}, asked for {row.wanted}"
        for title, rows in tables.items()
        for row in rows
        if row.is_met is False
    ]


def _verdict(is_met: bool | None) -> str:
    if is_met is None:
        return ""
    return "  met" if is_met else "  MISSED"


def ms(value: float) -> str:
    return f"{value:.2f} ms" if value < 10 else f"{value:.1f} ms"
