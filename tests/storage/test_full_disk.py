"""What SQLite does when the disk is full, and what becomes of it."""

from pathlib import Path

import pytest

from homeserver import errors
from homeserver.storage import tables
from homeserver.storage.database import Database
from homeserver.storage.unit_of_work import UnitOfWork
from homeserver.storage.wake_ups import WakeUps


def _fill(work: UnitOfWork) -> None:
    for number in range(5_000):
        work.upsert(tables.counters, {"name": f"{number} " + "x" * 200, "value": number})


def _count(work: UnitOfWork) -> int:
    rows = work.all(tables.counters.select())
    return sum(row.name.endswith("x") for row in rows)


@pytest.mark.parametrize("inline", [True, False])
async def test_a_full_disk_is_named_and_nothing_hangs(tmp_path: Path, *, inline: bool) -> None:
    database = Database(f"sqlite:///{tmp_path / 'full.db'}", WakeUps(), inline=inline)
    limit = database._writing.exec_driver_sql
    limit("PRAGMA max_page_count=1")  # as many as there are: the file cannot grow any more
    for _ in range(2):
        with pytest.raises(errors.StorageFull):
            await database.write(_fill)
    assert await database.write(_count) == 0
    limit("PRAGMA max_page_count=1000000")
    await database.write(_fill)
    assert await database.write(_count) == 5_000
    database.close()
