"""Where a database names somebody: the one look at tables that the harness allows itself."""

import contextlib
import sqlite3

from homeserver.testing.simulated_server import SimulatedServer

# Where a revoked peer may still stand: rooms and their history, what the owner's clients were or
# will be told, the tombstone, and the trail.
MAY_REMAIN = frozenset(
    {
        *("peers", "audit", "notices", "invitations"),
        *("events", "states", "memberships", "server_stays", "rooms", "room_aliases"),
        *("hidden_senders", "stand_ins"),  # what is not to be shown of a room's history
        "media",  # files that were opened, unless the owner asks to erase them
    }
)


def tables_naming(server: SimulatedServer, *names: str) -> set[str]:
    """The tables in which any column of any row holds one of these names."""
    found = set()
    with contextlib.closing(sqlite3.connect(server.directory / "homeserver.db")) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        for (table,) in tables.fetchall():
            rows = connection.execute(f'SELECT * FROM "{table}"')  # noqa: S608 - ours
            if any(_names(row, names) for row in rows):
                found.add(table)
    return found


def _names(row: tuple[object, ...], names: tuple[str, ...]) -> bool:
    text = repr(row)
    return any(name in text for name in names)
