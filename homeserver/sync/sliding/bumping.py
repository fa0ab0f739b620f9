"""When something was last said in a room, by which clients sort their lists.

Spec: MSC4186, bump_stamp
"""

from collections.abc import Iterable

from homeserver.rooms import veils
from homeserver.storage import events
from homeserver.storage.events import Point, StoredEvent
from homeserver.storage.rooms import Membership
from homeserver.storage.unit_of_work import View
from homeserver.sync.sliding.asking import RoomPlan
from homeserver.sync.timelines import Slice

_SAID = frozenset(
    {
        "m.room.create",
        "m.room.message",
        "m.room.encrypted",
        "m.sticker",
        "m.call.invite",
        "m.poll.start",
        "org.matrix.msc3381.poll.start",
        "m.beacon_info",
        "org.matrix.msc3672.beacon_info",
    }
)
_BATCH = 25
_BATCHES = 8


def find(view: View, plan: RoomPlan, part: Slice, until: int) -> int | None:
    """The position of the newest event that counts; None where the device knows it.

    Where nothing was said for very long, the moment the user came to the room stands for it.
    """
    if plan.membership.membership != "join":
        return plan.membership.position
    said_at = _newest(part.events)
    if said_at is not None:
        return said_at
    if plan.since is not None and not part.is_limited:
        return None
    return _look_back(view, plan.membership, until) or plan.membership.position


def _look_back(view: View, membership: Membership, until: int) -> int | None:
    point = Point(until)
    for _ in range(_BATCHES):
        batch = events.timeline_before(view, membership.room_id, point, _BATCH)
        said_at = _newest(reversed(veils.shown(view, membership.user_id, batch)))
        if said_at is not None or len(batch) < _BATCH:
            return said_at
        last = batch[-1].point
        point = Point(last.position, last.rank - 1)
    return None


def _newest(several: Iterable[StoredEvent]) -> int | None:
    """The position of the last of these events, oldest first, that counts."""
    said = [one.position for one in several if one.event.type in _SAID]
    return said[-1] if said else None
