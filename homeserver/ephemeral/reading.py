"""Up to where somebody has read a room: everything, what stands in no thread, and each thread.

Spec: client-server-api#threaded-read-receipts
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from homeserver.ephemeral.receipts import MAIN_THREAD
from homeserver.matrix.identifiers import EventId
from homeserver.storage.ephemeral import Receipt


@dataclass(frozen=True, slots=True)
class Read:
    """Positions: of the receipt for everything, the one of the main timeline, those of threads."""

    everything: int = 0
    main: int = 0
    threads: Mapping[EventId, int] = field(default_factory=dict)

    @property
    def start(self) -> int:
        """What is not in a thread is unread after this."""
        return max(self.everything, self.main)

    def reaches(self, position: int, thread: EventId | None) -> bool:
        """Whether an event at a position of a thread (None: of none) is read."""
        if thread is None:
            return position <= self.start
        return position <= max(self.everything, self.threads.get(thread, 0))


def read_up_to(receipts: Iterable[Receipt]) -> Read:
    """From one user's receipts in a room; public and private ones count alike."""
    everything = main = 0
    threads: dict[EventId, int] = {}
    for one in receipts:
        if one.point is None:
            continue
        position = one.point.position
        if one.thread_id is None:
            everything = max(everything, position)
        elif one.thread_id == MAIN_THREAD:
            main = max(main, position)
        else:
            root = EventId(one.thread_id)
            threads[root] = max(threads.get(root, 0), position)
    return Read(everything, main, threads)
