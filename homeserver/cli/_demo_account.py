"""What the demonstration tells at its end: of the wire by sizes, of the files by counting."""

import contextlib
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from homeserver.testing.processes import Server
from homeserver.testing.recording import RecordingProxy

_KIB = 1024
_TABLES_SHOWN = 12


def kinds(events: Iterable[dict[str, Any]]) -> str:
    """Which types of event there are, and how many."""
    counted = Counter(str(event["type"]) for event in events)
    return ", ".join(f"{count} {kind}" for kind, count in counted.most_common())


def of_the_wire(proxies: Sequence[RecordingProxy], secrets: Sequence[str]) -> Iterator[str]:
    """How many boxes of which size went, and what could be read in them."""
    exchanges = [exchange for proxy in proxies for exchange in proxy.exchanges()]
    answered = [exchange for exchange in exchanges if exchange.status is not None]
    yield from _sizes("requests", [len(exchange.request_body) for exchange in exchanges])
    yield from _sizes("answers", [len(exchange.response_body) for exchange in answered])
    seen = b"".join(proxy.bytes_seen() for proxy in proxies)
    found = [secret for secret in secrets if secret.encode() in seen]
    yield (
        f"In all {len(seen):,} bytes, both ways: {len(found)} of {len(secrets)} texts and names "
        "can be read in them."
    )


def _sizes(what: str, sizes: list[int]) -> Iterator[str]:
    counted = sorted(Counter(sizes).items())
    boxes = ", ".join(f"{count} of {size / _KIB:g} KiB" for size, count in counted)
    yield f"{len(sizes):>4} {what}: {boxes}"


def of_the_files(server: Server, texts: Sequence[str]) -> Iterator[str]:
    """What a stopped server left on its disk."""
    files = [file for file in server.data_dir.rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    stored = b"".join(file.read_bytes() for file in files)
    readable = sum(text.encode() in stored for text in texts)
    yield f"{server.user}: {len(files)} files, {size / _KIB:,.0f} KiB"
    yield f"  {_rows(server)}"
    yield f"  {readable} of the {len(texts)} messages can be read in them"


def _rows(server: Server) -> str:
    """The fullest tables."""
    file = next(server.data_dir.glob("*.db"))
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        names = [
            name
            for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            if not name.startswith("sqlite_")
        ]
        counts = {
            name: int(database.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0])  # noqa: S608 - a name that the database told
            for name in names
        }
    fullest = Counter(counts).most_common(_TABLES_SHOWN)
    return ", ".join(f"{count} {name}" for name, count in fullest if count)
