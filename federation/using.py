"""Which REQUEST of whom it is: the first, a repeat, a newer one of the same node. Pure.

An inviter's handshake remembers the hashes of all that a node has sent it, the newest last, so
that one which was replaced changes nothing when it comes late or is replayed.
"""

from federation.consent import Use
from federation.handshake_messages import Asked
from homeserver.storage.invitations import Handshake, Invitation

_MOST_OPENINGS = 20


def use_of(invitation: Invitation, before: Handshake | None, asked: Asked) -> Use:
    """What this REQUEST is to an invitation that one node may use, or, by knocking, many."""
    if before is not None:
        return _use_again(before, asked.request_hash)
    if invitation.request_hash is None:
        return Use.FIRST_REQUEST
    is_same = invitation.request_hash == asked.request_hash
    return Use.SAME_REQUEST if is_same else Use.OTHER_REQUEST


def hashes(before: Handshake | None, request_hash: str) -> str:
    """What is remembered once this REQUEST is taken."""
    return request_hash if before is None else f"{before.request_hash} {request_hash}"


def _use_again(before: Handshake, request_hash: str) -> Use:
    """Of a node that has used the invitation; one that opens it without end is not followed."""
    *earlier, newest = before.request_hash.split()
    if request_hash == newest:
        return Use.SAME_REQUEST
    is_past = request_hash in earlier or len(earlier) >= _MOST_OPENINGS
    return Use.EARLIER_REQUEST if is_past else Use.NEWER_REQUEST
