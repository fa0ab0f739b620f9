"""Very many servers, in short: ten, and what is said about what they cost."""

import multiprocessing
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import get_args

import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from homeserver.app import peer_services
from homeserver.cli import main
from homeserver.config import FederationSettings
from homeserver.testing import scale, scale_fit, scale_plan
from homeserver.testing.person import Person
from homeserver.testing.scale import Measured, Phase
from homeserver.testing.scale_plan import Plan


@pytest.mark.parametrize(("servers", "connections"), [(2, 20), (10, 20), (100, 20), (1_000, 20)])
def test_everybody_has_as_many_connections_as_asked(servers: int, connections: int) -> None:
    groups = Plan(servers, connections).groups()
    pairs = scale_plan.pairs_of(groups)
    each = [sum(place in pair for pair in pairs) for place in range(servers)]
    assert max(each) <= connections
    assert sum(each) / servers >= min(connections, servers - 1) * 0.99
    assert all(2 <= len(group) <= 6 for group in groups)


def test_ten_servers_connect_and_talk_whether_in_one_process_or_in_two() -> None:
    # In a process of its own: what this one gave back before would hide what servers take.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
        alone = fresh.submit(scale.measure, Plan(10, 5), 1).result()
    together = scale.measure(Plan(10, 5), 2)
    assert alone.connected == together.connected > 20
    assert alone.messages == together.messages
    for run in (alone, together):
        assert run.phase("talk").boxes >= 2 * run.connected
        assert run.servers_mib > 0
    # The same box more or less, for an acknowledgement may go with what follows it.
    assert together.phase("talk").bytes == pytest.approx(alone.phase("talk").bytes, rel=0.2)


def _made_up(servers: int, connections: int, each: int) -> Measured:
    connected = servers * connections // 2
    phases = [Phase(name, 1.0, 1.0, 100 * servers, servers * each) for name in scale_fit._WORK]
    plan = Plan(servers, connections)
    return Measured(plan, 1, connected, 1, phases, float(servers), 1.0)


def test_the_fit_tells_own_connections_from_the_number_of_servers() -> None:
    sizes = [(10, 5), (10, 8), (100, 5), (100, 20), (1_000, 20)]
    runs = [
        _made_up(servers, connections, 1024 * (7 + 3 * connections + 2 * servers))
        for servers, connections in sizes
    ]
    traffic = next(fit for fit in scale_fit.fits(runs) if fit.name == "traffic")
    found = [traffic.base, traffic.per_connection, traffic.per_server]
    assert found == pytest.approx([21, 9, 6], abs=0.01)
    assert not scale_fit.can_fit(runs[:1])


def test_the_command_measures_and_draws(tmp_path: Path) -> None:
    plot, results = tmp_path / "scale.svg", tmp_path / "results.json"
    words = ["simulate", "scale", "--processes", "1", "--results", str(results)]
    runner = CliRunner()
    first = runner.invoke(main, [*words, "--servers", "3", "--connections", "1"])
    assert first.exit_code == 0, first.output
    words += ["--servers", "4", "--connections", "1", "--connections", "3", "--plot", str(plot)]
    result = runner.invoke(main, words)
    assert result.exit_code == 0, result.output
    assert "for each own connection" in result.output
    assert plot.read_text().startswith('<svg xmlns="http://www.w3.org/2000/svg"')
    assert "the fit" in plot.read_text()


def test_a_message_that_one_member_misses_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = Person.texts

    async def forgetful(person: Person, room_id: str) -> list[str]:
        return (await texts(person, room_id))[1 if person.name == "p0" else 0 :]

    monkeypatch.setattr(Person, "texts", forgetful)
    with pytest.raises(AssertionError, match="4 of 6 messages were seen"):
        scale.measure(Plan(3, 2))


@pytest.mark.parametrize(
    ("limit", "told"),
    [("--within", "seconds, not within 0.001"), ("--memory", "MiB, more than 0.001 GiB")],
)
def test_limits_that_are_broken_are_told_and_make_the_command_fail(limit: str, told: str) -> None:
    words = ["simulate", "scale", "--processes", "1", "--servers", "2", "--real-ratchets"]
    result = CliRunner().invoke(main, [*words, limit, "0.001"])
    assert result.exit_code == 1
    assert "2 servers took " in result.output
    assert told in result.output
    assert "real" in result.output, "the table says which ratchets"
    generous = CliRunner().invoke(main, [*words, "--within", "600", "--memory", "100"])
    assert generous.exit_code == 0, generous.output


def test_scale_is_listed_where_the_scenarios_are() -> None:
    assert "\nscale  " in CliRunner().invoke(main, ["simulate"]).output


@pytest.mark.parametrize("name", ["fast", "FastRatchets", "fast_ratchets", "none", ""])
def test_no_setting_leaves_encryption_out(name: str) -> None:
    with pytest.raises(ValidationError):
        FederationSettings.model_validate({"ratchets": name})


def test_whatever_is_set_encrypts() -> None:
    names = get_args(FederationSettings.model_fields["ratchets"].annotation)
    chosen = [type(peer_services.ratchets_of(name)) for name in names]
    assert {kind.__module__.rpartition(".")[0] for kind in chosen} == {"federation.ratchets"}


def test_a_server_does_not_even_load_the_stand_in() -> None:
    look = (
        "import sys, homeserver.app.running, homeserver.app.wiring\n"
        "print([name for name in sys.modules if name.startswith('homeserver.testing')])"
    )
    found = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
