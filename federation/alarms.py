"""What stops the traffic with a peer until its owner has looked: keys that do not follow, mostly.

Only who holds a root key of the peer can sign keys that raise this; somebody else's forgeries are
refused before they come here.
"""

from federation import consent, consent_steps, identity
from federation.consent import Standing
from federation.consent_steps import Doing
from federation.identity import Identity
from homeserver import errors
from homeserver.storage import audit, notices, peers
from homeserver.storage.peers import Peer
from homeserver.storage.unit_of_work import UnitOfWork

# The kind of a notice.
TWO_UNDER_ONE_NAME = "two_under_one_name"

_RENEWED = "keys renewed"
_DAY_MS = 86_400_000
_REASON = "its keys changed in a way that does not follow from the ones before"


class ForeignKeys(errors.BadSignature):
    """A node that we know showed keys that do not follow."""

    def __init__(self, peer: Peer) -> None:
        super().__init__()
        self.peer = peer


def check(known: Peer, shown: Identity) -> None:
    """Raise ForeignKeys if somebody we are connected to shows keys that do not follow."""
    if known.proof and not identity.may_replace(identity.verify_proof(known.proof), shown):
        raise ForeignKeys(known)


def check_hearsay(known: Peer, shown: Identity) -> None:
    """The same for what others pass on, which may be older than what we know."""
    if not known.proof:
        return
    remembered = identity.verify_proof(known.proof)
    is_older = identity.may_replace(shown, remembered)
    if not is_older and not identity.may_replace(remembered, shown):
        raise ForeignKeys(known)


def tell_of_two(work: UnitOfWork, known: Identity, now_ms: int) -> None:
    """Two nodes go by one name from DNS, and we are connected to neither; told once a name."""
    if not notices.was_told(work, TWO_UNDER_ONE_NAME, known.node_id):
        words = {"server_name": known.server_name}
        notices.tell_owner(work, now_ms, TWO_UNDER_ONE_NAME, known.node_id, words)


def adopt(work: UnitOfWork, known: Peer, shown: Identity, now_ms: int) -> None:
    """Know a peer by keys that follow from the ones before; the owner is told of a change."""
    if shown.card.digest != identity.verify_proof(known.proof).card.digest:
        peers.change_peer(work, known.server_name, proof=shown.proof)
        _record_renewal(work, known, shown, now_ms)
        words = {"server_name": known.server_name, "name": known.name}
        notices.tell_owner(work, now_ms, "keys_renewed", known.node_id, words)


def sound(
    work: UnitOfWork, peer: Peer, now_ms: int, how: str = "keys", reason: str = _REASON
) -> None:
    """Stop the traffic with a peer until its owner has looked into it; told once."""
    is_connected = consent.is_connected(Standing(peer.standing))
    if not is_connected or peer.alarm is not None:
        return
    peers.change_peer(work, peer.server_name, alarm=reason)
    consent_steps.note(work, peer, "alarm", Doing(now_ms, "server", how), reason)
    words = {"server_name": peer.server_name, "reason": reason}
    notices.tell_owner(work, now_ms, "alarm", peer.node_id, words)


def _record_renewal(work: UnitOfWork, known: Peer, shown: Identity, now_ms: int) -> None:
    """Once a day is enough for the trail, which nothing is ever taken out of."""
    if audit.has_since(work, known.node_id, _RENEWED, now_ms - _DAY_MS):
        return
    said = f"card {shown.card.sequence}, root key {shown.successions + 1}"
    consent_steps.note(work, known, _RENEWED, Doing(now_ms, "peer", "card"), said)
