"""Every route of the client API in one list."""

from api.client import (
    account,
    account_data,
    dehydrated,
    delayed_events,
    devices,
    directory,
    encryption,
    ephemeral,
    key_backup,
    login,
    media,
    membership,
    profile,
    push,
    relations,
    reporting,
    rooms,
    search,
    sending,
    sliding_sync,
    snapshots,
    spaces,
    sync,
    third_parties,
    thread_subscriptions,
    timeline,
    unstable,
    versions,
)
from api.routing import Route, Routes

_MODULES = (
    account,
    account_data,
    dehydrated,
    delayed_events,
    devices,
    directory,
    encryption,
    ephemeral,
    key_backup,
    login,
    media,
    membership,
    profile,
    push,
    relations,
    reporting,
    rooms,
    search,
    sending,
    snapshots,
    sliding_sync,
    spaces,
    sync,
    third_parties,
    thread_subscriptions,
    timeline,
    unstable,
    versions,
)


def all_routes() -> list[Route]:
    """Collect the route tables of every module; a module may have several."""
    tables = [table for one in _MODULES for table in vars(one).values() if type(table) is Routes]
    return [route for table in tables for route in table.all]
