"""What an accepted event causes: memberships, relations, redactions, and a word to the peers."""

from collections.abc import Iterable
from typing import Any

from homeserver.matrix import identifiers
from homeserver.matrix.events import Event, StateKey
from homeserver.matrix.identifiers import EventId, RoomId, ServerName, UserId
from homeserver.rooms import attachments, hiding, redacting
from homeserver.storage import (
    events,
    frames,
    peers,
    relations,
    room_state,
    rooms,
    sharing,
)
from homeserver.storage.events import StoredEvent
from homeserver.storage.relations import Relation
from homeserver.storage.rooms import Membership
from homeserver.storage.unit_of_work import UnitOfWork

NO_SERVERS: frozenset[ServerName] = frozenset()


def follow(
    work: UnitOfWork, stored: StoredEvent, previous_state_id: int, source: ServerName | None
) -> None:
    """Carry out everything that a live event causes; `source` is the peer that it came from."""
    left = _update_memberships(work, stored, previous_state_id)
    relation = relation_of(stored.event)
    if relation is not None:
        relations.save_relation(work, relation)
    attachments.note(work, stored.event)
    if stored.event.type == "m.room.redaction":
        redacting.take_effect(work, stored)
    if source is not None:
        redacting.catch_up(work, stored.event)
    if stored.is_ours:
        tell_peers(work, stored.event.room_id, left, source)


def relation_of(event: Event) -> Relation | None:
    """An event's `m.relates_to`, where it names a relationship type and an event.

    Spec: client-server-api#forming-relationships-between-events
    """
    content = event.content.get("m.relates_to")
    if not isinstance(content, dict) or event.is_state:
        return None
    rel_type, target, key = content.get("rel_type"), content.get("event_id"), content.get("key")
    if not isinstance(rel_type, str) or not isinstance(target, str):
        return None
    return Relation(
        event_id=event.event_id,
        relates_to=EventId(target),
        rel_type=rel_type,
        type=event.type,
        sender=event.sender,
        aggregation_key=key if isinstance(key, str) else None,
        origin_server_ts=event.origin_server_ts,
    )


def memberships_from(members: Iterable[Event], position: int) -> list[Membership]:
    """Member events as the memberships that lists and joins look at."""
    return [
        Membership(
            room_id=event.room_id,
            user_id=UserId(event.key[1]),
            membership=str(event.content.get("membership")),
            event_id=event.event_id,
            position=position,
            display_name=_text(event.content.get("displayname")),
            avatar_url=_text(event.content.get("avatar_url")),
        )
        for event in members
    ]


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _update_memberships(
    work: UnitOfWork, stored: StoredEvent, previous_state_id: int
) -> frozenset[ServerName]:
    """Follow the current state; return the servers that have nobody left in the room."""
    changes = {
        key: event_id
        for key, event_id in _state_changes(work, stored, previous_state_id).items()
        if key[0] == "m.room.member"
    }
    if not changes:
        return NO_SERVERS
    position, room_id = stored.point.position, stored.event.room_id
    found = events.load_bodies(work, [one for one in changes.values() if one is not None])
    rooms.save_memberships(work, memberships_from(found.values(), position))
    gone = [UserId(key[1]) for key, event_id in changes.items() if event_id is None]
    rooms.delete_memberships(work, room_id, gone)
    hiding.meet(work, room_id, (identifiers.server_of(key[1]) for key in changes), position)
    return sharing.update_stays(work, room_id, position)


def _state_changes(
    work: UnitOfWork, stored: StoredEvent, previous_state_id: int
) -> dict[StateKey, EventId | None]:
    if stored.room_state_after is None or stored.room_state_after == previous_state_id:
        return {}
    if stored.state_before == previous_state_id and stored.event.is_state:
        return {stored.event.key: stored.event.event_id}
    return room_state.difference(
        room_state.load_state(work, previous_state_id),
        room_state.load_state(work, stored.room_state_after),
    )


def tell_peers(
    work: UnitOfWork,
    room_id: RoomId,
    left: frozenset[ServerName] = NO_SERVERS,
    source: ServerName | None = None,
) -> None:
    """Mark the room for every connected peer that is in it, or has just lost its last user."""
    connected = peers.connected_servers(work)
    if not connected:
        return
    interested = (sharing.present_servers(work, room_id) | left) & connected
    for peer in sorted(interested - {source}):
        frames.queue_room(work, peer, room_id)
