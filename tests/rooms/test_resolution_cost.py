"""What resolving a state asks of the database grows with how deep its events rest on each other."""

from pathlib import Path

import pytest

from homeserver.rooms import state
from homeserver.storage.database import Database
from homeserver.storage.unit_of_work import View
from homeserver.storage.wake_ups import WakeUps
from tests.benchmark.rooms import store, two_histories

LENGTH = 420
POWER_LEVELS = 2 * LENGTH // 50


async def _statements(
    directory: Path, monkeypatch: pytest.MonkeyPatch, version: str, keys: int
) -> int:
    """How many statements resolve so many conflicts, when nothing is remembered."""
    url = f"sqlite:///{directory}/{keys}.db"
    room, states = two_histories(version, LENGTH, keys)
    state_ids = await store(url, room, states)
    database, asked = Database(url, WakeUps(), inline=True), []
    with monkeypatch.context() as patched:
        for name in ("raw", "all", "one_or_none"):
            real = getattr(View, name)

            def counting(*arguments: object, real: object = real) -> object:
                asked.append(arguments)
                return real(*arguments)  # type: ignore[operator]

            patched.setattr(View, name, counting)
        await database.write(
            lambda work: state.resolve(work, room.room_id, room.version, state_ids)
        )
    database.close()
    return len(asked)


@pytest.mark.parametrize("version", ["11", "12"])
async def test_many_conflicts_take_no_more_statements_than_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    few = await _statements(tmp_path, monkeypatch, version, 20)
    many = await _statements(tmp_path, monkeypatch, version, 200)
    assert many <= few < POWER_LEVELS + 15
