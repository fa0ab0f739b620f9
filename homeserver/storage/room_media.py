"""Which files a room's events name, as far as they are not encrypted."""

from collections.abc import Iterable

from sqlalchemy import (
    Boolean,
    Column,
    Index,
    String,
    Table,
    and_,
    bindparam,
    delete,
    exists,
    false,
    func,
    literal,
    or_,
    select,
)

from homeserver.matrix.identifiers import MxcUri, RoomId, ServerName
from homeserver.storage.media import StoredFile, media
from homeserver.storage.rooms import memberships
from homeserver.storage.tables import metadata
from homeserver.storage.unit_of_work import UnitOfWork, View

room_media = Table(
    "room_media",
    metadata,
    Column("room_id", String, primary_key=True),
    Column("server_name", String, primary_key=True),
    Column("media_id", String, primary_key=True),
    # Whether somebody of the file's own server named it here: anybody can name any file.
    Column("is_by_uploader", Boolean, nullable=False, server_default=false()),
)
# Does another room name this file, too?
Index("ix_room_media_file", room_media.c.server_name, room_media.c.media_id)

_elsewhere = room_media.alias("elsewhere")
_IS_THE_SAME = and_(
    media.c.server_name == room_media.c.server_name, media.c.media_id == room_media.c.media_id
)
_URI = literal("mxc://") + media.c.server_name + "/" + media.c.media_id
_ONLY_HERE = (
    select(media)
    .join(room_media, _IS_THE_SAME)
    .where(
        room_media.c.room_id == bindparam("room_id"),
        # What came from elsewhere can be had again; an upload of ours is nowhere else.
        or_(room_media.c.server_name != bindparam("own"), room_media.c.is_by_uploader),
        media.c.file_id > bindparam("after"),
        ~exists().where(
            _elsewhere.c.server_name == room_media.c.server_name,
            _elsewhere.c.media_id == room_media.c.media_id,
            _elsewhere.c.room_id != bindparam("room_id"),
        ),
        ~exists().where(memberships.c.avatar_url == _URI),
    )
    .order_by(media.c.file_id)
    .limit(bindparam("limit"))
)
_SIZES = (
    select(room_media.c.room_id, func.count(), func.sum(media.c.size))
    .join(media, _IS_THE_SAME)
    .group_by(room_media.c.room_id)
)


def save_uses(
    work: UnitOfWork, room_id: RoomId, named: Iterable[MxcUri], sender: ServerName
) -> None:
    """Note that an event of a server's user names these files in a room."""
    own: list[dict[str, str | bool]] = []
    others: list[dict[str, str | bool]] = []
    for one in named:
        is_own = one.server == sender
        row = {"room_id": room_id, "server_name": one.server, "media_id": one.media_id}
        (own if is_own else others).append(row | {"is_by_uploader": is_own})
    work.upsert_many(room_media, own)
    work.upsert_many(room_media, others, changes=())


def files_of_room_alone(
    view: View, room_id: RoomId, own: ServerName, after: str, limit: int
) -> list[StoredFile]:
    """Files that may go with a room, in the order of their file IDs: no other room names them.

    Uploads of our own only if an event of the owner named them here.
    """
    wanted = {"room_id": room_id, "own": own, "after": after, "limit": limit}
    return [StoredFile(*row) for row in view.all(_ONLY_HERE, wanted)]


def delete_file(work: UnitOfWork, file: StoredFile) -> None:
    """Let go of what was known of a file."""
    work.execute(
        delete(media).where(
            media.c.server_name == file.server_name, media.c.media_id == file.media_id
        )
    )


def rooms_naming(view: View, server_name: ServerName, media_id: str) -> frozenset[RoomId]:
    """The rooms whose events name a file, as far as they are not encrypted."""
    column = room_media.c
    named = and_(column.server_name == server_name, column.media_id == media_id)
    return frozenset(RoomId(row[0]) for row in view.all(select(column.room_id).where(named)))


def sizes_by_room(view: View) -> dict[RoomId, tuple[int, int]]:
    """How many of our files each room names, and their bytes."""
    return {row[0]: (row[1], int(row[2])) for row in view.all(_SIZES)}
