"""Invitations that are not shown: those of ignored users, and all while none are taken.

Spec: client-server-api#ignoring-users, client-server-api#invite-permission
"""

from homeserver.matrix.identifiers import UserId
from homeserver.rooms import invite_permission
from homeserver.storage import rooms
from homeserver.storage.rooms import Membership
from homeserver.storage.unit_of_work import View


def is_unwanted(view: View, membership: Membership, ignored: frozenset[UserId]) -> bool:
    """Whether it is an invitation by somebody who is ignored, or to somebody who takes none."""
    if membership.membership != "invite":
        return False
    if invite_permission.is_blocking(view, membership.user_id):
        return True
    if not ignored:
        return False
    stripped = rooms.find_stripped_state(view, membership.room_id, membership.user_id)
    return any(
        entry.get("sender") in ignored
        for entry in stripped
        if (entry.get("type"), entry.get("state_key")) == ("m.room.member", membership.user_id)
    )
