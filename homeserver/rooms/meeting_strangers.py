"""Servers that ours is not connected to, in rooms we are in: hidden until the owner agreed.

With `strangers_in_rooms: accept` being in the room is the owner's agreement. What follows from an
agreement is brought about by `federation.introductions`, which is woken here.
"""

from homeserver.matrix.identifiers import RoomId, ServerName
from homeserver.storage import accounts, meetings, peers, rooms
from homeserver.storage.meetings import Meeting
from homeserver.storage.peers import Peer
from homeserver.storage.unit_of_work import UnitOfWork, View

_UNDER_WAY = ("requested", "offered")


def is_unmet(view: View, room_id: RoomId, server: ServerName) -> bool:
    """Whether a server is a stranger whom the owner has not agreed to meet in this room."""
    if not is_stranger(view, server):
        return False
    said = meetings.find(view, server, room_id)
    if said is None or said.state == meetings.SILENT:
        return meetings.load_policy(view) != "accept"
    return said.state != meetings.AGREED


def note_arrival(work: UnitOfWork, room_id: RoomId, server: ServerName) -> None:
    """A server turns up in a room: if it is a stranger's, something has to be said about it.

    Whoever leaves may end a connection that was made for the room.
    """
    if meetings.load_policy(work) is None:
        return
    work.wake(meetings.TOPIC)
    if not is_stranger(work, server):
        meetings.wish_again(work, room_id)  # perhaps this one can introduce the owner to others
        return
    if meetings.find(work, server, room_id) is not None:
        return
    if server in rooms.servers_in_room(work, room_id, rooms.JOINED):
        meetings.save(
            work, Meeting(server, room_id, meetings.SILENT, is_theirs=False, how="", at=0)
        )


def is_stranger(view: View, server: ServerName) -> bool:
    """Whether nothing stands between us and a server that would count in every room.

    Whoever was cut off is no stranger: he stays hidden whatever is agreed in rooms.
    """
    if meetings.load_policy(view) is None:
        return False  # nobody here deals with peers
    owner = accounts.find_owner(view)
    if owner is None or server == owner.partition(":")[2]:
        return False
    peer = peers.find_peer(view, server)
    return peer is None or _is_fresh(peer) or is_of_rooms(peer)


def is_of_rooms(peer: Peer) -> bool:
    """Whether a connection that stands was made for rooms only."""
    return peer.room_id is not None and peer.standing in peers.CONNECTED


def _is_fresh(peer: Peer) -> bool:
    """Whether nothing came about yet, and nothing was ended before."""
    return peer.standing in _UNDER_WAY and peer.standing_before == "none"
