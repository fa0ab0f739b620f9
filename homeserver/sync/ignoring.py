"""Whom the owner does not want to hear.

Spec: client-server-api#ignoring-users
"""

from homeserver.matrix.identifiers import UserId
from homeserver.storage import account_data, rooms
from homeserver.storage.rooms import Membership
from homeserver.storage.unit_of_work import View

_TYPE = "m.ignored_user_list"


class IgnoredUsers:
    """Remembers the list until some account data changes."""

    def __init__(self) -> None:
        self._known: dict[UserId, tuple[int, frozenset[UserId]]] = {}

    def load(self, view: View, user_id: UserId, newest: int) -> frozenset[UserId]:
        """The users ignored; `newest` is the position of the newest change of account data."""
        read_at, ignored = self._known.get(user_id, (-1, frozenset()))
        if read_at != newest:
            ignored = _read(view, user_id)
            self._known[user_id] = (newest, ignored)
        return ignored


def _read(view: View, user_id: UserId) -> frozenset[UserId]:
    content = account_data.find_account_data(view, user_id, None, _TYPE)
    ignored = content.get("ignored_users") if content is not None else None
    return frozenset(ignored) if isinstance(ignored, dict) else frozenset()


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
