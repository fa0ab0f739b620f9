"""What a peer is told of its grants: all but the note, and whether we take invitations at all."""

from federation import grants
from homeserver.matrix.canonical_json import JsonObject
from homeserver.rooms import invite_permission
from homeserver.storage import accounts, frames, peers
from homeserver.storage.unit_of_work import UnitOfWork, View


def told(view: View, given: JsonObject) -> JsonObject:
    """What these grants look like from the other side."""
    owner = accounts.find_owner(view)
    is_blocking = owner is not None and invite_permission.is_blocking(view, owner)
    return grants.as_told(given) | ({peers.TAKES_INVITES: False} if is_blocking else {})


def tell_everybody(work: UnitOfWork) -> None:
    """Queue what each connected peer is to know; for what concerns all of them."""
    for peer in peers.load_peers(work):
        if peer.server_name in peers.connected_servers(work):
            body = {"grants": told(work, peer.grants)}
            frames.queue_item(work, peer.server_name, frames.CONTROL, "grants", body)
