"""`homeserver simulate scale`: measure very many servers, and what one of them costs."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from pydantic import TypeAdapter

from homeserver.cli import _text
from homeserver.testing import scale, scale_fit, scale_report
from homeserver.testing.scale import Measured
from homeserver.testing.scale_plan import Plan

_MIB_IN_GIB = 1024
_RUNS = TypeAdapter(list[Measured])


@dataclass(frozen=True, slots=True)
class Asked:
    """What to measure: every number of servers with every number of connections."""

    servers: Sequence[int]
    connections: Sequence[int]
    seed: int
    processes: int
    plot: Path | None
    results: Path | None
    is_encrypted: bool = False
    within_s: float | None = None
    memory_gib: float | None = None

    def too_much(self, run: Measured) -> list[str]:
        """Which limits a run has broken."""
        found = []
        if self.within_s is not None and run.wall_s > self.within_s:
            found.append(f"{run.wall_s:.1f} seconds, not within {self.within_s:g}")
        if self.memory_gib is not None and run.peak_mib > self.memory_gib * _MIB_IN_GIB:
            found.append(f"{run.peak_mib:.0f} MiB, more than {self.memory_gib:g} GiB")
        return [f"{run.plan.servers} servers took {words}" for words in found]


class TooMuch(AssertionError):
    """A run took longer, or more memory, than was allowed."""


def run(asked: Asked) -> None:
    """Measure, and show it. Raises AssertionError if a message was missed, TooMuch at the end.

    Results are added to what the file holds already, and shown together with all of their kind.
    """
    everything, too_much = _read(asked.results), []
    for servers, connections in itertools.product(asked.servers, asked.connections):
        click.echo(f"{servers} servers, {connections} connections each …", err=True)
        plan = Plan(servers, connections, asked.seed, asked.is_encrypted)
        everything.append(scale.measure(plan, asked.processes))
        too_much += asked.too_much(everything[-1])
        _say(scale_report.table(everything[-1:]))
        if asked.results is not None:
            asked.results.write_bytes(_RUNS.dump_json(everything))
    _show([run for run in everything if run.plan.is_encrypted == asked.is_encrypted], asked.plot)
    if too_much:
        raise TooMuch("\n".join(too_much))


def _show(runs: list[Measured], plot: Path | None) -> None:
    if len(runs) > 1:
        click.echo("")
        _say(scale_report.table(runs))
    if scale_fit.can_fit(runs):
        click.echo("")
        _say(scale_report.fit_table(runs))
    if plot is not None:
        plot.write_text(scale_report.drawing(runs))


def _read(results: Path | None) -> list[Measured]:
    if results is None or not results.exists():
        return []
    return _RUNS.validate_json(results.read_bytes())


def _say(rows: Sequence[tuple[str, ...]]) -> None:
    head, *rest = rows
    click.echo(_text.table(head, rest))
