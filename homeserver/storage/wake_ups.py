"""Who is woken after a commit: syncs that wait, workers that sleep.

A wake-up carries nothing. Whoever is woken reads what changed since its own position.
"""

from collections.abc import Callable, Iterable

SYNC = "sync"
OUTBOX = "outbox"
INBOX = "inbox"
NOTICES = "notices"
WAITING_EVENTS = "waiting_events"
ENDS = "ends"
STANDINGS = "standings"
FORGOTTEN = "forgotten"


class WakeUps:
    """Listeners by topic. Told on the event loop's thread, after the commit."""

    def __init__(self) -> None:
        self._listeners: dict[str, list[Callable[[], None]]] = {}

    def listen(self, topic: str, listener: Callable[[], None]) -> None:
        """Call this whenever something under the topic was committed."""
        self._listeners.setdefault(topic, []).append(listener)

    def ignore(self, topic: str, listener: Callable[[], None]) -> None:
        """Undo `listen`."""
        listeners = self._listeners.get(topic, [])
        if listener in listeners:
            listeners.remove(listener)

    def tell(self, topics: Iterable[str]) -> None:
        """Wake everyone who listens to one of these topics, in an order that is always the same."""
        for topic in sorted(topics):
            for listener in tuple(self._listeners.get(topic, ())):
                listener()
