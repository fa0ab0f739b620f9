"""Receipts: how far somebody has read, and the marker that only its owner sees.

Spec: client-server-api#receipts, client-server-api#fully-read-markers
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from homeserver import errors
from homeserver.ephemeral import audience
from homeserver.matrix import identifiers
from homeserver.matrix.canonical_json import MAX_INTEGER, JsonObject
from homeserver.matrix.identifiers import EventId, RoomId, ServerName, UserId
from homeserver.ports import Clock, Requester
from homeserver.rooms import veils
from homeserver.storage import account_data, ephemeral, events, frames, relations
from homeserver.storage.database import Database
from homeserver.storage.ephemeral import Receipt
from homeserver.storage.events import Point
from homeserver.storage.unit_of_work import UnitOfWork, View

PUBLIC = "m.read"
PRIVATE = "m.read.private"
FULLY_READ = "m.fully_read"
MAIN_THREAD = "main"

_MOST_HOPS = 3
_TAKEN_IN_AT_ONCE = 500
# One for each thread, and the two that are of none. Who reads more threads has read the old ones.
_MOST_OF_A_READER = 200


@dataclass(frozen=True, slots=True)
class Marker:
    """What a client marks as read, and how."""

    kind: str
    event_id: EventId
    thread_id: str | None = None


class Receipts:
    """The owner's own receipts and markers."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def mark(self, requester: Requester, room_id: RoomId, markers: list[Marker]) -> None:
        """Move markers and receipts forward; those that are further on already stay.

        Spec: client-server-api#post_matrixclientv3roomsroomidreceiptreceipttypeeventid
        """
        for marker in markers:
            _check(marker)
        now = self._clock.now_ms()

        def save(work: UnitOfWork) -> None:
            if not audience.is_in(work, room_id, requester.user_id):
                raise errors.NotInRoom
            for marker in markers:
                _mark(work, requester.user_id, room_id, marker, now)

        await self._database.write(save)


def take_in_receipts(work: UnitOfWork, peer: ServerName, edu: JsonObject) -> int:
    """Keep what a peer says of its own users in their rooms; return how many were kept.

    Spec: server-server-api#receipts
    """
    kept = 0
    readers: set[tuple[RoomId, UserId]] = set()
    for receipt in islice(_told(edu), _TAKEN_IN_AT_ONCE):
        if identifiers.server_of(receipt.user_id) != peer:
            continue
        if audience.is_heard(work, receipt.room_id, receipt.user_id) and _is_known(work, receipt):
            kept += ephemeral.save_receipt(work, _placed(work, receipt))
            readers.add((receipt.room_id, receipt.user_id))
    for room_id, user_id in readers:
        ephemeral.keep_newest_receipts(work, room_id, user_id, _MOST_OF_A_READER)
    return kept


def _is_known(view: View, receipt: Receipt) -> bool:
    """Whether event and thread are of the room: what is not could be made up without end."""
    named = {receipt.event_id}
    if receipt.thread_id not in (None, MAIN_THREAD):
        named.add(EventId(str(receipt.thread_id)))
    found = events.load_bodies(view, named)
    return named == found.keys() and all(
        event.room_id == receipt.room_id for event in found.values()
    )


def _check(marker: Marker) -> None:
    if marker.kind not in (PUBLIC, PRIVATE, FULLY_READ):
        raise errors.InvalidParam("There is no such receipt type.")
    if marker.thread_id is None:
        return
    if marker.kind == FULLY_READ:
        raise errors.InvalidParam("A read marker belongs to no thread.")
    if marker.thread_id != MAIN_THREAD:
        identifiers.parse_event_id(marker.thread_id)


def _mark(work: UnitOfWork, user_id: UserId, room_id: RoomId, marker: Marker, now: int) -> None:
    point = _point_of(work, room_id, marker.event_id)
    if point is None:
        raise errors.NotFound("There is no such event in this room.")
    _check_thread(work, marker)
    if marker.kind == FULLY_READ:
        _move_marker(work, user_id, room_id, marker.event_id, point)
        return
    receipt = Receipt(room_id, user_id, marker.kind, marker.thread_id, marker.event_id, now, point)
    if ephemeral.save_receipt(work, receipt) and marker.kind == PUBLIC:
        _tell(work, receipt)


def _check_thread(view: View, marker: Marker) -> None:
    """A receipt for a thread is about an event of that thread, or about its root.

    Spec: client-server-api#threaded-read-receipts
    """
    if marker.thread_id is None:
        return
    parents = list(_parents(view, marker.event_id))
    threads = [parent for parent, rel_type in parents if rel_type == "m.thread"]
    if threads:
        is_related = marker.thread_id == threads[0]
    else:
        related = {MAIN_THREAD, marker.event_id, *(parent for parent, _ in parents)}
        is_related = marker.thread_id in related
    if not is_related:
        raise errors.InvalidParam("That event is not in that thread.")


def _parents(view: View, event_id: EventId) -> Iterator[tuple[EventId, str]]:
    """What an event relates to, what that relates to, and so on for a few steps."""
    for _ in range(_MOST_HOPS):
        parent = relations.parent_of(view, event_id)
        if parent is None:
            return
        yield parent
        event_id = parent[0]


def _move_marker(
    work: UnitOfWork, user_id: UserId, room_id: RoomId, event_id: EventId, point: Point
) -> None:
    before = account_data.find_account_data(work, user_id, room_id, FULLY_READ) or {}
    reached = _point_of(work, room_id, before.get("event_id"))
    if reached is None or point > reached:
        content = {"event_id": event_id}
        account_data.save_account_data(work, user_id, room_id, FULLY_READ, content)


def _tell(work: UnitOfWork, receipt: Receipt) -> None:
    if veils.is_stand_in(work, receipt.room_id, EventId(receipt.event_id)):
        return
    seen: JsonObject = {"ts": receipt.read_at}
    key = f"receipt:{receipt.room_id}:{receipt.user_id}"
    if receipt.thread_id is not None:
        seen["thread_id"] = receipt.thread_id
        key += f":{receipt.thread_id}"
    by_user = {receipt.user_id: {"event_ids": [receipt.event_id], "data": seen}}
    edu = {"edu_type": "m.receipt", "content": {receipt.room_id: {PUBLIC: by_user}}}
    for peer in audience.peers_in(work, receipt.room_id, "receipts"):
        frames.queue_newest(work, peer, key, edu)


def _point_of(view: View, room_id: RoomId, event_id: Any) -> Point | None:
    if not isinstance(event_id, str):
        return None
    stored = events.find_event(view, EventId(event_id))
    if stored is None or stored.event.room_id != room_id or stored.position is None:
        return None
    return stored.point


def _placed(work: UnitOfWork, receipt: Receipt) -> Receipt:
    point = _point_of(work, receipt.room_id, receipt.event_id)
    return Receipt(
        receipt.room_id,
        receipt.user_id,
        receipt.kind,
        receipt.thread_id,
        receipt.event_id,
        receipt.read_at,
        point,
    )


def _told(edu: JsonObject) -> Iterator[Receipt]:
    """The public receipts of an EDU, as far as they have the right form."""
    for room_id, by_kind in _items(edu.get("content")):
        for user_id, seen in _items(_get(by_kind, PUBLIC)):
            event_ids, told = _get(seen, "event_ids"), _get(seen, "data")
            if not identifiers.is_user_id(user_id) or not _is_id_list(event_ids):
                continue
            read_at, thread_id = _get(told, "ts"), _get(told, "thread_id")
            if type(read_at) is not int or not 0 <= read_at <= MAX_INTEGER:
                continue
            if thread_id is not None and not _is_thread(thread_id):
                continue
            yield Receipt(
                RoomId(room_id), UserId(user_id), PUBLIC, thread_id, event_ids[0], read_at, None
            )


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    return iter(value.items()) if isinstance(value, dict) else iter(())


def _get(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None


def _is_id_list(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 1 and _is_event_id(value[0])


def _is_event_id(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("$") and identifiers.fits(value)


def _is_thread(value: Any) -> bool:
    return value == MAIN_THREAD or _is_event_id(value)
