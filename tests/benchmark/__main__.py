"""`python -m tests.benchmark`: measure one server, two, and large rooms, and print tables.

Run it on a quiet machine. `--one`, `--two` and `--rooms` run one part; `--ratchets` chooses the
library.
"""

import argparse
import asyncio
import importlib.util
import os
import platform
import time

from tests.benchmark import consent, keys, large_sync, one_server, rooms, two_servers
from tests.benchmark.measuring import print_table


def main() -> None:
    """Run what was asked for; everything unless parts are named."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmark")
    parser.add_argument("--one", action="store_true", help="only one server")
    parser.add_argument("--two", action="store_true", help="only two servers")
    parser.add_argument("--rooms", action="store_true", help="only large rooms")
    parser.add_argument("--large", action="store_true", help="only syncs of a large account")
    parser.add_argument("--ratchets", choices=("python-olm", "vodozemac"), default=None)
    parser.add_argument("--consent", action="store_true", help="only strangers and consent")
    parser.add_argument("--keys", action="store_true", help="only keys")
    wishes = parser.parse_args()
    parts = (wishes.one, wishes.two, wishes.rooms, wishes.large, wishes.keys, wishes.consent)
    is_whole = not any(parts)
    started = time.monotonic()
    print(f"Python {platform.python_version()}, {os.cpu_count()} processors, {_load()}")
    if wishes.one or is_whole:
        print_table("One server", asyncio.run(one_server.measure()))
    if wishes.two or is_whole:
        libraries = [wishes.ratchets] if wishes.ratchets else _libraries()
        rows = [row for one in libraries for row in asyncio.run(two_servers.measure(one))]
        print_table("Two servers", rows)
    if wishes.rooms or is_whole:
        print_table("Large rooms", asyncio.run(rooms.measure()))
    if wishes.large or is_whole:
        print_table("500 rooms with 200,000 events", asyncio.run(large_sync.measure()))
    if wishes.keys or is_whole:
        print_table("Keys", asyncio.run(keys.measure()))
    if wishes.consent or is_whole:
        print_table("Consent", asyncio.run(consent.measure()))
    print(f"\nmeasured in {time.monotonic() - started:.0f} s, {_load()}")


def _libraries() -> list[str]:
    modules = {"python-olm": "olm", "vodozemac": "vodozemac"}
    return [name for name, module in modules.items() if importlib.util.find_spec(module)]


def _load() -> str:
    return f"load {os.getloadavg()[0]:.1f}"


if __name__ == "__main__":
    main()
