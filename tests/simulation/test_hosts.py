"""Scenarios on hosts of their own: real addresses, and faults that the kernel makes."""

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from homeserver.cli import main
from homeserver.testing import hosted_world, hosts, scenario_files, traffic_control
from homeserver.testing.hosts import NoHosts
from homeserver.testing.network import CALM, Faults

TWO_FRIENDS = Path(scenario_files.__file__).parent / "scenarios" / "two-friends.yaml"
WHY_NOT = hosts.why_not()

needs_hosts = pytest.mark.skipif(WHY_NOT is not None, reason=f"no network namespaces: {WHY_NOT}")

LONG = random.Random(1).randbytes(4_000).hex()  # cannot be compressed into a small box

MOVING = f"""scenario: Hosts
shows: A cable is cut, a line is slow, and a host moves.
people: [alice, bob]
rooms:
  hall: {{owner: alice, members: [bob]}}
story:
  - partition: [[alice], [bob]]
  - say: {{who: alice, in: hall, text: hello}}
  - wait: 3s
  - counts: {{who: bob, in: hall, texts: 0}}
  - heal
  - settle
  - counts: {{who: bob, in: hall, texts: 1}}
  - faults: {{one_way: [alice, bob], bytes_per_second: 1000}}
  - say: {{who: alice, in: hall, text: {LONG!r}}}
  - wait: 1s
  - counts: {{who: bob, in: hall, texts: 1}}
  - heal
  - move: bob
  - say: {{who: bob, in: hall, text: here I am}}
  - check
  - hears: {{who: alice, in: hall, texts: [hello, {LONG!r}, here I am]}}
"""


def test_calm_links_need_nothing_from_tc() -> None:
    assert traffic_control.script([("10.77.0.3", CALM)]) == []


def test_each_destination_gets_a_class_of_its_own_and_below_it_what_shall_happen() -> None:
    cut = Faults(is_cut=True)
    slow = Faults(bytes_per_second=2_000)
    lossy = Faults(loss=0.33, jitter_s=2.0)
    ways = [("10.77.0.3", cut), ("10.77.0.4", CALM), ("10.77.0.5", slow), ("10.77.0.6", lossy)]
    assert traffic_control.script(ways) == [
        "qdisc add dev eth0 root handle 1: htb default 1",
        "class add dev eth0 parent 1: classid 1:1 htb rate 10gbit quantum 1514",
        "class add dev eth0 parent 1: classid 1:2 htb rate 10gbit quantum 1514",
        "filter add dev eth0 parent 1: protocol ip prio 1 u32 match ip dst 10.77.0.3/32 flowid 1:2",
        "qdisc add dev eth0 parent 1:2 pfifo limit 0",
        "class add dev eth0 parent 1: classid 1:3 htb rate 10gbit quantum 1514",
        "filter add dev eth0 parent 1: protocol ip prio 1 u32 match ip dst 10.77.0.5/32 flowid 1:3",
        "qdisc add dev eth0 parent 1:3 tbf rate 16000bit burst 1600 limit 1000000",
        "class add dev eth0 parent 1: classid 1:4 htb rate 10gbit quantum 1514",
        "filter add dev eth0 parent 1: protocol ip prio 1 u32 match ip dst 10.77.0.6/32 flowid 1:4",
        "qdisc add dev eth0 parent 1:4 netem limit 10000 delay 1020ms 1000ms loss 33%",
    ]


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        (Faults(latency_s=0.3), "delay 300ms 0ms"),
        (Faults(latency_s=0.3, bytes_per_second=10.0), "delay 300ms 0ms rate 80bit"),
        (Faults(duplication=0.5), "duplicate 50%"),
        (Faults(corruption=0.001), "corrupt 0.1%"),
        (Faults(reordering=0.2), "delay 50ms 0ms reorder 20%"),
    ],
)
def test_what_happens_to_single_packets_is_netem(faults: Faults, words: str) -> None:
    assert traffic_control.script([("10.77.0.3", faults)])[-1].endswith(
        f"netem limit 10000 {words}"
    )


def test_a_machine_without_namespaces_refuses_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1_000)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/sbin/{name}")
    result = CliRunner().invoke(main, ["simulate", "two-friends", "--hosts"])
    assert result.exit_code == 2
    assert "hosts of their own on this machine: only root may make" in result.output
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    result = CliRunner().invoke(main, ["simulate", "two-friends", "--hosts"])
    assert "there is no unshare command here" in result.output


def test_faults_that_the_kernel_cannot_make_are_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(hosts, "why_not", lambda: None)
    monkeypatch.setattr(hosts, "has_queue", lambda kind: kind != "netem")
    assert [line.rpartition("yaml, ")[2] for line in hosted_world.refusals(_file(TWO_FRIENDS))] == [
        "line 7: faults: needs netem, which this kernel does not have"
    ]
    mine = tmp_path / "mine.yaml"
    mine.write_text(MOVING)
    assert hosted_world.refusals(_file(mine)) == []


@needs_hosts
def test_a_failing_command_is_told_with_what_it_said() -> None:
    namespace = hosts.Namespace()
    try:
        with pytest.raises(NoHosts, match=r"ip link show eth7: .*eth7.* does not exist"):
            namespace.run("ip", "link", "show", "eth7")
    finally:
        namespace.close()


@pytest.mark.slow
@needs_hosts
def test_a_cut_a_slow_line_and_a_move_are_survived_on_hosts(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(MOVING)
    _play(str(file))


@pytest.mark.slow
@needs_hosts
def test_two_friends_chat_on_hosts_although_the_kernel_loses_packets() -> None:
    if not hosts.has_queue("netem"):
        pytest.skip("this kernel has no netem, which loses packets")
    _play("two-friends")


def _play(scenario: str) -> None:
    """By the command, in a process of its own: tests themselves may not call other hosts."""
    words = [sys.executable, "-m", "homeserver", "simulate", scenario, "--hosts"]
    found = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "Everything held." in found.stdout


def _file(path: Path) -> scenario_files.ScenarioFile:
    return scenario_files.load(path)
