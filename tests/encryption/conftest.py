"""Alice's server and her first client."""

from collections.abc import AsyncIterator

import pytest

from homeserver.encryption import reserving
from homeserver.storage.database import Database
from tests.accounts.serving import Client, Device, Served, log_in


@pytest.fixture
async def served(database: Database) -> Served:
    served = Served(database)
    await served.register()
    return served


@pytest.fixture
async def http(served: Served) -> AsyncIterator[Client]:
    async with served.client() as client:
        yield client


@pytest.fixture
async def alice(http: Client) -> Device:
    return await log_in(http, "PHONE", initial_device_display_name="Alice's phone")


@pytest.fixture
def three_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each peer gets no more than three one-time keys of a device, as among many peers."""
    monkeypatch.setattr(reserving, "_MOST_PER_PEER", 3)
