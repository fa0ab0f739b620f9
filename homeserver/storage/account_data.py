"""Account data, global and per room: what the owner's clients keep for each other. Tags too.

Push rules are the global entry `m.push_rules`, a room's tags its entry `m.tag`, and its read
marker `m.fully_read`. Values may hold floats (tags do), so they are kept as plain JSON.
"""

from dataclasses import dataclass

import orjson
from sqlalchemy import BigInteger, Column, LargeBinary, String, Table, bindparam, select

from homeserver import errors
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import RoomId, UserId
from homeserver.storage import wake_ups
from homeserver.storage.tables import metadata
from homeserver.storage.unit_of_work import UnitOfWork, View

account_data = Table(
    "account_data",
    metadata,
    Column("user_id", String, primary_key=True),
    Column("room_id", String, primary_key=True),  # empty for what concerns no room
    Column("type", String, primary_key=True),
    Column("content", LargeBinary, nullable=False),
    Column("position", BigInteger, nullable=False, index=True),
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry; `content` is JSON in bytes, ready to be put into an answer."""

    room_id: RoomId | None
    type: str
    content: bytes


_ONE = select(account_data.c.content).where(
    account_data.c.user_id == bindparam("user_id"),
    account_data.c.room_id == bindparam("room_id"),
    account_data.c.type == bindparam("type"),
)
_CHANGED = (
    select(account_data.c.room_id, account_data.c.type, account_data.c.content)
    .where(
        account_data.c.position > bindparam("after"),
        account_data.c.position <= bindparam("until"),
        account_data.c.user_id == bindparam("user_id"),
    )
    .order_by(account_data.c.position)
)
_OF_ROOM = select(account_data.c.room_id, account_data.c.type, account_data.c.content).where(
    account_data.c.user_id == bindparam("user_id"),
    account_data.c.room_id == bindparam("room_id"),
)


def save_account_data(
    work: UnitOfWork, user_id: UserId, room_id: RoomId | None, kind: str, content: JsonObject
) -> None:
    """Keep this content in place of the earlier one and show it to the user's other clients."""
    work.upsert(
        account_data,
        {
            "user_id": user_id,
            "room_id": room_id or "",
            "type": kind,
            "content": _to_json(content),
            "position": work.next_position(),
        },
    )
    work.wake(wake_ups.SYNC)


def find_account_data(
    view: View, user_id: UserId, room_id: RoomId | None, kind: str
) -> JsonObject | None:
    """The content of one entry."""
    key = {"user_id": user_id, "room_id": room_id or "", "type": kind}
    raw = view.scalar(_ONE, key)
    if raw is None:
        return None
    content: JsonObject = orjson.loads(raw)
    return content


def account_data_since(view: View, user_id: UserId, after: int, until: int) -> list[Entry]:
    """Every entry that changed after one position and up to another, global ones and rooms'."""
    key = {"user_id": user_id, "after": after, "until": until}
    return [_entry(*row) for row in view.all(_CHANGED, key)]


def account_data_of_room(view: View, user_id: UserId, room_id: RoomId) -> list[Entry]:
    """Everything kept about one room, for a client that sees the room for the first time."""
    return [_entry(*row) for row in view.all(_OF_ROOM, {"user_id": user_id, "room_id": room_id})]


def _to_json(content: JsonObject) -> bytes:
    try:
        return orjson.dumps(content)
    except TypeError as error:  # orjson's own error: nested too deeply, or no JSON at all
        raise errors.BadJson from error


def _entry(room_id: str, kind: str, content: bytes) -> Entry:
    return Entry(RoomId(room_id) if room_id else None, kind, content)
