"""`homeserver simulate`: play a scenario on simulated servers and say whether it holds.

Exit code 0 if everything held, 1 if a promise or an expectation broke, 2 for a bad scenario.
"""

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from homeserver.cli import _playing, _scaling
from homeserver.testing import scenario_files
from homeserver.testing.scenario_files import BadScenario, ScenarioFile

_BUILT_IN = Path(scenario_files.__file__).parent / "scenarios"
_BROKEN, _BAD = 1, 2
_OF_SCALE = ("connections", "processes", "plot", "results", "real_ratchets", "within", "memory")
_OF_STORIES = ("steps", "report", "fast", "real", "hosts", "launchers")
_COLUMN = 30
_SCALE = "No file, a measurement: what one of very many servers costs (--servers 10 --servers 100)."


@click.command("simulate")
@click.argument("scenario", required=False)
@click.option("--seed", type=int, help="What decides every chance; by default the scenario's.")
@click.option(
    "--servers",
    type=click.IntRange(1, 5_000),
    multiple=True,
    help="How many, if the scenario only counts them. For scale: several times for several runs.",
)
@click.option("--steps", type=click.IntRange(1), help="Play only so many steps, heal, and check.")
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a page with a sequence diagram and plots.",
)
@click.option("--fast", is_flag=True, help="Without encryption between the servers.")
@click.option("--real", is_flag=True, help="With a process for each server, in real time.")
@click.option(
    "--hosts", is_flag=True, help="Like --real, with a host of its own for each. Needs root."
)
@click.option(
    "--launcher",
    "launchers",
    metavar="NAME=COMMAND",
    multiple=True,
    callback=lambda _context, _option, given: dict(map(_launcher, given)),
    help="With --real or --hosts: somebody's server is another program. Several times for several.",
)
@click.option(
    "--connections",
    type=click.IntRange(1, 200),
    multiple=True,
    help="Scale only: how many connections each server has (20).",
)
@click.option(
    "--processes",
    type=click.IntRange(1, 64),
    default=lambda: os.cpu_count() or 1,
    help="Scale only: over how many processes the servers are spread (one for each core).",
)
@click.option(
    "--plot", type=click.Path(path_type=Path, dir_okay=False), help="Scale only: write an SVG."
)
@click.option(
    "--results",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Scale only: a JSON file to which the results are added, and shown together.",
)
@click.option("--real-ratchets", is_flag=True, help="Scale only: encrypt between the servers.")
@click.option(
    "--within",
    metavar="SECONDS",
    type=click.FloatRange(min=0, min_open=True),
    help="Scale only: fail if a run takes longer.",
)
@click.option(
    "--memory",
    metavar="GIB",
    type=click.FloatRange(min=0, min_open=True),
    help="Scale only: fail if the processes together hold more.",
)
def command(scenario: str | None, **options: Any) -> None:
    """Play a SCENARIO, a YAML file or one of those built in, on simulated servers.

    Without a scenario the built-in ones are listed. SCENARIO may be `scale`: very many servers
    start, connect and talk, and it is measured what one of them costs.
    """
    if scenario is None:
        _list()
        return
    if scenario == "scale":
        _scale(options)
        return
    file = _load(scenario)
    _check(options, file)
    servers = next(iter(options["servers"]), None)
    how = _playing.How(
        options["seed"],
        servers,
        options["steps"],
        options["report"],
        is_fast=options["fast"],
        has_hosts=options["hosts"],
        launchers=options["launchers"],
    )
    try:
        play = _playing.play_real if _is_real(options) else _playing.play
        holds = play(file, how)
    except BadScenario as error:
        click.echo(str(error), err=True)
        sys.exit(_BAD)
    if not holds:
        sys.exit(_BROKEN)


def _is_real(options: dict[str, Any]) -> bool:
    return bool(options["real"] or options["hosts"])


def _check(options: dict[str, Any], file: ScenarioFile) -> None:
    """What does not go together is a mistake, too."""
    _refuse(options, _OF_SCALE, "is about `scale` only")
    if options["servers"] and not isinstance(file.scenario.people, int):
        raise click.UsageError("--servers counts people anew, and this scenario names them.")
    if len(options["servers"]) > 1:
        raise click.UsageError("--servers stands several times for `scale` only.")
    if _is_real(options) and options["fast"]:
        raise click.UsageError("--real servers cannot be --fast: they do encrypt.")
    if options["launchers"] and not _is_real(options):
        raise click.UsageError("--launcher needs --real or --hosts: a simulation has no processes.")


def _refuse(options: dict[str, Any], names: Sequence[str], why: str) -> None:
    """An option that would mean nothing is a mistake."""
    for name in names:
        given = click.get_current_context().get_parameter_source(name)
        if given is ParameterSource.COMMANDLINE and options[name]:
            raise click.UsageError(f"--{name.replace('_', '-')} {why}.")


def _scale(options: dict[str, Any]) -> None:
    _refuse(options, _OF_STORIES, "is about scenarios, not about `scale`")
    asked = _scaling.Asked(
        options["servers"] or (10,),
        options["connections"] or (20,),
        options["seed"] or 1,
        options["processes"],
        options["plot"],
        options["results"],
        is_encrypted=options["real_ratchets"],
        within_s=options["within"],
        memory_gib=options["memory"],
    )
    try:
        _scaling.run(asked)
    except AssertionError as missed:
        click.echo(str(missed), err=True)
        sys.exit(_BROKEN)


def _list() -> None:
    for path in sorted(_BUILT_IN.glob("*.yaml")):
        click.echo(f"{path.stem:{_COLUMN}} {scenario_files.load(path).scenario.shows}")
    click.echo(f"{'scale':{_COLUMN}} {_SCALE}")


def _load(scenario: str) -> ScenarioFile:
    built_in = _BUILT_IN / f"{scenario}.yaml"
    try:
        return scenario_files.load(built_in if built_in.exists() else Path(scenario))
    except BadScenario as error:
        click.echo(str(error), err=True)
        sys.exit(_BAD)


def _launcher(given: str) -> tuple[str, list[str]]:
    name, _, command = given.partition("=")
    words = shlex.split(command)
    if not name or not words:
        raise click.BadParameter("must look like alice='python3.13 -m homeserver'")
    return name, words
