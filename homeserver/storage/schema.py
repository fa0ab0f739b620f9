"""Imports every table, so that Alembic can compare the whole schema with a database."""

from homeserver.storage import (
    account_data,
    accounts,
    audit,
    channels,
    encryption,
    ephemeral,
    events,
    frames,
    gaps,
    invitations,
    media,
    notices,
    peers,
    relations,
    room_state,
    rooms,
    sharing,
)
from homeserver.storage.tables import metadata

__all__ = [
    "account_data",
    "accounts",
    "audit",
    "channels",
    "encryption",
    "ephemeral",
    "events",
    "frames",
    "gaps",
    "invitations",
    "media",
    "metadata",
    "notices",
    "peers",
    "relations",
    "room_state",
    "rooms",
    "sharing",
]
