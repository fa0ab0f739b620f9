"""Which events of a room a user may see: history visibility."""

from dataclasses import dataclass
from typing import Any

from homeserver.matrix.events import Event

DEFAULT = "shared"
_KNOWN = frozenset({"world_readable", "shared", "invited", "joined"})


@dataclass(frozen=True, slots=True)
class Viewpoint:
    """What decides whether a user sees an event: the room just before it, and what came after."""

    visibility: str
    membership: str | None
    has_joined_since: bool  # also true of who is in the room now


def visibility_of(content: Any) -> str:
    """Read the content of m.room.history_visibility, or None where the room has no such event.

    Spec: client-server-api#mroomhistory_visibility
    """
    visibility = content.get("history_visibility") if isinstance(content, dict) else None
    return visibility if isinstance(visibility, str) and visibility in _KNOWN else DEFAULT


def may_see(visibility: str, membership: str | None, *, has_joined_since: bool) -> bool:
    """Whether a user sees an event, given the visibility and their membership at that event.

    Spec: client-server-api#room-history-visibility
    """
    if visibility == "world_readable" or membership == "join":
        return True
    if visibility == "shared":
        return has_joined_since
    return visibility == "invited" and membership == "invite"


def may_see_event(event: Event, user_id: str, before: Viewpoint) -> bool:
    """Whether a user sees this event; one that changes the answer counts as either side of it.

    Spec: client-server-api#room-history-visibility
    """
    visibilities, memberships = {before.visibility}, {before.membership}
    if event.is_state and event.key == ("m.room.history_visibility", ""):
        visibilities.add(visibility_of(event.content))
    if event.is_state and event.key == ("m.room.member", user_id):
        memberships.add(event.content.get("membership"))
    return any(
        may_see(visibility, membership, has_joined_since=before.has_joined_since)
        for visibility in visibilities
        for membership in memberships
    )
