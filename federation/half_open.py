"""A handshake that comes to nothing: it took too long, or its invitation was withdrawn."""

from federation import consent, consent_steps, early_invitations
from federation.consent import Outcome, Standing, Step
from federation.consent_steps import Doing
from federation.desk import DONE, SILENT
from federation.turn_state import Party
from homeserver.matrix.identifiers import ServerName
from homeserver.storage import invitations, peers
from homeserver.storage.invitations import Handshake
from homeserver.storage.peers import Peer
from homeserver.storage.unit_of_work import UnitOfWork


def end(
    work: UnitOfWork, party: Party, handshake: Handshake, step: Step, doing: Doing
) -> tuple[Peer, Outcome] | None:
    """Forget it, and take the step if that was all there was; returns whom it concerned."""
    invitations.delete_handshake(work, handshake.key)
    peer = peers.find_peer(work, ServerName(handshake.server_name))
    if peer is None or _is_another_under_way(work, handshake.node_id):
        return None
    if (Standing(peer.standing), step) not in consent.TABLE:
        return None
    early_invitations.take_back(work, party, peer, step)
    return peer, consent_steps.take(work, peer, step, doing)[1]


def _is_another_under_way(work: UnitOfWork, node_id: str) -> bool:
    """Whether another handshake with the same node still waits for its end."""
    under_way = invitations.handshakes_with(work, node_id)
    return any(one.state not in (DONE, SILENT) for one in under_way)
