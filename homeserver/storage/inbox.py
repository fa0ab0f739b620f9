"""The inbox: frames that came from a peer, were acknowledged, and are not worked off yet."""

from dataclasses import dataclass

from sqlalchemy import (
    BigInteger,
    Column,
    LargeBinary,
    String,
    Table,
    bindparam,
    delete,
    func,
    select,
    update,
)

from homeserver.matrix.identifiers import ServerName
from homeserver.storage import wake_ups
from homeserver.storage.tables import RowNumber, metadata
from homeserver.storage.unit_of_work import UnitOfWork, View

inbox = Table(
    "inbox",
    metadata,
    Column("number", RowNumber, primary_key=True),
    Column("peer", String, nullable=False, index=True),
    Column("sequence", BigInteger, nullable=False),
    Column("kind", String, nullable=False),
    Column("sent_at", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    sqlite_autoincrement=True,
)


@dataclass(frozen=True, slots=True)
class StoredFrame:
    """A frame that was acknowledged and waits to be worked off; `body` is JSON."""

    number: int
    peer: ServerName
    sequence: int
    kind: str
    sent_at: int
    body: bytes


_NEXT_FRAMES = (
    select(inbox).where(inbox.c.peer == bindparam("peer")).order_by(inbox.c.number)
).limit(bindparam("limit"))
_COUNT = select(func.count()).where(inbox.c.peer == bindparam("peer"))
_DELETE_FRAME = delete(inbox).where(inbox.c.number == bindparam("number_"))
_KEEP_REST = (
    update(inbox).where(inbox.c.number == bindparam("number_")).values(body=bindparam("rest"))
)


def inbox_topic(peer: ServerName) -> str:
    """What the worker that takes a peer's frames in listens to."""
    return f"{wake_ups.INBOX}/{peer}"


def save_frame(work: UnitOfWork, peer: ServerName, frame: StoredFrame) -> None:
    """Keep a frame that came, in order, until it is worked off."""
    work.insert(
        inbox,
        peer=peer,
        sequence=frame.sequence,
        kind=frame.kind,
        sent_at=frame.sent_at,
        body=frame.body,
    )
    work.wake(inbox_topic(peer))


def next_frames(view: View, peer: ServerName, limit: int) -> list[StoredFrame]:
    """The oldest frames of a peer that are not worked off."""
    rows = view.all(_NEXT_FRAMES, {"peer": peer, "limit": limit})
    return [StoredFrame(*row) for row in rows]


def keep_rest(work: UnitOfWork, number: int, body: bytes) -> None:
    """Some of a frame's effects are stored in this unit of work: only the rest waits now."""
    work.execute(_KEEP_REST, {"number_": number, "rest": body})


def delete_frame(work: UnitOfWork, number: int) -> None:
    """A frame's effects are stored in this same unit of work."""
    work.execute(_DELETE_FRAME, {"number_": number})


def count_frames(view: View, peer: ServerName) -> int:
    """How many frames of a peer wait to be worked off."""
    return view.scalar(_COUNT, {"peer": peer}) or 0


def delete_everything(work: UnitOfWork, peer: ServerName) -> None:
    """Drop what came from a peer."""
    work.delete(inbox, peer=peer)
