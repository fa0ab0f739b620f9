"""An event with what this server knows about it, and the row that it is kept as."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from homeserver.matrix import canonical_json
from homeserver.matrix import events as matrix_events
from homeserver.matrix.events import Event
from homeserver.matrix.identifiers import DeviceId, EventId
from homeserver.matrix.room_versions import ROOM_VERSIONS
from homeserver.storage import caches

Remembered = caches.Lru[tuple[EventId, bool], Event]

# What is read of an event, in the order in which `from_rows` takes it apart.
BODY = ("event_id", "room_id", "version_id", "redacted_by", "pdu")
COLUMNS = (
    *BODY,
    "position",
    "rank",
    "is_ours",
    "is_rejected",
    "is_soft_failed",
    "follows_gap",
    "state_before",
    "state_after",
    "room_state_after",
    "transaction_device",
    "transaction_id",
)
_REDACTED_BY = COLUMNS.index("redacted_by")
FOLLOWS_GAP = COLUMNS.index("follows_gap")
ROOM_STATE_AFTER = COLUMNS.index("room_state_after")


@dataclass(frozen=True, slots=True, order=True)
class Point:
    """A place in a room's timeline: directly after the event with this position and rank."""

    position: int
    rank: int = 0


@dataclass(slots=True, unsafe_hash=True)
class StoredEvent:
    """An event and what this server knows about it. Redacted events have their redacted form.

    Nobody changes one. It is not frozen because a sync makes thousands, and making a frozen one
    takes six times as long.
    """

    event: Event
    position: int | None = None
    rank: int = 0
    is_ours: bool = False
    is_rejected: bool = False
    is_soft_failed: bool = False
    follows_gap: bool = False
    state_before: int | None = None
    state_after: int | None = None
    room_state_after: int | None = None
    redacted_by: EventId | None = None
    redaction: Event | None = None
    transaction: tuple[DeviceId, str] | None = None

    @property
    def point(self) -> Point:
        """Its place in the timeline. Only of events that have one."""
        if self.position is None:
            raise ValueError("an event outside the timeline has no place in it")
        return Point(self.position, self.rank)

    @property
    def is_placed(self) -> bool:
        """Whether it has a place in the graph: shown, hidden or rejected there."""
        return self.position is not None or self.state_before is not None

    @property
    def is_outlier(self) -> bool:
        """Whether it is known only as a part of some state or auth chain."""
        return self.position is None and self.state_before is None and not self.is_rejected


def to_row(stored: StoredEvent) -> dict[str, Any]:
    """The row that keeps it."""
    device_id, transaction_id = stored.transaction or (None, None)
    return {
        "event_id": stored.event.event_id,
        "room_id": stored.event.room_id,
        "version_id": stored.event.version.id,
        "position": stored.position,
        "rank": stored.rank,
        "depth": stored.event.depth,
        "is_ours": stored.is_ours,
        "is_rejected": stored.is_rejected,
        "is_soft_failed": stored.is_soft_failed,
        "follows_gap": stored.follows_gap,
        "state_before": stored.state_before,
        "state_after": stored.state_after,
        "room_state_after": stored.room_state_after,
        "redacted_by": stored.redacted_by,
        "transaction_device": device_id,
        "transaction_id": transaction_id,
        "origin_server_ts": stored.event.origin_server_ts,
        "pdu": canonical_json.encode_checked(stored.event.pdu),
    }


def redactions_of(rows: Iterable[tuple[Any, ...]]) -> set[EventId]:
    """What redacted some of them."""
    return {row[_REDACTED_BY] for row in rows if row[_REDACTED_BY] is not None}


def from_rows(
    rows: Collection[tuple[Any, ...]],
    redactions: Mapping[EventId, Event],
    remembered: Remembered | None,
) -> list[StoredEvent]:
    """The events of rows of `COLUMNS`; parsed ones are remembered where there is a place."""
    return [
        StoredEvent(
            event_of(remembered, event_id, room_id, version_id, redacted_by, pdu),
            position,
            rank,
            is_ours == 1,
            is_rejected == 1,
            is_soft_failed == 1,
            follows_gap == 1,
            state_before,
            state_after,
            room_state_after,
            redacted_by,
            redactions.get(redacted_by) if redacted_by is not None else None,
            (device_id, transaction_id) if device_id else None,
        )
        for (
            event_id,
            room_id,
            version_id,
            redacted_by,
            pdu,
            position,
            rank,
            is_ours,
            is_rejected,
            is_soft_failed,
            follows_gap,
            state_before,
            state_after,
            room_state_after,
            device_id,
            transaction_id,
        ) in rows
    ]


def event_of(remembered: Remembered | None, *row: Any) -> Event:
    """The event of a row of `BODY`."""
    event_id, room_id, version_id, redacted_by, pdu = row
    if remembered is None:
        return _parse(event_id, room_id, version_id, pdu)
    key = (event_id, redacted_by is not None)
    event = remembered.find(key)
    if event is None:
        event = _parse(event_id, room_id, version_id, pdu)
        remembered.keep(key, event)
    return event


def _parse(event_id: Any, room_id: Any, version_id: str, pdu: bytes) -> Event:
    return matrix_events.restore(
        canonical_json.decode(pdu), event_id, room_id, ROOM_VERSIONS[version_id]
    )
