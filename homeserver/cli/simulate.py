"""`homeserver simulate`: play a scenario on simulated servers and say whether it holds.

Exit code 0 if everything held, 1 if a promise or an expectation broke, 2 for a bad scenario.
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

import click

from homeserver.cli import _text
from homeserver.testing import scenario_files, scenario_report
from homeserver.testing.scenario_files import BadScenario, ScenarioFile
from homeserver.testing.scenario_report import Ending
from homeserver.testing.scenario_stage import Stage, StepFailed
from homeserver.testing.world import World

_BUILT_IN = Path(scenario_files.__file__).parent / "scenarios"
_BROKEN, _BAD = 1, 2


@click.command("simulate")
@click.argument("scenario", required=False)
@click.option("--seed", type=int, help="What decides every chance; by default the scenario's.")
@click.option("--servers", type=click.IntRange(1, 2_000), help="How many, if it only counts them.")
@click.option("--steps", type=click.IntRange(1), help="Play only so many steps.")
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a page with a sequence diagram and plots.",
)
def command(
    scenario: str | None,
    seed: int | None,
    servers: int | None,
    steps: int | None,
    report: Path | None,
) -> None:
    """Play a SCENARIO, a YAML file or one of those built in, on simulated servers.

    Without a scenario the built-in ones are listed.
    """
    if scenario is None:
        _list()
        return
    _make_repeatable()
    file = _load(scenario)
    with tempfile.TemporaryDirectory(prefix="homeserver-simulation-") as directory:
        world = World(Path(directory), file.scenario.seed if seed is None else seed)
        try:
            _play(Stage(world, file, servers), steps, report)
        finally:
            world.close()


def _list() -> None:
    for path in sorted(_BUILT_IN.glob("*.yaml")):
        click.echo(f"{path.stem:20} {scenario_files.load(path).scenario.shows}")


def _load(scenario: str) -> ScenarioFile:
    built_in = _BUILT_IN / f"{scenario}.yaml"
    try:
        return scenario_files.load(built_in if built_in.exists() else Path(scenario))
    except BadScenario as error:
        click.echo(str(error), err=True)
        sys.exit(_BAD)


def _play(stage: Stage, steps: int | None, report: Path | None) -> None:
    scenario, world = stage.file.scenario, stage.world
    if stage.missing:
        click.echo(f"{scenario.scenario}: skipped, needs {', '.join(stage.missing)}")
        return
    broken: StepFailed | None = None
    length = min(steps or len(scenario.story), len(scenario.story))
    with click.progressbar(length=length, label=scenario.scenario, file=sys.stderr) as bar:
        try:
            world.run(stage.play(steps, lambda _number: bar.update(1)))
        except StepFailed as failed:
            broken = failed
    ended = world.run(scenario_report.endings(world))
    outcome = "Everything held." if broken is None else str(broken)
    if report is not None:
        report.write_text(scenario_report.page(scenario.scenario, outcome, world, ended))
    _say(ended)
    if broken is None:
        click.echo(f"{outcome} Seed {world.seed}, {world.now:.0f} virtual seconds.")
    else:
        _end_broken(stage, broken)


def _say(ended: list[Ending]) -> None:
    head, *rest = scenario_report.rows(ended)
    click.echo(_text.table(head, rest))


def _end_broken(stage: Stage, broken: StepFailed) -> NoReturn:
    # Every step before it held, so the story up to this step is the shortest that fails.
    click.echo(str(broken), err=True)
    click.echo(
        f"again: homeserver simulate {stage.file.path} --seed {stage.world.seed} "
        f"--steps {max(1, broken.number)}",
        err=True,
    )
    sys.exit(_BROKEN)


def _make_repeatable() -> None:
    """Begin again with a fixed order of sets, on which some decisions depend."""
    if "PYTHONHASHSEED" not in os.environ and sys.argv[1:2] == ["simulate"]:
        arguments = [sys.executable, "-m", "homeserver", *sys.argv[1:]]
        os.execve(sys.executable, arguments, {**os.environ, "PYTHONHASHSEED": "0"})  # noqa: S606
