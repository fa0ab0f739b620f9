"""What is kept about files."""

from dataclasses import replace

import pytest
from sqlalchemy.exc import IntegrityError

from homeserver.matrix.identifiers import ServerName
from homeserver.storage import media
from homeserver.storage.database import Database
from homeserver.storage.media import StoredFile

ALICE, BOB = ServerName("alice.example"), ServerName("bob.example")
CAT = StoredFile(ALICE, "CAT", "file1", "image/png", "cat.png", 7_000_000_000, 1_000)


async def test_files_of_two_servers_may_share_an_id(database: Database) -> None:
    theirs = replace(CAT, server_name=BOB, file_id="file2", filename=None)
    for file in (CAT, theirs):
        await database.write(lambda work, file=file: media.save_media(work, file))  # type: ignore[misc]
    assert database.read(lambda view: media.find_media(view, ALICE, "CAT")) == CAT
    assert database.read(lambda view: media.find_media(view, BOB, "CAT")) == theirs
    assert database.read(lambda view: media.find_media(view, BOB, "DOG")) is None


async def test_an_id_is_taken_once(database: Database) -> None:
    await database.write(lambda work: media.save_media(work, CAT))
    with pytest.raises(IntegrityError):
        await database.write(lambda work: media.save_media(work, replace(CAT, file_id="file3")))


async def test_reservations_end(database: Database) -> None:
    for media_id, expires_at in (("A", 10), ("B", 20), ("C", 30)):
        await database.write(
            lambda work, one=media_id, at=expires_at: media.save_reservation(work, one, at)  # type: ignore[misc]
        )
    assert database.read(media.count_reservations) == 3
    await database.write(lambda work: media.delete_expired_reservations(work, 10))
    await database.write(lambda work: media.delete_reservation(work, "C"))
    assert database.read(lambda view: media.find_reservation(view, "B")) == 20
    assert database.read(media.count_reservations) == 1
