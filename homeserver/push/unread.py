"""How many unread events of a room notify the owner, and how many do so loudly.

Counted when a sync asks, and remembered in memory: each event is judged once, unless the server
starts again or the rules change.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from homeserver.matrix import push_rules
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.events import Event
from homeserver.matrix.identifiers import RoomId, UserId
from homeserver.matrix.push_rules import Circumstances
from homeserver.push import rules
from homeserver.rooms import state, veils
from homeserver.storage import events, room_state, rooms
from homeserver.storage.unit_of_work import View

_ROOMS_REMEMBERED = 1_000
# Nobody looks at a higher number.
_EVENTS_LIMIT = 500


@dataclass(frozen=True, slots=True)
class Counts:
    """What a client shows beside a room's name."""

    notifications: int = 0
    highlights: int = 0


@dataclass(slots=True)
class _Judged:
    """What is known of a room between two positions: where something notifies, and how."""

    after: int
    until: int
    ruleset: JsonObject
    notifying: list[tuple[int, bool]] = field(default_factory=list)


class UnreadCounts:
    """Counts unread events by the owner's push rules."""

    def __init__(self) -> None:
        self._rooms: OrderedDict[tuple[UserId, RoomId], _Judged] = OrderedDict()

    def count(
        self, view: View, user_id: UserId, room_id: RoomId, read_up_to: int, until: int
    ) -> Counts:
        """Count the live events after what the user has read and up to a position.

        Whoever writes has read what came before.
        """
        ruleset = rules.load_rules(view, user_id)
        key = (user_id, room_id)
        judged = self._rooms.pop(key, None)
        if (
            judged is None
            or judged.ruleset != ruleset
            or not judged.after <= read_up_to
            or judged.until > until
        ):
            judged = _Judged(read_up_to, read_up_to, ruleset)
        _judge_more(view, user_id, room_id, judged, until)
        judged.notifying = [one for one in judged.notifying if one[0] > read_up_to]
        judged.after = max(judged.after, read_up_to)
        self._rooms[key] = judged
        if len(self._rooms) > _ROOMS_REMEMBERED:
            self._rooms.popitem(last=False)
        return Counts(len(judged.notifying), sum(is_loud for _, is_loud in judged.notifying))


def _judge_more(view: View, user_id: UserId, room_id: RoomId, judged: _Judged, until: int) -> None:
    if until <= judged.until:
        return
    timeline = events.timeline_since(view, room_id, judged.until, until, _EVENTS_LIMIT)
    judged.until = until
    unread: list[tuple[int, Event]] = []
    for stored in veils.shown(view, user_id, timeline.events):
        if stored.event.sender == user_id and not stored.event.is_state:
            judged.notifying.clear()
            unread.clear()
        elif (
            stored.event.sender != user_id
            and stored.position is not None
            and not veils.is_unheard(view, room_id, stored.event.sender, stored.position)
        ):
            unread.append((stored.position, stored.event))
    if unread:
        judged.notifying += _notifying(view, user_id, room_id, judged.ruleset, unread)
        del judged.notifying[:-_EVENTS_LIMIT]


def _notifying(
    view: View,
    user_id: UserId,
    room_id: RoomId,
    ruleset: JsonObject,
    unread: Sequence[tuple[int, Event]],
) -> list[tuple[int, bool]]:
    circumstances = _circumstances(view, user_id, room_id)
    if circumstances is None:
        return []
    judged = [
        (position, push_rules.evaluate(event, ruleset, circumstances)) for position, event in unread
    ]
    return [(position, outcome.highlight) for position, outcome in judged if outcome.notify]


def _circumstances(view: View, user_id: UserId, room_id: RoomId) -> Circumstances | None:
    current = room_state.current_state(view, room_id)
    if state.CREATE not in current:
        return None
    membership = rooms.find_membership(view, room_id, user_id)
    return Circumstances(
        user_id,
        membership.display_name if membership else None,
        len(veils.members(view, room_id, rooms.JOINED)),
        state.power_levels(view, current),
    )
