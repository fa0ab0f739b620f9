"""Pushers: which gateway is told that something happened, and up to where it has been told."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import orjson
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    LargeBinary,
    String,
    Table,
    delete,
    select,
    update,
)

from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import DeviceId, UserId
from homeserver.storage.tables import metadata
from homeserver.storage.unit_of_work import UnitOfWork, View

# The topic under which whoever tells gateways is woken.
CHANGED = "pushers"

pushers = Table(
    "pushers",
    metadata,
    Column("user_id", String, primary_key=True),
    Column("app_id", String, primary_key=True),
    Column("pushkey", String, primary_key=True),
    Column("device_id", String, nullable=False),  # the device that set it, and with which it goes
    Column("shown", LargeBinary, nullable=False),  # JSON: names, language, url, format
    Column("created_at", BigInteger, nullable=False),
    Column("told_until", BigInteger, nullable=False),  # a position
)


@dataclass(frozen=True, slots=True)
class Pusher:
    """One pusher; `shown` holds what clients see of it apart from its two keys."""

    user_id: UserId
    app_id: str
    pushkey: str
    device_id: DeviceId
    shown: JsonObject
    created_at: int
    told_until: int


def load_pushers(view: View) -> list[Pusher]:
    """Every pusher, the oldest first."""
    rows = view.all(select(pushers).order_by(pushers.c.created_at, pushers.c.pushkey))
    return [Pusher(**row._asdict() | {"shown": orjson.loads(row.shown)}) for row in rows]


def save_pusher(work: UnitOfWork, pusher: Pusher) -> None:
    """Add a pusher, or put it in the place of the one with its keys."""
    work.upsert(pushers, asdict(pusher) | {"shown": orjson.dumps(pusher.shown)})


def note_told(work: UnitOfWork, pusher: Pusher, position: int) -> None:
    """The gateway knows everything up to a position."""
    work.execute(update(pushers).where(*_is(pusher)).values(told_until=position))


def delete_pusher(work: UnitOfWork, user_id: UserId, app_id: str, pushkey: str) -> None:
    """Tell that gateway nothing more."""
    work.execute(
        delete(pushers).where(
            pushers.c.user_id == user_id,
            pushers.c.app_id == app_id,
            pushers.c.pushkey == pushkey,
        )
    )


def delete_pushers_of_devices(
    work: UnitOfWork, user_id: UserId, device_ids: Sequence[DeviceId]
) -> None:
    """Forget the pushers of devices that are gone."""
    work.wake(CHANGED)
    work.execute(
        delete(pushers).where(pushers.c.user_id == user_id, pushers.c.device_id.in_(device_ids))
    )


def _is(pusher: Pusher) -> tuple[ColumnElement[bool], ...]:
    return (
        pushers.c.user_id == pusher.user_id,
        pushers.c.app_id == pusher.app_id,
        pushers.c.pushkey == pusher.pushkey,
    )
