"""Play one scenario for `homeserver simulate`, and show how it ended."""

import contextlib
import logging
import shlex
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click

from homeserver.cli import _text
from homeserver.testing import hosted_world, real_world, scenario_report, shortest
from homeserver.testing.fast_ratchets import FastRatchets
from homeserver.testing.hosted_world import HostedWorld
from homeserver.testing.real_world import RealWorld
from homeserver.testing.scenario_files import BadScenario, ScenarioFile
from homeserver.testing.scenario_report import Ending, Told
from homeserver.testing.scenario_stage import Stage, StepFailed
from homeserver.testing.world import World

_RELAYED = (
    "A process for each server, on loopback; relays between them lose, delay and part. "
    "Waits are cut to seconds."
)
_HOSTED = (
    "A process and a network namespace for each server; the kernel loses, delays and parts. "
    "Waits are cut to seconds."
)


@dataclass(frozen=True, slots=True)
class How:
    """What was asked for beside the scenario."""

    seed: int | None
    servers: int | None
    steps: int | None
    report: Path | None
    is_fast: bool = False
    has_hosts: bool = False
    launchers: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def world(self, file: ScenarioFile, directory: Path) -> World:
        """An empty world for a scenario."""
        seed = file.scenario.seed if self.seed is None else self.seed
        return World(directory, seed, ratchets=FastRatchets(seed) if self.is_fast else None)


def play(file: ScenarioFile, how: How) -> bool:
    """Play it in a simulated world; whether everything held."""
    with _silence(), tempfile.TemporaryDirectory(prefix="homeserver-simulation-") as directory:
        world = how.world(file, Path(directory))
        try:
            broken = _play(Stage(world, file, how.servers), how)
        finally:
            world.close()
        if broken is None:
            return True
        click.echo(str(broken), err=True)
        found = None
        if broken.number:
            found = shortest.search(
                file, how.servers, lambda directory: how.world(file, directory), broken
            )
    _say_how_to_see_it_again(file, how, world.seed, found)
    return False


def play_real(file: ScenarioFile, how: How) -> bool:
    """Play it with processes; whether everything held. Raises BadScenario where it cannot be."""
    cannot_be = (hosted_world if how.has_hosts else real_world).refusals(file)
    strangers = set(how.launchers) - set(file.scenario.names(how.servers))
    cannot_be += [f"--launcher: there is no {name} in this scenario" for name in sorted(strangers)]
    if cannot_be:
        raise BadScenario("\n".join(cannot_be))
    click.echo(_HOSTED if how.has_hosts else _RELAYED, err=True)
    with tempfile.TemporaryDirectory(prefix="homeserver-reality-") as directory:
        seed = file.scenario.seed if how.seed is None else how.seed
        world = (HostedWorld if how.has_hosts else RealWorld)(Path(directory), seed)
        world.launchers = how.launchers
        try:
            broken = _play(Stage(world, file, how.servers), how)
        finally:
            world.close()
    if broken is not None:
        click.echo(str(broken), err=True)
        click.echo(f"Seed {world.seed} for the relays; processes keep to none.", err=True)
    return broken is None


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Let the servers log nothing: their troubles are what the story is about."""
    before = logging.root.manager.disable
    logging.disable()
    yield
    logging.disable(before)


def _play(stage: Stage, how: How) -> StepFailed | None:
    scenario, world = stage.file.scenario, stage.world
    if stage.missing:
        click.echo(f"{scenario.scenario}: skipped, needs {', '.join(stage.missing)}")
        return None
    broken: StepFailed | None = None
    length = min(how.steps or len(scenario.story), len(scenario.story))
    told: list[Told] = []
    with click.progressbar(length=length, label=scenario.scenario, file=sys.stderr) as bar:

        def tell(number: int) -> None:
            told.append(Told(world.now, number, scenario.story[number - 1].word))
            bar.update(1)

        try:
            world.run(stage.play(how.steps, tell))
        except StepFailed as failed:
            broken = failed
    rooms = {} if stage.deeds is None else stage.deeds.rooms
    ended = world.run(scenario_report.endings(world, rooms))
    outcome = "Everything held." if broken is None else str(broken)
    if how.report is not None:
        page = scenario_report.page(scenario.scenario, outcome, world, ended, told)
        how.report.write_text(page)
    _say(ended)
    if broken is None:
        click.echo(f"{outcome} Seed {world.seed}, {world.now:.0f} {world.kind_of_time}.")
    return broken


def _say(ended: list[Ending]) -> None:
    head, *rest = scenario_report.rows(ended)
    click.echo(_text.table(head, rest))


def _say_how_to_see_it_again(
    file: ScenarioFile, how: How, seed: int, found: shortest.Shortest | None
) -> None:
    words = ["homeserver", "simulate", str(file.path), "--seed", str(seed)]
    if found is not None:
        words += ["--steps", str(found.steps)]
    if how.servers is not None:
        words += ["--servers", str(how.servers)]
    if how.is_fast:
        words.append("--fast")
    if found is not None:
        place = file.place("story", found.steps - 1)
        click.echo(f"shortest beginning that fails: up to {place}, {found.steps} steps", err=True)
    if found is not None and not found.is_certain:
        click.echo("(there was no time to try every shorter one)", err=True)
    click.echo(f"again: {shlex.join(words)}", err=True)
