from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.sync.alice import Alice


@pytest.fixture
async def alice(tmp_path: Path) -> AsyncIterator[Alice]:
    alice = Alice(tmp_path)
    yield alice
    alice.close()
