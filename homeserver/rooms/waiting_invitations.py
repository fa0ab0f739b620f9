"""Invitations of people whose servers have not said yes to a connection yet.

Such an invitation stands in the room and nowhere else: nothing is queued, so nothing can leave too
early, and what waits is as safe from crashes as the room.
"""

from homeserver import errors
from homeserver.matrix import identifiers
from homeserver.matrix.events import Event
from homeserver.matrix.identifiers import RoomId, ServerName, UserId
from homeserver.rooms import drafting, inviting
from homeserver.rooms.local_server import LocalServer
from homeserver.storage import events, hiding, rooms
from homeserver.storage.unit_of_work import UnitOfWork, View

_INVITED = frozenset({"invite"})


def hand_over(work: UnitOfWork, local: LocalServer, server: ServerName) -> None:
    """The connection is there: each invitation of the server's users goes to them now."""
    for invitation in _waiting(work, local, server):
        room = drafting.load_room(work, invitation.room_id)
        inviting.tell_outsider(work, local, room, invitation)


def take_back(
    work: UnitOfWork, local: LocalServer, server: ServerName, now_ms: int
) -> tuple[list[RoomId], list[RoomId]]:
    """Nothing came of the connection: take the invited out of the rooms again.

    Returns out of which rooms, and out of which not, because nobody of this server may do that.
    """
    taken, left = [], []
    for invitation in _waiting(work, local, server):
        room = drafting.load_room(work, invitation.room_id)
        departure = drafting.membership(invitation.sender, UserId(invitation.key[1]), "leave")
        try:
            inviting.change_membership(work, local, room, departure, now_ms)
        except errors.NotAllowed:
            left.append(room.room_id)
        else:
            taken.append(room.room_id)
    return taken, left


def _waiting(view: View, local: LocalServer, server: ServerName) -> list[Event]:
    """The invitations of a server's users that somebody here made."""
    inside = (
        room_id
        for room_id in hiding.rooms_of_server(view, server)
        if drafting.is_inside(view, room_id, local)
    )
    invited = [
        one.event_id
        for room_id in inside
        for one in rooms.members_of(view, room_id, _INVITED)
        if identifiers.server_of(one.user_id) == server
    ]
    found = events.load_bodies(view, invited)
    return [found[one] for one in invited if one in found and local.owns(found[one].sender)]
