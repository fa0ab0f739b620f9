"""A link that two people used: the second is refused, the owner asked, the first made to wait."""

from dataclasses import replace

from federation import consent_steps, fingerprints
from federation.consent import Standing, Step
from federation.consent_steps import Doing
from federation.handshake_messages import Asked
from federation.own_identity import OwnIdentity
from homeserver import metrics
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import ServerName
from homeserver.storage import invitations, notices, peers
from homeserver.storage.invitations import INVITER, Invitation
from homeserver.storage.peers import Peer
from homeserver.storage.unit_of_work import UnitOfWork, View

TWICE = "its invitation was used twice"
OPENED_AGAIN = "opened_again"
_SCANNED = "scanned"


def warn(
    work: UnitOfWork, own: OwnIdentity, invitation: Invitation, asked: Asked, now: int
) -> None:
    """Tell the owner, once, that a second person has the link; pause what the first made of it."""
    if invitation.is_warned:
        return
    invitations.change_invitation(work, invitation.intake, is_warned=True)
    metrics.bump("federation_double_invitations")
    users = [peers.find_peer(work, name) for name in connected_by(work, invitation.intake)]
    used_by = [peer for peer in users if peer is not None]
    if is_doubtful(invitation, now):
        for peer in used_by:
            doubt(work, peer, now)
    content: JsonObject = {
        "name": asked.request.name,
        "server_name": asked.identity.server_name,
        "words": fingerprints.words_between(own.node_id, asked.identity.node_id),
        "used_by": [
            {
                "server_name": peer.server_name,
                "name": peer.name,
                "words": fingerprints.words_between(own.node_id, peer.node_id),
            }
            for peer in used_by
        ],
        "intake": invitation.intake,
    }
    notices.tell_owner(work, now, "warning", asked.identity.node_id, content)


def tell_opened_again(work: UnitOfWork, invitation: Invitation, peer: Peer, now: int) -> None:
    """Tell the owner, once, that the one who used a link has opened it again; nothing is amiss."""
    told = notices.find_newest(work, OPENED_AGAIN, peer.node_id)
    if told is None or told.content.get("intake") != invitation.intake:
        content: JsonObject = {
            "name": peer.name,
            "server_name": peer.server_name,
            "intake": invitation.intake,
        }
        notices.tell_owner(work, now, OPENED_AGAIN, peer.node_id, content)


def is_doubtful(invitation: Invitation, now: int) -> bool:
    """Whether a second use says anything about the first: not once it was over, or seen here."""
    return invitation.expires_at >= now and invitation.how != _SCANNED


def doubt(work: UnitOfWork, peer: Peer, now: int) -> None:
    """Pause a connection whose link somebody else had too, until the owner has decided."""
    if peer.standing == Standing.ACTIVE.value:
        paused = replace(peer, paused_because=TWICE)
        consent_steps.take(work, paused, Step.DOUBT_ROSE, Doing(now, "server", TWICE))


def doubt_if_warned(
    work: UnitOfWork, invitation: Invitation, server_name: ServerName, now: int
) -> None:
    """What came about after the warning comes about paused."""
    peer = peers.find_peer(work, server_name)
    if peer is not None and invitation.is_warned and is_doubtful(invitation, now):
        doubt(work, peer, now)


def connected_by(view: View, intake: str) -> list[ServerName]:
    """The servers whose handshake used one invitation."""
    return [
        ServerName(one.server_name)
        for one in invitations.load_handshakes(view)
        if one.intake == intake and one.role == INVITER
    ]
