"""The owner comes back into the room in which the server speaks to him.

It is for invited people, and nobody can ask the server for an invitation: wanting in is enough.

Spec: client-server-api#server-notices
"""

from homeserver.matrix.identifiers import RoomId, UserId
from homeserver.rooms import drafting, inviting, state
from homeserver.rooms.local_server import LocalServer
from homeserver.storage import notices, room_state, rooms
from homeserver.storage.unit_of_work import UnitOfWork

_WELCOME = frozenset({"invite", "join"})


def let_in(
    work: UnitOfWork, local: LocalServer, room_id: RoomId, user_id: UserId, now_ms: int
) -> None:
    """Invite the owner who wants to enter the server's own room; do nothing about any other."""
    known = notices.find_room(work, user_id)
    if known is None or known.room_id != room_id:
        return
    membership = rooms.find_membership(work, room_id, user_id)
    if membership is not None and membership.membership in _WELCOME:
        return
    made = state.load_entry(work, room_state.current_state(work, room_id), ("m.room.create", ""))
    if made is not None:
        profile = inviting.profile_of(work, user_id)
        invitation = drafting.membership(made.sender, user_id, "invite", profile)
        room = drafting.load_room(work, room_id)
        inviting.change_membership(work, local, room, invitation, now_ms)
