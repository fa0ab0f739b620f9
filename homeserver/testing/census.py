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
        *("relations", "room_media"),  # parts of a room's history, too
        "media",  # files that were opened, unless the owner asks to erase them
    }
)
# What is kept by peer and must go with it; every table with such a column is here or above.
MUST_GO = frozenset(
    {
        *("channels", "in_flight", "inbox", "waiting_events", "inbound_groups", "group_shares"),
        *("outbox_items", "outbox_losses", "outbox_newest", "outbox_rooms", "to_device_messages"),
        *("device_lists", "deposit_rounds", "handshakes", "meetings", "wishes", "room_requests"),
        "peer_profiles",
    }
)
_COLUMNS_OF_PEERS = frozenset({"peer", "server", "server_name", "via", "asker", "target"})


# What is said to somebody else, or comes from somebody else, may be about anybody.
ON_ITS_WAY = frozenset({"in_flight", "inbox", "outbox_items", "outbox_newest", "waiting_events"})
# What other members of a room hand on about whoever is in it.
TOLD_BY_OTHERS = frozenset({"known_cards"})


def tables_by_peer(server: SimulatedServer) -> set[str]:
    """The tables that have a column for a peer."""
    with contextlib.closing(sqlite3.connect(server.directory / "homeserver.db")) as connection:
        rows = connection.execute(
            "SELECT t.name, c.name FROM sqlite_master t, pragma_table_info(t.name) c"
            " WHERE t.type = 'table'"
        )
        return {table for table, column in rows.fetchall() if column in _COLUMNS_OF_PEERS}


def tables_naming(
    server: SimulatedServer, *names: str, passing: frozenset[str] = frozenset()
) -> set[str]:
    """The tables in which any column of any row holds one of these names.

    In those that are `passing` only the columns of peers count.
    """
    found = set()
    with contextlib.closing(sqlite3.connect(server.directory / "homeserver.db")) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        for (table,) in tables.fetchall():
            rows = connection.execute(f'SELECT * FROM "{table}"')  # noqa: S608 - ours
            chosen = [
                place
                for place, column in enumerate(rows.description)
                if table not in passing or column[0] in _COLUMNS_OF_PEERS
            ]
            if any(_names([row[place] for place in chosen], names) for row in rows):
                found.add(table)
    return found


def _names(row: list[object], names: tuple[str, ...]) -> bool:
    text = repr(row)
    return any(name in text for name in names)
