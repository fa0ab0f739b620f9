from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.rooms.servers import Server, running


@pytest.fixture
async def three(tmp_path: Path) -> AsyncIterator[tuple[Server, Server, Server]]:
    """Servers that are connected to each other and share no room yet."""
    async with running(tmp_path, "alice", "bob", "carol") as (alice, bob, carol):
        yield alice, bob, carol
