"""What the owner should be told in the Connections room, in the order it happened."""

from dataclasses import dataclass

import orjson
from sqlalchemy import BigInteger, Boolean, Column, LargeBinary, String, Table, delete, select
from sqlalchemy import update as update_table

from homeserver.matrix.canonical_json import JsonObject
from homeserver.storage import wake_ups
from homeserver.storage.tables import RowNumber, metadata
from homeserver.storage.unit_of_work import UnitOfWork, View

notices = Table(
    "notices",
    metadata,
    Column("number", RowNumber, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("kind", String, nullable=False),  # request, connected, warning, alarm, expired, …
    Column("node_id", String, nullable=False, index=True),
    Column("content", LargeBinary, nullable=False),
    Column("is_told", Boolean, nullable=False),
    sqlite_autoincrement=True,
)

_MOST = 1_000


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the owner should know or decide."""

    number: int
    at: int
    kind: str
    node_id: str
    content: JsonObject
    is_told: bool


def tell_owner(work: UnitOfWork, at: int, kind: str, node_id: str, content: JsonObject) -> None:
    """Add a notice and wake whoever shows them. Only the newest thousand are kept."""
    result = work.execute(
        notices.insert(),
        {
            "at": at,
            "kind": kind,
            "node_id": node_id,
            "content": orjson.dumps(content),
            "is_told": False,
        },
    )
    key = result.inserted_primary_key
    if key is not None:
        work.execute(delete(notices).where(notices.c.number <= key[0] - _MOST))
    work.wake(wake_ups.NOTICES)


def untold(view: View, limit: int = 100) -> list[Notice]:
    """Notices that were not shown yet, oldest first."""
    query = select(notices).where(notices.c.is_told.is_(False)).order_by(notices.c.number)
    return [_notice(*row) for row in view.all(query.limit(limit))]


def newest(view: View, limit: int = 100) -> list[Notice]:
    """The newest notices, newest first."""
    query = select(notices).order_by(notices.c.number.desc()).limit(limit)
    return [_notice(*row) for row in view.all(query)]


def mark_told(work: UnitOfWork, number: int) -> None:
    """The owner has been shown this notice."""
    work.execute(update_table(notices).where(notices.c.number == number).values(is_told=True))


def _notice(
    number: int,
    at: int,
    kind: str,
    node_id: str,
    content: bytes,
    is_told: bool,  # noqa: FBT001
) -> Notice:
    return Notice(number, at, kind, node_id, orjson.loads(content), is_told)
