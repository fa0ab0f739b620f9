"""One-time keys set aside for peers: what a device without a fallback key gives to each of them.

No other peer gets a reserved key, so it may be handed out while this server sleeps.
"""

from collections import Counter

from homeserver.matrix.identifiers import DeviceId, ServerName, UserId
from homeserver.storage import encryption, peers
from homeserver.storage.encryption import OneTimeKey
from homeserver.storage.unit_of_work import UnitOfWork, View

# What a peer gets of a device: the more, the fewer peers and devices there are. Each new device of
# a friend uses one up while this server sleeps.
_MOST_PER_PEER = 10
_LEAST_PER_PEER = 3
# libolm forgets its oldest keys beyond a hundred, of which half are free ones.
_PER_DEVICE = 40
# A deposit has to fit into one frame.
_PER_DEPOSIT = 300


def share(view: View, owner: UserId) -> int:
    """How many one-time keys of one device each peer should hold."""
    count = max(1, len(peers.connected_servers(view)))
    devices = max(1, len(encryption.find_device_keys(view, [owner])))
    most = min(_MOST_PER_PEER, _PER_DEVICE // count, _PER_DEPOSIT // devices)
    return max(_LEAST_PER_PEER, most)


def lacks_keys(view: View, owner: UserId, device_id: DeviceId) -> bool:
    """Whether some peer holds fewer keys of this device than it should, though there are some."""
    if any(one.device_id == device_id for one in encryption.fallback_keys_of(view, owner)):
        return False
    held = Counter(
        one.reserved_for
        for one in encryption.reserved_keys_of(view, owner)
        if one.device_id == device_id
    )
    wanted = share(view, owner)
    return held.total() < _PER_DEVICE and any(
        held[peer] < wanted for peer in peers.connected_servers(view)
    )


def top_up(work: UnitOfWork, owner: UserId, device_id: DeviceId, peer: ServerName) -> None:
    """Set aside what a peer's share lacks."""
    reserved = [
        one for one in encryption.reserved_keys_of(work, owner) if one.device_id == device_id
    ]
    held = sum(one.reserved_for == peer for one in reserved)
    missing = min(share(work, owner) - held, _PER_DEVICE - len(reserved))
    if missing > 0:
        encryption.reserve_one_time_keys(work, owner, device_id, peer, missing)


def take_back(work: UnitOfWork, owner: UserId, now_ms: int) -> set[ServerName]:
    """Make room for another peer: the others give back what is beyond their shares now.

    Nobody else gets those keys: one may have been handed out already. Returns who needs a fresh
    deposit.
    """
    wanted = share(work, owner)
    held: Counter[tuple[DeviceId, str]] = Counter()
    beyond: list[tuple[ServerName, OneTimeKey]] = []
    for one in encryption.reserved_keys_of(work, owner):
        if one.reserved_for is None:
            continue
        held[one.device_id, one.reserved_for] += 1
        if held[one.device_id, one.reserved_for] > wanted:
            beyond.append((ServerName(one.reserved_for), one))
    for peer, one in beyond:
        encryption.release_reserved(work, peer, owner, one.device_id, [one.key_id])
        device, key = (owner, one.device_id), (one.algorithm, one.key_id)
        encryption.note_spent(work, device, key, peer, now_ms)
    return {peer for peer, _ in beyond}
