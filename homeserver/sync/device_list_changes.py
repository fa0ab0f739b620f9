"""Whose device lists a client must fetch anew, and whose it may forget.

Spec: client-server-api#tracking-the-device-list-for-a-user
"""

from collections.abc import Iterable
from dataclasses import dataclass

from homeserver.matrix.identifiers import RoomId, UserId
from homeserver.rooms import veils
from homeserver.storage import encryption, rooms
from homeserver.storage.rooms import Membership
from homeserver.storage.unit_of_work import View
from homeserver.sync.asking import Asked
from homeserver.sync.room_parts import RoomPart


@dataclass(frozen=True, slots=True)
class DeviceListChanges:
    """The users to ask about again, and those nothing is shared with any more."""

    changed: list[UserId]
    left: list[UserId]


NONE = DeviceListChanges([], [])


def load_changes(
    view: View,
    asked: Asked,
    parts: Iterable[RoomPart],
    fresh: Iterable[RoomId],
    left_rooms: Iterable[Membership],
    *,
    has_changes: bool,
) -> DeviceListChanges:
    """Compare who shares a room with the owner now with who did before.

    `has_changes`: somebody's device list changed since.
    """
    if asked.is_initial:
        return NONE
    changed: set[UserId] = set()
    if has_changes:
        changed = encryption.device_list_changes(view, asked.after, asked.until)
    moved = {user_id for part in parts for user_id in part.joins_and_leaves}
    for room_id in fresh:
        moved.update(one.user_id for one in veils.members(view, room_id, rooms.JOINED))
    for membership in left_rooms:
        members = veils.members(view, membership.room_id, frozenset({"join", "leave", "ban"}))
        moved.update(member.user_id for member in members)
    if not changed and not moved:
        return NONE
    near = veils.users_near(view, asked.user_id)
    moved.discard(asked.user_id)
    shown = {one for one in changed if one in near or one == asked.user_id} | (moved & near)
    return DeviceListChanges(sorted(shown), sorted(moved - near))
