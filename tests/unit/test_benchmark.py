"""A benchmark that misses what was asked for says so, and fails."""

import sys

import pytest

from tests.benchmark import __main__ as benchmark
from tests.benchmark.measuring import Row, missed

MET = Row("sends", "1 ms", wanted="< 2 ms", is_met=True)
MISSED = Row("  joins", "4 s", wanted="< 3 s", is_met=False)
UNASKED = Row("reads", "1 s")


def test_what_was_missed_is_told_with_its_table_and_its_bound() -> None:
    told = missed({"Rooms": [MET, MISSED, UNASKED], "Keys": [MET]})
    assert told == ["Rooms: joins: 4 s, asked for < 3 s"]


@pytest.mark.parametrize(("rows", "code"), [([MET, UNASKED], 0), ([MET, MISSED], 1)])
def test_a_bound_that_was_missed_fails_the_whole(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    rows: list[Row],
    code: int,
) -> None:
    async def measure() -> list[Row]:
        return rows

    monkeypatch.setitem(benchmark._PARTS, "keys", ("Keys", measure))
    monkeypatch.setattr(sys, "argv", ["benchmark", "--keys"])
    assert benchmark.main() == code
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("MISSED  Keys: joins") == bool(code)
