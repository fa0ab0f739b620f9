"""Tell the owner what a friend's device will not be able to read, and what was not kept."""

from collections.abc import Collection, Mapping

from homeserver.matrix.identifiers import DeviceId, ServerName, UserId
from homeserver.storage import encryption, notices, peers
from homeserver.storage.unit_of_work import UnitOfWork

# Kinds of notices.
NO_KEY = "no_key"
UNREADABLE = "unreadable"
INBOX_FULL = "inbox_full"
INBOX_ABANDONED = "inbox_abandoned"
DEPOSIT_DROPPED = "deposit_dropped"
DEPOSIT_REFUSED = "deposit_refused"

_TELL_EVERY = 1_000
_DAY_MS = 86_400_000


def report_no_key(
    work: UnitOfWork,
    peer: ServerName,
    missing: Mapping[UserId, Collection[DeviceId]],
    now_ms: int,
    *,
    is_used_up: bool,
) -> None:
    """There was no key for these devices: what is written to them now stays unreadable there.

    `is_used_up`: those that were left here are used up; otherwise they are too old.
    """
    known = peers.find_peer(work, peer)
    if known is None or known.standing not in peers.CONNECTED:
        return
    listed = {
        (one.user_id, one.device_id) for one in encryption.find_device_keys(work, list(missing))
    }
    for user_id, devices in missing.items():
        there = sorted(one for one in devices if (user_id, one) in listed)
        if there:
            content = {
                "server_name": peer,
                "name": known.name,
                "user_id": user_id,
                "devices": there,
                "last_heard_at": known.heard_at,
                "is_used_up": is_used_up,
            }
            notices.tell_owner(work, now_ms, NO_KEY, known.node_id, content)


def report_unreadable(
    work: UnitOfWork,
    peer: ServerName,
    user_id: UserId,
    devices: Collection[DeviceId],
    now_ms: int,
) -> None:
    """Devices came back without the fallback key that was given to ours meanwhile."""
    known = peers.find_peer(work, peer) if devices else None
    if known is None:
        return
    content = {
        "server_name": peer,
        "name": known.name,
        "user_id": user_id,
        "devices": sorted(devices),
    }
    notices.tell_owner(work, now_ms, UNREADABLE, known.node_id, content)


def report_filled(work: UnitOfWork, device_id: DeviceId, waiting: int, now_ms: int) -> None:
    """A device has fetched nothing for so long that no more is taken for it."""
    content = {"device_id": device_id, "waiting": waiting}
    notices.tell_owner(work, now_ms, INBOX_FULL, "", content)


def report_dropped(
    work: UnitOfWork, user_id: UserId, device_id: DeviceId, dropped: int, now_ms: int
) -> None:
    """What waited for an abandoned device makes room: said at the first one of each thousand."""
    lost = encryption.to_device_lost(work, user_id, device_id)
    if (lost - dropped) // _TELL_EVERY < lost // _TELL_EVERY or lost == dropped:
        content = {"device_id": device_id, "lost": lost}
        notices.tell_owner(work, now_ms, INBOX_ABANDONED, "", content)


def report_deposit(work: UnitOfWork, kind: str, peer: ServerName, now_ms: int) -> None:
    """A deposit of ours is too large for a peer, or one of a peer's is wrong; said once a day.

    What was deposited before stays, so devices that are newer cannot read everything.
    """
    known = peers.find_peer(work, peer)
    if known is None:
        return
    lately = [one for one in notices.newest(work) if one.at > now_ms - _DAY_MS]
    if not any((one.kind, one.node_id) == (kind, known.node_id) for one in lately):
        content = {"server_name": peer, "name": known.name}
        notices.tell_owner(work, now_ms, kind, known.node_id, content)
