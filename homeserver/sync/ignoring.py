"""What ignored users would have told: their invitations.

Spec: client-server-api#ignoring-users
"""

from homeserver.matrix.identifiers import UserId
from homeserver.storage import rooms
from homeserver.storage.rooms import Membership
from homeserver.storage.unit_of_work import View


def is_unwanted(view: View, membership: Membership, ignored: frozenset[UserId]) -> bool:
    """Whether it is an invitation by somebody who is ignored."""
    if not ignored or membership.membership != "invite":
        return False
    stripped = rooms.find_stripped_state(view, membership.room_id, membership.user_id)
    return any(
        entry.get("sender") in ignored
        for entry in stripped
        if (entry.get("type"), entry.get("state_key")) == ("m.room.member", membership.user_id)
    )
