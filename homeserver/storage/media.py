"""What is stored under which media ID. The bytes themselves are files.

A file's name on disk is ours and random, so nothing a peer or a client chooses becomes a path.
"""

from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass

from sqlalchemy import BigInteger, Column, String, Table, bindparam, delete, func, select

from homeserver.matrix.identifiers import ServerName
from homeserver.storage.tables import metadata
from homeserver.storage.unit_of_work import UnitOfWork, View

media = Table(
    "media",
    metadata,
    Column("server_name", String, primary_key=True),
    Column("media_id", String, primary_key=True),
    Column("file_id", String, nullable=False),
    Column("content_type", String, nullable=False),
    Column("filename", String),
    Column("size", BigInteger, nullable=False),
    Column("stored_at", BigInteger, nullable=False),  # milliseconds since 1970
)

# IDs that a client was given before it uploads the file.
reserved_media = Table(
    "reserved_media",
    metadata,
    Column("media_id", String, primary_key=True),
    Column("expires_at", BigInteger, nullable=False),
)

# Files on disk of which the rows have gone: a crash may have come before they could go, too.
discarded_files = Table(
    "discarded_files",
    metadata,
    Column("file_id", String, primary_key=True),
)


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file we hold: uploaded here, or fetched once from the peer it was uploaded to."""

    server_name: ServerName
    media_id: str
    file_id: str
    content_type: str
    filename: str | None
    size: int
    stored_at: int


_FILE = select(media).where(
    media.c.server_name == bindparam("server_name"), media.c.media_id == bindparam("media_id")
)
_RESERVATION = select(reserved_media.c.expires_at).where(
    reserved_media.c.media_id == bindparam("media_id")
)
_DISCARDED = select(discarded_files.c.file_id).limit(bindparam("limit"))
_RESERVATIONS = select(func.count()).select_from(reserved_media)


def find_media(view: View, server_name: ServerName, media_id: str) -> StoredFile | None:
    """What we hold under a media ID."""
    row = view.one_or_none(_FILE, {"server_name": server_name, "media_id": media_id})
    return None if row is None else StoredFile(*row)


def save_media(work: UnitOfWork, file: StoredFile) -> None:
    """Say what a file on disk is; its media ID must be free."""
    work.insert(media, **asdict(file))


def save_discarded(work: UnitOfWork, file_ids: Iterable[str]) -> None:
    """Note which files have to go from the disk, in the unit of work that deletes their rows."""
    work.upsert_many(discarded_files, [{"file_id": one} for one in file_ids], changes=())


def load_discarded(view: View, limit: int) -> list[str]:
    """Some of the files that have to go from the disk."""
    return [row.file_id for row in view.all(_DISCARDED, {"limit": limit})]


def delete_discarded(work: UnitOfWork, file_ids: Collection[str]) -> None:
    """These have gone."""
    work.execute(delete(discarded_files).where(discarded_files.c.file_id.in_(list(file_ids))))


def find_reservation(view: View, media_id: str) -> int | None:
    """Until when an ID is kept for a file still to come, in milliseconds since 1970."""
    expires_at: int | None = view.scalar(_RESERVATION, {"media_id": media_id})
    return expires_at


def count_reservations(view: View) -> int:
    """How many IDs wait for their file."""
    count: int = view.scalar(_RESERVATIONS)
    return count


def save_reservation(work: UnitOfWork, media_id: str, expires_at: int) -> None:
    """Keep an ID for a file still to come."""
    work.insert(reserved_media, media_id=media_id, expires_at=expires_at)


def delete_reservation(work: UnitOfWork, media_id: str) -> None:
    """Give up an ID, or let its file take its place."""
    work.execute(delete(reserved_media).where(reserved_media.c.media_id == media_id))


def delete_expired_reservations(work: UnitOfWork, now: int) -> None:
    """Give up the IDs whose file did not come in time."""
    work.execute(delete(reserved_media).where(reserved_media.c.expires_at <= now))
