"""Push rules: the owner's own, and how many unread events they make of a room."""

from homeserver.push.rules import PushRules
from homeserver.push.unread import Counts, UnreadCounts

__all__ = ["Counts", "PushRules", "UnreadCounts"]
