"""Tell connected peers what changed about us: where we are found, and a newer card.

What a peer was told stands in its channel's row, so a change is told once, whenever it happened.
"""

import orjson

from federation import reach
from federation.own_identity import OwnIdentity
from homeserver.matrix.identifiers import ServerName
from homeserver.storage import channels, frames, peers
from homeserver.storage.unit_of_work import UnitOfWork, View


def announce_all(work: UnitOfWork, own: OwnIdentity, routes: tuple[str, ...]) -> None:
    """Queue for every connected peer what it does not know yet."""
    for server_name in sorted(peers.connected_servers(work)):
        announce(work, own, routes, server_name)


def announce(
    work: UnitOfWork, own: OwnIdentity, routes: tuple[str, ...], server_name: ServerName
) -> None:
    """Queue for one peer what it does not know yet; direct routes only with the grant."""
    peer = peers.find_peer(work, server_name)
    channel = channels.find_channel(work, server_name)
    if peer is None or channel is None:
        return
    theirs: list[str] = orjson.loads(channel.routes)
    may_learn = peers.permits(peer.grants, "route")
    given = list(reach.towards(routes, theirs)) if may_learn else []
    told = orjson.dumps(given)
    if told != channel.told_routes:
        sequence = channel.told_sequence + 1
        body = {"sequence": sequence, "routes": given}
        frames.queue_item(work, server_name, frames.CONTROL, "routes", body)
        changes = {"told_routes": told, "told_sequence": sequence}
        channels.change_channel(work, server_name, changes)
    card = own.identity.card.sequence
    if card > channel.told_card:
        body = {"identity": own.proof}
        frames.queue_item(work, server_name, frames.CONTROL, "card", body)
        channels.change_channel(work, server_name, {"told_card": card})


def was_told_a_route(view: View, server_name: ServerName) -> bool:
    """Whether a peer knows where to find us."""
    channel = channels.find_channel(view, server_name)
    return channel is not None and bool(orjson.loads(channel.told_routes))
