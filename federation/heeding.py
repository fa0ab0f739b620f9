"""Whether what a peer sent still counts, asked again in each unit of work that it has an effect in.

Between the arrival of a frame and its effect the writer may have ended, paused or edited the
connection.
"""

from federation.payloads import CONNECTION
from homeserver import errors
from homeserver.matrix.identifiers import ServerName
from homeserver.storage import peers
from homeserver.storage.peers import PAUSED, Peer
from homeserver.storage.unit_of_work import View


class OnHold(errors.PeerUnreachable):
    """Nothing of it is taken in now: a pause keeps it for later, a revoke has deleted it."""


def heeded(view: View, server_name: ServerName, grant: str = CONNECTION) -> Peer:
    """The peer, if it is heard at this moment. Raises `OnHold`."""
    peer = peers.find_peer(view, server_name)
    if peer is None or not peer.may(grant) or peers.is_everything_paused(view):
        raise OnHold
    return peer


def is_held(view: View, server_name: str) -> bool:
    """Whether a pause, of the peer or of everything, holds even the messages of a handshake."""
    peer = peers.find_peer(view, ServerName(server_name))
    is_paused = peer is not None and peer.standing == PAUSED
    return is_paused or peers.is_everything_paused(view)
