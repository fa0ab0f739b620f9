"""Change what a peer may do: stored, told to the peer and recorded in one unit of work."""

from federation import consent, consent_steps, grants, sentences, told_grants
from federation.consent import Standing
from federation.consent_steps import Doing
from federation.grants import Grants
from homeserver.matrix.canonical_json import JsonObject
from homeserver.rooms import hiding
from homeserver.storage import frames, invitations, meetings, peers, wake_ups, withdrawing
from homeserver.storage.peers import Peer
from homeserver.storage.unit_of_work import UnitOfWork

STEP = "grants edited"
# What waits in the outbox by its subject, and the grant it needs when it goes.
_WAITING = {"receipt": "receipts", "presence": "presence"}


def edit(work: UnitOfWork, peer: Peer, changes: JsonObject, now_ms: int) -> Grants:
    """Store other grants and tell the peer. Raises `InvalidParam`, changing nothing.

    Of somebody with whom it is over only the note is left to edit.
    """
    if consent.is_over(Standing(peer.standing)) and set(changes) - {"note"}:
        raise sentences.ChosenAnew
    edited = grants.edit(peer.grants, changes)
    peers.change_peer(work, peer.server_name, grants=edited.model_dump())
    work.wake(wake_ups.STANDINGS)
    if edited.introduce != peer.grants.get("introduce"):
        meetings.wish_again(work)  # through this peer now, or through others
        if not edited.introduce:
            withdrawing.withdraw(work, peer.server_name, meetings.WISH)
            invitations.void_introductions_by(work, peer.server_name)
    for subject, grant in _WAITING.items():
        if not peers.permits(edited.model_dump(), grant):
            withdrawing.withdraw_newest(work, peer.server_name, subject)
    if edited.messages != peer.grants.get("messages"):
        hiding.follow_standing(work, peer.server_name, now_ms)
    if consent.is_connected(Standing(peer.standing)):
        told = {"grants": told_grants.told(work, edited.model_dump())}
        frames.queue_item(work, peer.server_name, frames.CONTROL, "grants", told)
    return edited


def check_has_time(peer: Peer, now_ms: int) -> None:
    """Raise where a paused connection is past its end, and would only be paused again."""
    ends = peer.grants.get("expires_at")
    if peer.standing == Standing.PAUSED.value and ends is not None and ends < now_ms:
        raise sentences.GrantsOver


def record(work: UnitOfWork, peer: Peer, edited: Grants, doing: Doing) -> None:
    """Enter into the audit trail what was before and is now; of a note only that it changed."""
    detail = differences(peer.grants, edited.model_dump())
    if detail:
        consent_steps.note(work, peer, STEP, doing, detail)


def differences(before: JsonObject, after: JsonObject) -> str:
    """What differs, as a person reads it."""
    changed = []
    for name, value in after.items():
        earlier = before.get(name)
        if earlier != value and name == "note":
            changed.append("note")
        elif earlier != value:
            changed.append(f"{name}: {_shown(earlier)} -> {_shown(value)}")
    return ", ".join(changed)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)
