"""Who is in a room, and which connected peers are to hear of what happens there."""

from homeserver.matrix import identifiers
from homeserver.matrix.identifiers import RoomId, ServerName, UserId
from homeserver.rooms import state
from homeserver.storage import meetings, peers, room_state, rooms, sharing
from homeserver.storage.unit_of_work import View


def is_in(view: View, room_id: RoomId, user_id: UserId) -> bool:
    """Whether somebody is joined to a room."""
    found = rooms.find_membership(view, room_id, user_id)
    return found is not None and found.membership == "join"


def is_heard(view: View, room_id: RoomId, user_id: UserId) -> bool:
    """Whether what a peer says of this user counts: in the room, and not shut out of it."""
    server = identifiers.server_of(user_id)
    if not is_in(view, room_id, user_id) or _is_beyond(view, room_id, server):
        return False
    return state.lets_in(view, room_state.current_state(view, room_id), server)


def _is_beyond(view: View, room_id: RoomId, server: ServerName) -> bool:
    """Whether a connection was made for other rooms only."""
    peer = peers.find_peer(view, server)
    is_of_rooms = peer is not None and peer.room_id is not None
    return is_of_rooms and not meetings.is_carried(view, room_id, server)


def peers_in(view: View, room_id: RoomId, grant: str) -> list[ServerName]:
    """The connected servers with someone in the room that may hear of this kind of thing.

    While one is paused, what is queued for it waits.
    """
    present = sharing.present_servers(view, room_id) & meetings.carrying(view, room_id)
    return [server for server in sorted(present) if peers.is_granted(view, server, grant)]


def peers_sharing_rooms(view: View, user_id: UserId, grant: str) -> list[ServerName]:
    """The connected servers with someone in any room this user is in."""
    connected = peers.connected_servers(view)
    if not connected:
        return []
    shared = {
        server
        for membership in rooms.rooms_of(view, user_id, rooms.JOINED)
        for server in sharing.present_servers(view, membership.room_id)
    }
    several = sorted(shared & connected)
    return [server for server in several if peers.is_granted(view, server, grant)]
