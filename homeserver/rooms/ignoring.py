"""Whom the owner does not want to hear.

Spec: client-server-api#ignoring-users
"""

from homeserver.matrix.identifiers import UserId
from homeserver.storage import account_data
from homeserver.storage.unit_of_work import View

TYPE = "m.ignored_user_list"


class IgnoredUsers:
    """Remembers the list until some account data changes."""

    def __init__(self) -> None:
        self._known: dict[UserId, tuple[int, frozenset[UserId]]] = {}

    def load(self, view: View, user_id: UserId, newest: int) -> frozenset[UserId]:
        """The users ignored; `newest` is the position of the newest change of account data."""
        read_at, ignored = self._known.get(user_id, (-1, frozenset()))
        if read_at != newest:
            ignored = ignored_by(view, user_id)
            self._known[user_id] = (newest, ignored)
        return ignored


def ignored_by(view: View, user_id: UserId) -> frozenset[UserId]:
    """The users that a user ignores, read from the database; never the user too."""
    content = account_data.find_account_data(view, user_id, None, TYPE)
    ignored = content.get("ignored_users") if content is not None else None
    return frozenset(ignored) - {user_id} if isinstance(ignored, dict) else frozenset()
