"""After a backup was put back: no key is used twice, and nobody revoked since then comes back.

Runs before the server is started. Every connection comes up paused, for the owner to confirm.
"""

from dataclasses import replace

from federation import consent_steps, early_invitations, identity, repair
from federation.consent import Standing, Step
from federation.consent_steps import Doing
from federation.turn_state import Party
from homeserver.encryption import peer_deposits
from homeserver.storage import groups, invitations, notices, peers
from homeserver.storage.peers import Peer
from homeserver.storage.unit_of_work import UnitOfWork

_WHY = "a backup was restored"


def void(work: UnitOfWork, party: Party) -> list[Peer]:
    """Void invitations, handshakes, accounts and sessions; returns who waits to be confirmed."""
    now = party.clock.now_ms()
    for handshake in invitations.load_handshakes(work):
        peer = peers.find_node(work, handshake.node_id)
        if peer is not None and peer.standing in (Standing.REQUESTED, Standing.OFFERED):
            early_invitations.take_back(work, party, peer, Step.EXPIRED)
            consent_steps.take(work, peer, Step.EXPIRED, Doing(now, "server", _WHY))
    invitations.void_all(work)
    groups.forget_everything(work)
    peer_deposits.forget_after_restore(work, identity.to_text(party.token()))
    paused = []
    for peer in peers.load_peers(work):
        repair.begin_anew_with(work, party, peer, is_restored=True)
        if peer.standing == Standing.ACTIVE:
            doubted = replace(peer, paused_because=_WHY)
            doing = Doing(now, "server", _WHY)
            peer_after, _ = consent_steps.take(work, doubted, Step.DOUBT_ROSE, doing)
            words = {"server_name": peer.server_name, "name": peer.name, "reason": _WHY}
            notices.tell_owner(work, now, "paused", peer.node_id, words)
            paused.append(peer_after)
        elif peer.standing == Standing.PAUSED:
            paused.append(peer)
    return paused
