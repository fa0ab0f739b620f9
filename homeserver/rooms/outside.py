"""Rooms we are outside of: an invitation that came, and how it is declined or taken back.

We hold nothing of such a room's graph, only our own membership and what was shown along with it.

Spec: server-server-api#inviting-to-a-room
"""

from collections.abc import Sequence
from typing import Any

from homeserver import errors
from homeserver.matrix import events as matrix_events
from homeserver.matrix import identifiers
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.events import Draft, Event
from homeserver.matrix.identifiers import EventId, ServerName, UserId
from homeserver.matrix.room_versions import RoomVersion
from homeserver.rooms import consequences, drafting
from homeserver.rooms.local_server import LocalServer
from homeserver.storage import events, frames, peers, rooms, wake_ups
from homeserver.storage.rooms import Membership
from homeserver.storage.unit_of_work import UnitOfWork, View

_PENDING = frozenset({"invite", "knock"})


def take_in_invite(
    work: UnitOfWork, local: LocalServer, invitation: Event, room_state: Sequence[JsonObject]
) -> None:
    """Show an invitation that a peer sent for one of our users.

    Nothing happens where the room's graph is ours to follow: there it comes as an event.
    """
    user_id = UserId(invitation.key[1])
    if invitation.content.get("membership") != "invite" or not local.owns(user_id):
        raise errors.BadEvent("That is not an invitation for somebody of this server.")
    if drafting.is_inside(work, invitation.room_id, local):
        return
    known = rooms.find_membership(work, invitation.room_id, user_id)
    if known is not None and known.event_id == invitation.event_id:
        return
    _show(work, invitation, room_state)


def take_in_departure(work: UnitOfWork, local: LocalServer, departure: Event) -> None:
    """An invitation was taken back, or a knock refused, by the server that it went through."""
    user_id = UserId(departure.key[1])
    known = rooms.find_membership(work, departure.room_id, user_id)
    if known is None or known.membership not in _PENDING or not local.owns(user_id):
        return
    sender = identifiers.server_of(departure.sender)
    if known.membership == "invite" and inviting_server(work, known) != sender:
        raise errors.Forbidden("That invitation came from another server.")
    if departure.content.get("membership") not in ("leave", "ban"):
        raise errors.BadEvent("That is not the end of a membership.")
    if not drafting.is_inside(work, departure.room_id, local):
        _show(work, departure, rooms.find_outside_state(work, departure.room_id, user_id))


def save_knock(
    work: UnitOfWork, knock: Event, room_state: Sequence[JsonObject], via: ServerName
) -> None:
    """Show that we wait to be let in; `via` is the server that we knocked at."""
    _show(work, knock, room_state, via)


def inviting_server(view: View, membership: Membership) -> ServerName | None:
    """The server through which we were invited, or knocked."""
    if membership.membership == "knock":
        return rooms.find_outside_via(view, membership.room_id, membership.user_id)
    stored = events.find_event(view, membership.event_id)
    return identifiers.server_of(stored.event.sender) if stored is not None else None


def leave(
    work: UnitOfWork, local: LocalServer, membership: Membership, content: JsonObject, now_ms: int
) -> None:
    """Decline an invitation at once; its sender's server hears of it from the outbox."""
    stored = events.find_event(work, membership.event_id)
    if stored is None or membership.membership not in _PENDING:
        raise errors.NotInRoom
    pending = stored.event
    told = rooms.find_outside_state(work, membership.room_id, membership.user_id)
    placed = Draft(
        room_id=pending.room_id,
        sender=membership.user_id,
        type="m.room.member",
        state_key=membership.user_id,
        content={**content, "membership": "leave"},
        prev_events=(pending.event_id,),
        auth_events=_authorities(pending, told),
        depth=pending.depth + 1,
        origin_server_ts=now_ms,
    )
    departure = drafting.build(local, placed, pending.version.id)
    server = inviting_server(work, membership)
    _show(work, departure, told)
    body = {
        "room_id": departure.room_id,
        "room_version": departure.version.id,
        "event_id": departure.event_id,
        "event": departure.pdu,
    }
    if server in peers.connected_servers(work):
        frames.queue_item(work, server, "control", "leave", body)


def forget_server(
    work: UnitOfWork, local: LocalServer, user_id: UserId, server: ServerName, now_ms: int
) -> None:
    """Decline everything that came through a server with which we have ended all dealings."""
    for membership in rooms.rooms_of(work, user_id, _PENDING):
        is_outside = not drafting.is_inside(work, membership.room_id, local)
        if is_outside and inviting_server(work, membership) == server:
            leave(work, local, membership, {}, now_ms)


def _authorities(pending: Event, told: Sequence[Any]) -> tuple[EventId, ...]:
    """What a departure cites: the invitation, and what we were shown of the rest."""
    wanted = {"m.room.power_levels"}
    if not pending.version.room_id_is_create_event:
        wanted.add("m.room.create")
    cited = [pending.event_id]
    for pdu in told:
        event = _parse(pdu, pending.version)
        if event is not None and event.room_id == pending.room_id and event.state_key == "":
            cited.extend([event.event_id] if event.type in wanted else [])
    return tuple(sorted(cited))


def _parse(pdu: Any, version: RoomVersion) -> Event | None:
    """Peers may send stripped state instead of PDUs."""
    try:
        return matrix_events.parse(pdu, version) if isinstance(pdu, dict) else None
    except errors.BadEvent:
        return None


def _show(
    work: UnitOfWork, event: Event, room_state: Sequence[Any], via: ServerName | None = None
) -> None:
    events.save_outliers(work, [event], frozenset())
    shown = consequences.memberships_from([event], work.next_position())
    rooms.save_outside_membership(work, shown[0], [*_others(room_state, event), event.pdu], via)
    work.wake(wake_ups.SYNC)


def _others(room_state: Sequence[Any], event: Event) -> list[Any]:
    """Without an earlier membership of the same user: clients go by the one event they find."""
    return [
        entry
        for entry in room_state
        if not isinstance(entry, dict) or (entry.get("type"), entry.get("state_key")) != event.key
    ]
