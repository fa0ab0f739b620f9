"""The syncs that wait for something to happen."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from homeserver.ports import Clock

_WAITING_AT_ONCE = 200


class Waiter:
    """One waiting sync. Whatever happens after it was made is not missed."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._happened = asyncio.Event()
        self.is_superseded = False

    def wake(self) -> None:
        """Let it look again."""
        self._happened.set()

    async def wait(self, seconds: float) -> None:
        """Return when something happened since the last wait, or after so many seconds."""
        happened = asyncio.ensure_future(self._happened.wait())
        too_late = asyncio.ensure_future(self._clock.sleep(seconds))
        try:
            await asyncio.wait((happened, too_late), return_when=asyncio.FIRST_COMPLETED)
        finally:
            happened.cancel()
            too_late.cancel()
        self._happened.clear()


class Notifier:
    """Wakes every waiting sync; which of them something concerns, each finds out itself.

    Where too many wait, the one that has waited longest is answered.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiters: OrderedDict[int, Waiter] = OrderedDict()

    def wake(self) -> None:
        """Something was committed, or somebody types."""
        for waiter in self._waiters.values():
            waiter.wake()

    @contextmanager
    def waiting(self) -> Iterator[Waiter]:
        """Be woken from now on; begin before looking what is there already."""
        waiter = Waiter(self._clock)
        if len(self._waiters) >= _WAITING_AT_ONCE:
            _, oldest = self._waiters.popitem(last=False)
            oldest.is_superseded = True
            oldest.wake()
        self._waiters[id(waiter)] = waiter
        try:
            yield waiter
        finally:
            self._waiters.pop(id(waiter), None)
