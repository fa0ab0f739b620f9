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


def run(asked: Asked) -> None:
    """Measure, and show it. Raises AssertionError if a message was missed.

    Results are added to what the file holds already, and shown together with it.
    """
    runs = _read(asked.results)
    for servers, connections in itertools.product(asked.servers, asked.connections):
        click.echo(f"{servers} servers, {connections} connections each …", err=True)
        runs.append(scale.measure(Plan(servers, connections, asked.seed), asked.processes))
        _say(scale_report.table(runs[-1:]))
        if asked.results is not None:
            asked.results.write_bytes(_RUNS.dump_json(runs))
    if len(runs) > 1:
        click.echo("")
        _say(scale_report.table(runs))
    if scale_fit.can_fit(runs):
        click.echo("")
        _say(scale_report.fit_table(runs))
    if asked.plot is not None:
        asked.plot.write_text(scale_report.drawing(runs))


def _read(results: Path | None) -> list[Measured]:
    if results is None or not results.exists():
        return []
    return _RUNS.validate_json(results.read_bytes())


def _say(rows: Sequence[tuple[str, ...]]) -> None:
    head, *rest = rows
    click.echo(_text.table(head, rest))
