"""What one database's immutable rows are remembered in: parsed events and state maps.

Both are immutable under their key (an event under its ID and whether it is redacted, a state under
its number, which is never given twice), so nothing here is ever wrong after a rollback.
"""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from homeserver.matrix.events import Event, StateMap
from homeserver.matrix.identifiers import EventId
from homeserver.storage.unit_of_work import UnitOfWork, View

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

# Weights: one for each event, one for each entry of a state map.
_EVENTS = 10_000
_STATE_ENTRIES = 200_000


class Lru(Generic[K, V]):
    """Values by key, the least recently used ones dropped above a total weight.

    Reads come from three threads (loop, writer, scans), hence the lock.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._weight = 0
        self._values: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._values)

    def find(self, key: K) -> V | None:
        """The value, if it is remembered."""
        with self._lock:
            found = self._values.get(key)
            if found is None:
                return None
            self._values.move_to_end(key)
            return found[0]

    def drop(self, key: K) -> None:
        """Forget a value, if it is remembered."""
        with self._lock:
            dropped = self._values.pop(key, None)
            self._weight -= dropped[1] if dropped else 0

    def keep(self, key: K, value: V, weight: int = 1) -> None:
        """Remember a value, forgetting what was not used for longest."""
        with self._lock:
            before = self._values.pop(key, None)
            self._weight += weight - (before[1] if before else 0)
            self._values[key] = (value, weight)
            while self._weight > self._capacity and len(self._values) > 1:
                _, (_, dropped) = self._values.popitem(last=False)
                self._weight -= dropped


@dataclass(slots=True)
class Caches:
    """The caches of one database."""

    events: Lru[tuple[EventId, bool], Event] = field(default_factory=lambda: Lru(_EVENTS))
    states: Lru[int, StateMap] = field(default_factory=lambda: Lru(_STATE_ENTRIES))
    next_state_id: int | None = None


_caches: WeakKeyDictionary[Hashable, Caches] = WeakKeyDictionary()
_lock = threading.Lock()


def of(view: View) -> Caches:
    """The caches of the database that this view reads."""
    found = _caches.get(view.database_key)
    if found is None:
        with _lock:
            found = _caches.setdefault(view.database_key, Caches())
    return found


def drop_event(work: UnitOfWork, event_id: EventId) -> None:
    """Forget what is remembered of an event whose content goes from the disk."""
    remembered = of(work).events

    def drop() -> None:
        remembered.drop((event_id, False))
        remembered.drop((event_id, True))

    drop()
    work.after_commit(drop)
