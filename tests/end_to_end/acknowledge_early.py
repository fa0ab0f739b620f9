"""Starts a server that breaks its promise: it acknowledges writes before they are committed.

Only to show that the test of the promise notices. Run it in place of `python -m homeserver`.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from homeserver.cli import main
from homeserver.storage.database import Database
from homeserver.storage.unit_of_work import UnitOfWork

_LATE_S = 0.005

_write = Database.write


async def _write_and_acknowledge_early(
    database: Database, operation: Callable[[UnitOfWork], Any]
) -> Any:
    loop = asyncio.get_running_loop()
    acknowledged: asyncio.Future[Any] = loop.create_future()

    def tell(result: Any) -> None:
        if not acknowledged.done():
            acknowledged.set_result(result)

    def run(work: UnitOfWork) -> Any:
        result = operation(work)
        loop.call_soon_threadsafe(tell, result)
        time.sleep(_LATE_S)  # the commit comes afterwards
        return result

    def fail(written: "asyncio.Task[Any]") -> None:
        error = written.exception()
        if error is not None and not acknowledged.done():
            acknowledged.set_exception(error)

    written = asyncio.create_task(_write(database, run))
    written.add_done_callback(fail)
    return await acknowledged


if __name__ == "__main__":
    Database.write = _write_and_acknowledge_early  # type: ignore[assignment]
    main()
