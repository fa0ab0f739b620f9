"""Events that the owner's clients want to be sent later, and what became of the last of them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson
from sqlalchemy import (
    BigInteger,
    Column,
    LargeBinary,
    String,
    Table,
    delete,
    func,
    select,
    update,
)

from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import DeviceId, RoomId, UserId
from homeserver.storage.tables import metadata
from homeserver.storage.unit_of_work import UnitOfWork, View

# Of those that are over, so that a client may ask again what became of one.
_KEPT = 100

delayed_events = Table(
    "delayed_events",
    metadata,
    Column("delay_id", String, primary_key=True),
    Column("user_id", String, nullable=False),
    Column("device_id", String, nullable=False),
    Column("transaction_id", String),
    Column("room_id", String, nullable=False),
    Column("event_type", String, nullable=False),
    Column("state_key", String),
    Column("content", LargeBinary, nullable=False),  # JSON
    Column("delay_ms", BigInteger, nullable=False),
    Column("scheduled_at", BigInteger, nullable=False),
    Column("outcome", String),  # None: it is still to be sent
    Column("finalised_at", BigInteger),
)

SENT, CANCELLED = "sent", "cancelled"
_DUE_AT = delayed_events.c.scheduled_at + delayed_events.c.delay_ms
_WAITS = delayed_events.c.outcome.is_(None)


@dataclass(frozen=True, slots=True)
class DelayedEvent:
    """One event, who wants it and when."""

    delay_id: str
    user_id: UserId
    device_id: DeviceId
    transaction_id: str | None
    room_id: RoomId
    event_type: str
    state_key: str | None
    content: JsonObject
    delay_ms: int
    scheduled_at: int
    outcome: str | None = None
    finalised_at: int | None = None

    @property
    def due_at(self) -> int:
        """When it is to be sent."""
        return self.scheduled_at + self.delay_ms


def save(work: UnitOfWork, delayed: DelayedEvent) -> None:
    """Keep one to send."""
    work.insert(delayed_events, **asdict(delayed) | {"content": orjson.dumps(delayed.content)})


def find(view: View, delay_id: str) -> DelayedEvent | None:
    """The one of that ID."""
    return next(_read(view, delayed_events.c.delay_id == delay_id), None)


def find_by_transaction(
    view: View, device_id: DeviceId, transaction_id: str, room_id: RoomId
) -> DelayedEvent | None:
    """What an earlier request of a device with this transaction ID scheduled in a room."""
    found = _read(
        view,
        delayed_events.c.device_id == device_id,
        delayed_events.c.transaction_id == transaction_id,
        delayed_events.c.room_id == room_id,
    )
    return next(found, None)


def waiting(view: View) -> Sequence[DelayedEvent]:
    """All that are still to be sent, the next one first."""
    return list(_read(view, _WAITS))


def restart(work: UnitOfWork, delay_id: str, now_ms: int) -> None:
    """Let its time begin again."""
    work.execute(
        update(delayed_events)
        .where(delayed_events.c.delay_id == delay_id, _WAITS)
        .values(scheduled_at=now_ms)
    )


def finalise(work: UnitOfWork, delay_id: str, outcome: str, now_ms: int) -> None:
    """It is over; of those that are, the newest are kept."""
    work.execute(
        update(delayed_events)
        .where(delayed_events.c.delay_id == delay_id, _WAITS)
        .values(outcome=outcome, finalised_at=now_ms)
    )
    over = delayed_events.c.outcome.is_not(None)
    if work.scalar(select(func.count()).select_from(delayed_events).where(over)) <= _KEPT:
        return
    newest = (
        select(delayed_events.c.delay_id)
        .where(over)
        .order_by(delayed_events.c.finalised_at.desc(), delayed_events.c.delay_id)
        .limit(_KEPT)
    )
    work.execute(delete(delayed_events).where(over, delayed_events.c.delay_id.not_in(newest)))


def call_off(work: UnitOfWork, room_id: RoomId, event_type: str, now_ms: int) -> None:
    """Nothing of this type that waits for a room is to be sent any more."""
    for delayed in waiting(work):
        if (delayed.room_id, delayed.event_type) == (room_id, event_type):
            finalise(work, delayed.delay_id, CANCELLED, now_ms)


def _read(view: View, *where: Any) -> Any:
    rows = view.all(
        select(delayed_events).where(*where).order_by(_DUE_AT, delayed_events.c.delay_id)
    )
    return (DelayedEvent(**row._asdict() | {"content": orjson.loads(row.content)}) for row in rows)
