"""What a peer gets whenever the connection to it opens, and what goes when it ends."""

from homeserver.encryption import deposits
from homeserver.matrix.identifiers import ServerName
from homeserver.storage import accounts, frames, peers, rooms, sharing
from homeserver.storage.unit_of_work import UnitOfWork


def greet(work: UnitOfWork, peer: ServerName, now_ms: int, *, is_start: bool = False) -> None:
    """Leave our keys with the peer, and send the newest event of each room we share.

    After a new consent nothing of those rooms is queued any more: the newest event shows the peer
    that it missed something, and it asks for it. Where nothing was missed this changes nothing.
    A start of this server alone is no reason to say anything to a peer that has our keys.
    By the time that this is written the connection may have ended: then there is nobody to greet.
    """
    if peer not in peers.connected_servers(work):
        return
    if is_start:
        deposits.queue_if_changed(work, peer)
    else:
        deposits.greet(work, peer, now_ms)
    owner = accounts.find_owner(work)
    for shared in rooms.rooms_of(work, owner, rooms.JOINED) if owner is not None else ():
        if peer in sharing.present_servers(work, shared.room_id):
            newest = sharing.newest_own_positions(work, shared.room_id, 0, 1, peer)
            if newest:
                frames.queue_room(work, peer, shared.room_id, newest[0])
