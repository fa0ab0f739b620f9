"""Which of a room's state an answer tells, beside the timeline.

Spec: MSC4186, required_state
"""

from collections.abc import Callable
from dataclasses import dataclass

from homeserver.matrix.events import StateKey
from homeserver.matrix.identifiers import EventId, UserId
from homeserver.storage import room_state
from homeserver.sync.room_state_changes import MEMBER
from homeserver.sync.sliding.asking import RoomPlan
from homeserver.sync.timelines import Slice


@dataclass(frozen=True, slots=True)
class StateChanges:
    """What changed since the device was told, and what of it to send.

    `changed` is None for a device that knows nothing of the room. `gone` are places that are not
    set any more.
    """

    changed: dict[StateKey, EventId | None] | None
    sent: dict[StateKey, EventId]
    gone: list[StateKey]

    def has_changed(self, key: StateKey) -> bool:
        """Whether the device must be told anew what stands at a place."""
        return self.changed is None or key in self.changed

    @property
    def have_members_changed(self) -> bool:
        """Whether somebody's membership or profile is not what the device knows."""
        return self.changed is None or any(key[0] == MEMBER for key in self.changed)


def choose(
    plan: RoomPlan, part: Slice, is_known: Callable[[UserId, EventId], bool]
) -> StateChanges:
    """Choose what to send. `is_known` says which memberships the device was told already."""
    wanted = plan.config.required_state
    if plan.since is None:
        changes = StateChanges(None, wanted.select(part.at_end), [])
    else:
        changes = _choose_changes(plan, part)
    if wanted.is_lazy:
        for user_id in _speakers(part, changes):
            event_id = part.at_end.get((MEMBER, user_id))
            if event_id is not None and not is_known(user_id, event_id):
                changes.sent.setdefault((MEMBER, user_id), event_id)
    return changes


def _choose_changes(plan: RoomPlan, part: Slice) -> StateChanges:
    wanted, had = plan.config.required_state, plan.had
    changed = room_state.difference(part.known, part.at_end)
    chosen = wanted.select(changed)
    sent = {key: event_id for key, event_id in chosen.items() if event_id is not None}
    if not wanted <= had:
        added = wanted.select(part.at_end)
        sent.update({key: added[key] for key in added if not had.matches(key)})
    return StateChanges(changed, sent, [key for key in chosen if chosen[key] is None])


def _speakers(part: Slice, changes: StateChanges) -> set[UserId]:
    """Who speaks in the timeline, whom it is about, and who changed where nothing is left out."""
    people: set[UserId] = {one.event.sender for one in part.events}
    for one in part.events:
        if one.event.type == MEMBER and one.event.state_key is not None:
            people.add(UserId(one.event.state_key))
    if changes.changed is not None and not part.is_limited:
        people.update(UserId(key[1]) for key in changes.changed if key[0] == MEMBER)
    return people
