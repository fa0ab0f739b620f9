"""How many unread events of a room notify the owner, and how many do so loudly; by threads.

Counted when a sync asks, and remembered in memory: each event is judged once, unless the server
starts again or the rules change.

Spec: client-server-api#receiving-notifications, client-server-api#threading
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from homeserver.ephemeral.reading import Read
from homeserver.matrix import push_rules
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.events import Event
from homeserver.matrix.identifiers import EventId, RoomId, UserId
from homeserver.push import judging, rules
from homeserver.rooms import veils
from homeserver.rooms.ignoring import IgnoredUsers
from homeserver.storage import events, relations
from homeserver.storage.events import StoredEvent
from homeserver.storage.unit_of_work import View

_ROOMS_REMEMBERED = 1_000
# Nobody looks at a higher number.
_EVENTS_LIMIT = 500


@dataclass(frozen=True, slots=True)
class Counts:
    """What a client shows beside a room's name."""

    notifications: int = 0
    highlights: int = 0


@dataclass(frozen=True, slots=True)
class Unread:
    """What is unread in a room: outside threads, and in each thread where anything is."""

    main: Counts
    threads: Mapping[EventId, Counts]

    @property
    def total(self) -> Counts:
        """All of it, for clients that do not ask for threads apart."""
        several = [self.main, *self.threads.values()]
        return Counts(
            sum(one.notifications for one in several), sum(one.highlights for one in several)
        )


NOTHING = Unread(Counts(), {})


@dataclass(frozen=True, slots=True)
class _Notifying:
    position: int
    is_loud: bool
    thread: EventId | None


@dataclass(slots=True)
class _Judged:
    """What is known of a room up to a position, by the rules as they were at another."""

    until: int
    rules_at: int
    notifying: list[_Notifying] = field(default_factory=list)


class UnreadCounts:
    """Counts unread events by the owner's push rules."""

    def __init__(self) -> None:
        self._rooms: OrderedDict[tuple[UserId, RoomId], _Judged] = OrderedDict()
        self._rules: dict[UserId, tuple[int, JsonObject]] = {}
        self._ignored = IgnoredUsers()

    def count(
        self, view: View, user_id: UserId, room_id: RoomId, read: Read, until: int, rules_at: int
    ) -> Unread:
        """Count the live events after what the user has read and up to a position.

        Whoever writes has read what came before. `rules_at`: when account data changed last; the
        rules are a part of it.
        """
        key = (user_id, room_id)
        judged = self._rooms.pop(key, None)
        if judged is None or judged.rules_at != rules_at:
            judged = _Judged(read.start, rules_at)
            if read.start > read.everything:
                older = relations.threaded_between(
                    view, room_id, read.everything, read.start, _EVENTS_LIMIT
                )
                self._judge(view, user_id, judged, older)
        if until > judged.until:
            newer = events.timeline_since(view, room_id, judged.until, until, _EVENTS_LIMIT)
            self._judge(view, user_id, judged, newer.events)
            judged.until = until
        judged.notifying = [
            one for one in judged.notifying if not read.reaches(one.position, one.thread)
        ][-_EVENTS_LIMIT:]
        self._rooms[key] = judged
        if len(self._rooms) > _ROOMS_REMEMBERED:
            self._rooms.popitem(last=False)
        return _counted(judged.notifying)

    def _judge(
        self, view: View, user_id: UserId, judged: _Judged, several: Sequence[StoredEvent]
    ) -> None:
        unread: list[tuple[int, Event]] = []
        for stored in veils.shown(view, user_id, several):
            event = stored.event
            if event.sender != user_id and stored.position is not None:
                if not self._is_unheard(view, user_id, judged, stored):
                    unread.append((stored.position, event))
            elif not event.is_state:
                thread = thread_of(event)
                judged.notifying = [one for one in judged.notifying if one.thread != thread]
                unread = [one for one in unread if thread_of(one[1]) != thread]
        if unread:
            ruleset = self._load_rules(view, user_id, judged.rules_at)
            judged.notifying += _notifying(view, user_id, ruleset, unread)

    def _is_unheard(
        self, view: View, user_id: UserId, judged: _Judged, stored: StoredEvent
    ) -> bool:
        """Whether the client is not told of it: its sender is hidden here, or ignored."""
        event = stored.event
        if veils.is_unheard(view, event.room_id, event.sender, stored.position or 0):
            return True
        return event.sender in self._ignored.load(view, user_id, judged.rules_at)

    def _load_rules(self, view: View, user_id: UserId, rules_at: int) -> JsonObject:
        read_at, ruleset = self._rules.get(user_id, (-1, {}))
        if read_at != rules_at:
            ruleset = rules.load_rules(view, user_id)
            self._rules[user_id] = (rules_at, ruleset)
        return ruleset


def thread_of(event: Event) -> EventId | None:
    """The root of the thread an event stands in.

    Spec: client-server-api#threading
    """
    relates_to = event.content.get("m.relates_to")
    if not isinstance(relates_to, dict) or relates_to.get("rel_type") != "m.thread":
        return None
    root = relates_to.get("event_id")
    return EventId(root) if isinstance(root, str) else None


def _counted(notifying: Sequence[_Notifying]) -> Unread:
    if not notifying:
        return NOTHING
    by_thread: dict[EventId | None, list[_Notifying]] = {}
    for one in notifying:
        by_thread.setdefault(one.thread, []).append(one)
    counts = {
        thread: Counts(len(several), sum(one.is_loud for one in several))
        for thread, several in by_thread.items()
    }
    main = counts.pop(None, Counts())
    return Unread(main, {thread: one for thread, one in counts.items() if thread is not None})


def _notifying(
    view: View, user_id: UserId, ruleset: JsonObject, unread: Sequence[tuple[int, Event]]
) -> list[_Notifying]:
    circumstances = judging.circumstances_of(view, user_id, unread[0][1].room_id)
    if circumstances is None:
        return []
    judged = [
        (position, event, push_rules.evaluate(event, ruleset, circumstances))
        for position, event in unread
    ]
    return [
        _Notifying(position, outcome.highlight, thread_of(event))
        for position, event, outcome in judged
        if outcome.notify
    ]
