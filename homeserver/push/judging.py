"""What the owner's push rules make of events.

Spec: client-server-api#push-rules
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

from homeserver.matrix import push_rules
from homeserver.matrix.identifiers import RoomId, UserId
from homeserver.matrix.power_levels import PowerLevels
from homeserver.matrix.push_rules import Circumstances, Outcome
from homeserver.push import rules
from homeserver.rooms import ignoring, seeing, state, veils
from homeserver.storage import events, room_state, rooms
from homeserver.storage.events import StoredEvent
from homeserver.storage.unit_of_work import View

Judged = tuple[StoredEvent, Outcome]


def notifying(view: View, user_id: UserId, several: Sequence[StoredEvent]) -> list[Judged]:
    """Those of some live events that notify a user of a room they are in, with what is to be done.

    Events are given by room, and come back as they are shown.
    """
    ruleset, ignored = rules.load_rules(view, user_id), ignoring.ignored_by(view, user_id)
    judged: list[Judged] = []
    for room_id, of_room in groupby(several, key=lambda one: one.event.room_id):
        membership = rooms.find_membership(view, room_id, user_id)
        circumstances = circumstances_of(view, user_id, room_id)
        if circumstances is None or membership is None or membership.membership != "join":
            continue
        for stored in seeing.visible(view, user_id, of_room):
            sender = stored.event.sender
            if sender in ignored or veils.is_unheard(view, room_id, sender, stored.position or 0):
                continue
            outcome = push_rules.evaluate(stored.event, ruleset, circumstances)
            if outcome.notify:
                judged.append((stored, outcome))
    return judged


def inviting(view: View, user_id: UserId, after: int, until: int) -> list[Judged]:
    """The invitations that came after a position and up to another, where they notify."""
    came = {
        one.event_id: one.position
        for one in rooms.memberships_since(view, user_id, after)
        if one.membership == "invite" and one.position <= until and not one.is_forgotten
    }
    if not came:
        return []
    ruleset, ignored = rules.load_rules(view, user_id), ignoring.ignored_by(view, user_id)
    # Of a room one is not in nothing else is known for sure.
    circumstances = Circumstances(user_id, None, 0, PowerLevels(frozenset(), None, {}))
    judged: list[Judged] = []
    for event_id, stored in events.load_events(view, list(came)).items():
        outcome = push_rules.evaluate(stored.event, ruleset, circumstances)
        if outcome.notify and stored.event.sender not in ignored:
            judged.append((replace(stored, position=came[event_id]), outcome))
    return judged


def circumstances_of(view: View, user_id: UserId, room_id: RoomId) -> Circumstances | None:
    """Who might be notified in a room, and how the room is; None where it is not known."""
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
