"""What rooms take on disk, and how it becomes less: events that expire, rooms that are purged.

Everything is done in steps of bounded size, each a transaction of its caller's.
"""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Select, Table, bindparam, delete, exists, func, or_, select, update

from homeserver.matrix import canonical_json
from homeserver.matrix import events as matrix_events
from homeserver.matrix.identifiers import EventId, RoomId, UserId
from homeserver.storage import (
    account_data,
    aliases,
    caches,
    ephemeral,
    events,
    frames,
    gaps,
    groups,
    hiding,
    relations,
    room_media,
    room_state,
    rooms,
    sharing,
    thread_subscriptions,
    waiting_events,
)
from homeserver.storage.unit_of_work import UnitOfWork, View

_events, _states, _members = events.events, room_state.states, rooms.memberships
_GONE = ("leave", "ban")
# What else is kept by room, and goes in one step: little, or bounded by the members.
_BESIDE: tuple[Table, ...] = (
    gaps.gaps,
    ephemeral.receipts,
    groups.group_sessions,
    groups.group_messages,
    groups.group_shares,
    sharing.server_stays,
    frames.outbox_rooms,
    aliases.room_aliases,
    account_data.account_data,
    waiting_events.waiting_events,
    room_media.room_media,
    thread_subscriptions.thread_subscriptions,
    rooms.rooms,
)

_FORGOTTEN = select(_members.c.room_id).where(
    _members.c.user_id == bindparam("user_id"),
    _members.c.is_forgotten,
    _members.c.membership.in_(_GONE),
    or_(
        exists().where(_events.c.room_id == _members.c.room_id),
        exists().where(rooms.rooms.c.room_id == _members.c.room_id),
    ),
)
_IS_WAITED_FOR = select(
    exists().where(
        frames.outbox_rooms.c.room_id == bindparam("room_id"),
        frames.outbox_rooms.c.queued > frames.outbox_rooms.c.acknowledged,
    )
)
_OF_ROOM = (
    select(_events.c.event_id)
    .where(_events.c.room_id == bindparam("room_id"))
    .limit(bindparam("limit"))
)
_STATES_OF_ROOM = (
    select(_states.c.state_id)
    .where(_states.c.room_id == bindparam("room_id"))
    .limit(bindparam("limit"))
)
_AGED = (
    select(_events.c.event_id, _events.c.origin_server_ts)
    .where(
        _events.c.room_id == bindparam("room_id"),
        _events.c.position.is_not(None),
        _events.c.origin_server_ts >= bindparam("since"),
        _events.c.origin_server_ts < bindparam("until"),
    )
    .order_by(_events.c.origin_server_ts, _events.c.event_id)
    .limit(bindparam("limit"))
)
_EVENT_SIZES = select(
    _events.c.room_id, func.count(), func.sum(func.length(_events.c.pdu))
).group_by(_events.c.room_id)
_STATE_SIZES = select(_states.c.room_id, func.sum(func.length(_states.c.changes))).group_by(
    _states.c.room_id
)


@dataclass(frozen=True, slots=True)
class RoomSize:
    """What one room takes."""

    room_id: RoomId
    events: int
    state: int  # entries of its current state
    event_bytes: int
    state_bytes: int
    media: int
    media_bytes: int

    @property
    def total_bytes(self) -> int:
        """Events, states and files; not the indexes over them."""
        return self.event_bytes + self.state_bytes + self.media_bytes


def sizes(view: View) -> list[RoomSize]:
    """Every room of which something is kept, the largest first."""
    states: dict[RoomId, int] = {row[0]: int(row[1]) for row in view.all(_STATE_SIZES)}
    files = room_media.sizes_by_room(view)
    found = []
    for room_id, count, bytes_held in view.all(_EVENT_SIZES):
        current = room_state.current_state(view, room_id)
        media, media_bytes = files.get(room_id, (0, 0))
        found.append(
            RoomSize(
                room_id,
                count,
                len(current),
                int(bytes_held),
                states.get(room_id, 0),
                media,
                media_bytes,
            )
        )
    return sorted(found, key=lambda one: (-one.total_bytes, one.room_id))


def rooms_to_purge(view: View, user_id: UserId) -> list[RoomId]:
    """Rooms that a user has forgotten and of which something is left."""
    return [row.room_id for row in view.all(_FORGOTTEN, {"user_id": user_id})]


def is_waited_for(view: View, room_id: RoomId) -> bool:
    """Whether some peer has still to be told what happened in a room: our leaving, at least."""
    return bool(view.scalar(_IS_WAITED_FOR, {"room_id": room_id}))


def purge_some(work: UnitOfWork, room_id: RoomId, user_id: UserId, limit: int) -> bool:
    """Delete a part of what is kept of a room; whether there is more. States go after events."""
    if found := _ids(work, _OF_ROOM, room_id, limit):
        _delete(work, relations.relations, found)
        _delete(work, relations.redactions, found)
        _delete(work, _events, found)
        for event_id in found:
            caches.drop_event(work, EventId(event_id))
        return True
    if found := _ids(work, _STATES_OF_ROOM, room_id, limit):
        work.execute(delete(_states).where(_states.c.state_id.in_(found)))
        return True
    hiding.forget_room(work, room_id)
    for table in _BESIDE:
        work.execute(delete(table).where(table.c.room_id == room_id))
    work.execute(
        delete(_members).where(_members.c.room_id == room_id, _members.c.user_id != user_id)
    )
    return False


def expire_some(
    work: UnitOfWork, room_id: RoomId, span: tuple[int, int], limit: int
) -> tuple[int, int | None]:
    """Empty messages of a span of time and take them out of the timeline; state stays.

    Returns how many, and from when on to look for more; None where the span is done. What is left
    keeps the room's graph whole.
    """
    since, until = span
    key = {"room_id": room_id, "since": since, "until": until, "limit": limit}
    rows = work.all(_AGED, key)
    room = rooms.find_room(work, room_id)
    newest = set(room.extremities) if room is not None else set()
    found = events.load_events(work, [row.event_id for row in rows])
    expired = [
        stored
        for event_id, stored in found.items()
        if not stored.event.is_state and event_id not in newest
    ]
    for stored in expired:
        left = canonical_json.encode_checked(matrix_events.redacted(stored.event).pdu)
        work.execute(
            update(_events)
            .where(_events.c.event_id == stored.event.event_id)
            .values(pdu=left, position=None, transaction_device=None, transaction_id=None)
        )
        caches.drop_event(work, stored.event.event_id)
    _delete(work, relations.relations, [stored.event.event_id for stored in expired])
    if len(rows) < limit:
        return len(expired), None
    last: int = rows[-1].origin_server_ts
    # Where a whole page is of one moment and stays, only a later moment leads on.
    return len(expired), last if expired or last > since else last + 1


def _ids(work: UnitOfWork, some: Select[tuple[str]], room_id: RoomId, limit: int) -> list[str]:
    return [row[0] for row in work.all(some, {"room_id": room_id, "limit": limit})]


def _delete(work: UnitOfWork, table: Table, event_ids: Collection[EventId] | list[str]) -> None:
    if event_ids:
        work.execute(delete(table).where(table.c.event_id.in_(list(event_ids))))
