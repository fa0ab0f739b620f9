"""Whom the owner invited into rooms while the other side's yes was missing: sent, or taken back."""

from collections.abc import Sequence

from federation import consent, revoking
from federation.consent import Effect, Standing, Step
from federation.turn_state import Party
from homeserver.matrix.identifiers import RoomId, ServerName
from homeserver.rooms import waiting_invitations
from homeserver.storage import notices, peers
from homeserver.storage.peers import Peer
from homeserver.storage.unit_of_work import UnitOfWork, View

OVER = "invitations_over"


def send(work: UnitOfWork, party: Party, server: ServerName) -> None:
    """Both have said yes: let them have what waits, unless they take no invitations from here."""
    peer = peers.find_peer(work, server)
    if peer is None:
        return
    if peer.room_id is None and peer.granted.get(peers.TAKES_INVITES) is not False:
        waiting_invitations.hand_over(work, party.own.local, server)
    else:
        _take_back(work, party, peer)


def take_back(work: UnitOfWork, party: Party, peer: Peer, step: Step) -> None:
    """Before a step that ends the waiting: take the invited out of the rooms, and tell the owner.

    Before it, as the owner's clients are shown only what becomes of people he said yes to.
    """
    outcome = consent.TABLE.get((Standing(peer.standing), step))
    if outcome is not None and Effect.TAKE_BACK_INVITES in outcome.effects:
        _take_back(work, party, peer)


def _take_back(work: UnitOfWork, party: Party, peer: Peer) -> None:
    now_ms = party.clock.now_ms()
    taken, left = waiting_invitations.take_back(work, party.own.local, peer.server_name, now_ms)
    if taken or left:
        content = {
            "server_name": peer.server_name,
            "name": peer.name,
            "taken": _names(work, taken),
            "left": _names(work, left),
        }
        notices.tell_owner(work, now_ms, OVER, peer.node_id, content)


def _names(view: View, rooms: Sequence[RoomId]) -> list[str]:
    return [revoking.name_of(view, room_id) for room_id in rooms]
