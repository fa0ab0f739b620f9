"""Imports every table, so that Alembic can compare the whole schema with a database."""

from homeserver.storage import (
    account_data,
    accounts,
    encryption,
    events,
    gaps,
    media,
    relations,
    room_state,
    rooms,
    sharing,
)
from homeserver.storage.tables import metadata

__all__ = [
    "account_data",
    "accounts",
    "encryption",
    "events",
    "gaps",
    "media",
    "metadata",
    "relations",
    "room_state",
    "rooms",
    "sharing",
]
