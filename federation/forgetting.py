"""What a step of the consent table lets go of: handshakes, all of a peer, sight of its users."""

from dataclasses import replace

from federation import issuing
from federation.consent import Effect, Outcome, Use
from federation.desk import SILENT, WAITING
from homeserver import crash_points
from homeserver.crash_points import Point
from homeserver.rooms import hiding
from homeserver.storage import channels, frames, invitations, peers, waiting_events
from homeserver.storage.invitations import INVITER, Handshake
from homeserver.storage.peers import Peer
from homeserver.storage.unit_of_work import UnitOfWork


def forget(work: UnitOfWork, peer: Peer, outcome: Outcome, now_ms: int) -> list[str]:
    """Forget what the step says; returns the handshakes that went."""
    forgotten = []
    if {Effect.FORGET_HANDSHAKE, Effect.LET_REQUEST_WAIT} & set(outcome.effects):
        under_way = invitations.handshakes_with(work, peer.node_id)
        issuing.void_used_by(work, under_way, Use.OWNER_ENDED)
        if Effect.LET_REQUEST_WAIT in outcome.effects:
            under_way = [one for one in under_way if not _is_silenced(work, one)]
        forgotten = [one.key for one in under_way]
        for key in forgotten:
            invitations.delete_handshake(work, key)
    if Effect.FORGET_PEER in outcome.effects:
        channels.delete_channel(work, peer.server_name)
        frames.delete_everything(work, peer.server_name)
        waiting_events.delete_peer(work, peer.server_name)
        peers.change_peer(work, peer.server_name, granted={}, alarm=None)
        crash_points.reach(Point.PEER_FORGOTTEN)
    if Effect.HIDE_PEER in outcome.effects:
        hiding.follow_standing(work, peer.server_name, now_ms)
    return forgotten


def _is_silenced(work: UnitOfWork, handshake: Handshake) -> bool:
    """Keep the answer to a request that waits, so that a no looks like an owner who is away."""
    if handshake.role != INVITER or handshake.state not in (WAITING, SILENT):
        return False
    invitations.save_handshake(work, replace(handshake, state=SILENT))
    return True
