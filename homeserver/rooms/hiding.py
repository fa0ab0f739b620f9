"""Hide a server's users from the owner, and show them again; `veils` says what that looks like.

The change comes to clients as a membership event that stands in for the real one: it has a place
in the timeline, and none in the room's graph; no peer ever hears of it.
"""

import base64
import hashlib
from collections.abc import Callable, Iterable

from homeserver import errors
from homeserver.matrix import events as matrix_events
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.events import Event
from homeserver.matrix.identifiers import EventId, RoomId, ServerName, UserId
from homeserver.matrix.room_versions import room_version
from homeserver.ports import Requester
from homeserver.rooms import meeting_strangers
from homeserver.storage import accounts, delayed_events, events, hiding, peers, rooms, wake_ups
from homeserver.storage.database import Database
from homeserver.storage.events import StoredEvent
from homeserver.storage.hiding import Spell, StandIn, Veil
from homeserver.storage.peers import Peer
from homeserver.storage.rooms import Membership, Room
from homeserver.storage.unit_of_work import UnitOfWork, View

_HERE = frozenset({"join", "invite", "knock"})
_ANY = _HERE | {"leave", "ban"}
_OVER = frozenset({"revoked", "blocked", "declined"})
_OFFERED = "offered"
_ASKED_AGAIN = frozenset({"requested", _OFFERED})
# What a device encrypted, for whoever it took to be in the room.
ENCRYPTED = "m.room.encrypted"
# The position of servers that were in a room before we came.
NEVER_SEEN = 0

_WRITE_AGAIN = (
    "Somebody was removed from your contacts, and this device did not know it yet when it"
    " encrypted the message. It was not sent. Please write it again."
)


class NotSynced(errors.Forbidden):
    """What this device encrypted could be read by somebody who was cut off meanwhile."""

    def __init__(self) -> None:
        super().__init__(_WRITE_AGAIN)


def follow_standing(work: UnitOfWork, server: ServerName, now_ms: int) -> None:
    """Hide or show a server's users everywhere, as what stands between us and it has become."""
    for room_id in hiding.rooms_of_server(work, server):
        is_absent, is_muted = _wanted(work, room_id, server)
        if is_absent:
            _hide(work, room_id, server, now_ms)
        else:
            _show(work, room_id, server, now_ms)
        _mute(work, room_id, server, is_muted=is_muted)
    hiding.publish(work)


def hide_server(
    work: UnitOfWork, server: ServerName, now_ms: int, in_rooms: Iterable[RoomId] | None = None
) -> None:
    """Show a server's users as out of these rooms, or of all."""
    for room_id in hiding.rooms_of_server(work, server) if in_rooms is None else in_rooms:
        _hide(work, room_id, server, now_ms)
    hiding.publish(work)


def show_server(
    work: UnitOfWork, server: ServerName, now_ms: int, in_rooms: Iterable[RoomId] | None = None
) -> None:
    """Show a server's users again, in these rooms or in all, and what they said meanwhile."""
    for room_id in hiding.rooms_of_server(work, server) if in_rooms is None else in_rooms:
        _show(work, room_id, server, now_ms)
    hiding.publish(work)


def meet(work: UnitOfWork, room_id: RoomId, servers: Iterable[str], position: int) -> None:
    """Servers turn up in a room, in the event at this position: hide those we have cut off.

    Strangers among them are hidden, too, until the owner has agreed to meet them there.
    """
    is_changed = False
    for server in sorted({ServerName(one) for one in servers}):
        meeting_strangers.note_arrival(work, room_id, server)
        is_absent, is_muted = _wanted(work, room_id, server)
        veil = hiding.find_veil(work, room_id) or Veil()
        for kind, is_wanted in ((True, is_absent), (False, is_muted)):
            if is_wanted and not veil.is_closed(server, is_absent=kind):
                hiding.begin_spell(work, Spell(room_id, server, position, kind))
                is_changed = True
    if is_changed:
        hiding.publish(work)


def require_sync(work: UnitOfWork, room_id: RoomId, now_ms: int) -> None:
    """Refuse what the owner's devices encrypt for a room until they know who has gone from it.

    What they encrypted before and wanted to be sent later is called off.
    """
    _require_sync(work, room_id, now_ms)
    hiding.publish(work)


def check_has_synced(view: View, requester: Requester, room_id: RoomId) -> None:
    """Raise `NotSynced` where a device may still encrypt for somebody who has been hidden."""
    behind = hiding.load_hidden(view).behind
    if behind and room_id in behind.get((requester.user_id, requester.device_id), {}):
        raise NotSynced


async def note_synced(
    database: Database, requester: Requester, known_up_to: Callable[[RoomId], int]
) -> None:
    """A device asks for what comes after a position: it knows what came before it, in each room."""
    behind = database.read(hiding.load_hidden).behind
    waiting = behind.get((requester.user_id, requester.device_id)) if behind else None
    if not waiting:
        return
    known = [room_id for room_id in waiting if known_up_to(room_id) >= waiting[room_id]]

    def forget(work: UnitOfWork) -> None:
        for room_id in known:
            hiding.delete_behind(work, room_id, requester.user_id, requester.device_id)
        hiding.publish(work)

    if known:
        await database.write(forget)


def _require_sync(work: UnitOfWork, room_id: RoomId, now_ms: int) -> None:
    delayed_events.call_off(work, room_id, ENCRYPTED, now_ms)
    owner = accounts.find_owner(work)
    if owner is not None:
        devices = [one.device_id for one in accounts.list_devices(work, owner)]
        hiding.save_behind(work, room_id, owner, devices, work.position)


def _wanted(view: View, room_id: RoomId, server: ServerName) -> tuple[bool, bool]:
    """Whether a server's users are to be shown as absent, and whether they are not to be heard."""
    peer = peers.find_peer(view, server)
    if peer is not None and _is_awaited(view, room_id, peer):
        return False, False
    is_stranger = meeting_strangers.is_unmet(view, room_id, server)
    if peer is None or is_stranger:
        return is_stranger, False
    is_over = peer.standing in _OVER or (
        peer.standing in _ASKED_AGAIN and peer.standing_before in _OVER
    )
    return is_over, not is_over and peer.grants.get("messages") is False


def _is_awaited(view: View, room_id: RoomId, peer: Peer) -> bool:
    """Whether the owner has said yes to a server, and all that a room says of its users is his.

    He sees whom he has invited, and that he took it back; there is nothing of theirs to hide.
    """
    if peer.standing != _OFFERED:
        return False
    owner = accounts.find_owner(view)
    known = [one.event_id for one in _members(view, room_id, peer.server_name, _ANY)]
    said = events.load_bodies(view, known).values()
    return bool(known) and all(one.sender == owner for one in said)


def _hide(work: UnitOfWork, room_id: RoomId, server: ServerName, now_ms: int) -> None:
    room = rooms.find_room(work, room_id)
    veil = hiding.find_veil(work, room_id) or Veil()
    if room is None or veil.is_closed(server, is_absent=True):
        return
    since = work.next_position()
    hiding.begin_spell(work, Spell(room_id, server, since, is_absent=True))
    seen = _members(work, room_id, server, _HERE)
    if not _is_owner_in(work, room_id):
        return
    for member in seen:
        _stand_in(work, room, member, _departure(member), now_ms)
    # Also where nobody else is: whoever comes later could fetch it and pass it on.
    if seen:
        _require_sync(work, room_id, now_ms)


def _show(work: UnitOfWork, room_id: RoomId, server: ServerName, now_ms: int) -> None:
    room = rooms.find_room(work, room_id)
    veil = hiding.find_veil(work, room_id)
    if room is None or veil is None or not veil.is_closed(server, is_absent=True):
        return
    if _is_owner_in(work, room_id):
        for member in _members(work, room_id, server, _HERE):
            real = events.load_bodies(work, (member.event_id,)).get(member.event_id)
            if real is not None:
                _stand_in(work, room, member, (real.sender, real.content), now_ms)
    hiding.end_spell(work, room_id, server, work.next_position(), is_absent=True)


def _mute(work: UnitOfWork, room_id: RoomId, server: ServerName, *, is_muted: bool) -> None:
    veil = hiding.find_veil(work, room_id) or Veil()
    if is_muted == veil.is_closed(server, is_absent=False):
        return
    if is_muted:
        hiding.begin_spell(work, Spell(room_id, server, work.next_position(), is_absent=False))
    else:
        hiding.end_spell(work, room_id, server, work.next_position(), is_absent=False)


def _departure(member: Membership) -> tuple[UserId, JsonObject]:
    return member.user_id, {"membership": "leave"}


def _stand_in(
    work: UnitOfWork, room: Room, member: Membership, said: tuple[UserId, JsonObject], now_ms: int
) -> None:
    """Put a membership event into the timeline that is not in the graph."""
    sender, content = said
    position = work.next_position()
    event = _event(room, member, sender, content, (position, now_ms))
    stored = StoredEvent(
        event,
        position,
        is_rejected=True,  # no event may cite it as its authority
        state_before=room.current_state_id,
        room_state_after=room.current_state_id,
    )
    events.save_event(work, stored)
    membership = str(content.get("membership"))
    stand_in = StandIn(event.event_id, room.room_id, member.user_id, position, membership)
    hiding.save_stand_in(work, stand_in)
    work.wake(wake_ups.SYNC)


def _event(
    room: Room, member: Membership, sender: UserId, content: JsonObject, when: tuple[int, int]
) -> Event:
    position, now_ms = when
    pdu: JsonObject = {
        "type": "m.room.member",
        "room_id": room.room_id,
        "sender": sender,
        "state_key": member.user_id,
        "content": content,
        "depth": room.depth,
        "prev_events": [],
        "auth_events": [],
        "origin_server_ts": now_ms,
        "hashes": {},
        "signatures": {},
    }
    named = f"{room.room_id} {member.user_id} {position} {now_ms} {content}".encode()
    digest = base64.urlsafe_b64encode(hashlib.sha256(named).digest()).rstrip(b"=").decode()
    version = room_version(room.version_id)
    return matrix_events.restore(pdu, EventId(f"${digest}"), room.room_id, version)


def _members(
    view: View, room_id: RoomId, server: ServerName, wanted: frozenset[str]
) -> list[Membership]:
    found = rooms.members_of(view, room_id, wanted)
    mine = (one for one in found if one.user_id.partition(":")[2] == server)
    return sorted(mine, key=lambda one: one.user_id)


def _is_owner_in(view: View, room_id: RoomId) -> bool:
    owner = accounts.find_owner(view)
    found = rooms.find_membership(view, room_id, owner) if owner is not None else None
    return found is not None and found.membership == "join"
