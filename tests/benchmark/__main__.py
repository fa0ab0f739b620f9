"""`python -m tests.benchmark`: measure one server, two, and large rooms, and print tables.

Run it on a quiet machine. `--one`, `--two` and `--rooms` run one part; `--ratchets` chooses the
library. It ends with 1 where a bound was missed, and says which.
"""

import argparse
import asyncio
import importlib.util
import os
import platform
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

from tests.benchmark import consent, keys, large_sync, one_server, rooms, two_servers
from tests.benchmark.measuring import Row, missed, print_table

_ORDER = ("one", "two", "rooms", "large", "keys", "consent")
# A part's option, the title of its table, and what measures it; `two` depends on the ratchets.
_PARTS: dict[str, tuple[str, Callable[[], Coroutine[Any, Any, list[Row]]]]] = {
    "one": ("One server", one_server.measure),
    "rooms": ("Large rooms", rooms.measure),
    "large": ("500 rooms with 200,000 events", large_sync.measure),
    "keys": ("Keys", keys.measure),
    "consent": ("Consent", consent.measure),
}


def main() -> int:
    """Run what was asked for; everything unless parts are named. 1 if a bound was missed."""
    wishes = _parser().parse_args()
    wanted = [name for name in _ORDER if getattr(wishes, name)] or _ORDER
    started = time.monotonic()
    print(f"Python {platform.python_version()}, {os.cpu_count()} processors, {_load()}")
    tables: dict[str, list[Row]] = {}
    for name in wanted:
        title, rows = _measure(name, [wishes.ratchets] if wishes.ratchets else _libraries())
        print_table(title, rows)
        tables[title] = rows
    print(f"\nmeasured in {time.monotonic() - started:.0f} s, {_load()}")
    for line in missed(tables):
        print(f"MISSED  {line}")
    return 1 if missed(tables) else 0


def _measure(name: str, libraries: list[str]) -> tuple[str, list[Row]]:
    if name == "two":
        rows = [row for one in libraries for row in asyncio.run(two_servers.measure(one))]
        return "Two servers", rows
    title, measure = _PARTS[name]
    return title, asyncio.run(measure())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmark")
    parser.add_argument("--one", action="store_true", help="only one server")
    parser.add_argument("--two", action="store_true", help="only two servers")
    parser.add_argument("--rooms", action="store_true", help="only large rooms")
    parser.add_argument("--large", action="store_true", help="only syncs of a large account")
    parser.add_argument("--ratchets", choices=("python-olm", "vodozemac"), default=None)
    parser.add_argument("--consent", action="store_true", help="only strangers and consent")
    parser.add_argument("--keys", action="store_true", help="only keys")
    return parser


def _libraries() -> list[str]:
    modules = {"python-olm": "olm", "vodozemac": "vodozemac"}
    return [name for name, module in modules.items() if importlib.util.find_spec(module)]


def _load() -> str:
    return f"load {os.getloadavg()[0]:.1f}"


if __name__ == "__main__":
    sys.exit(main())
