"""What a step of the consent table lets go of: handshakes under way, and everything of a peer."""

from federation import issuing
from federation.consent import Effect, Outcome
from homeserver import crash_points
from homeserver.crash_points import Point
from homeserver.storage import channels, frames, invitations, peers, waiting_events
from homeserver.storage.peers import Peer
from homeserver.storage.unit_of_work import UnitOfWork


def forget(work: UnitOfWork, peer: Peer, outcome: Outcome) -> list[str]:
    """Forget what the step says; returns the handshakes that went."""
    forgotten = []
    if Effect.FORGET_HANDSHAKE in outcome.effects:
        under_way = invitations.handshakes_with(work, peer.node_id)
        forgotten = [one.key for one in under_way]
        issuing.void_used_by(work, under_way)
        invitations.delete_handshakes_with(work, peer.node_id)
    if Effect.FORGET_PEER in outcome.effects:
        channels.delete_channel(work, peer.server_name)
        frames.delete_everything(work, peer.server_name)
        waiting_events.delete_peer(work, peer.server_name)
        peers.change_peer(work, peer.server_name, granted={}, alarm=None)
        crash_points.reach(Point.PEER_FORGOTTEN)
    return forgotten
