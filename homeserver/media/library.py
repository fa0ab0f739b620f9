"""The files the owner's clients see: their own, and those of connected peers."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakValueDictionary

from homeserver import errors
from homeserver.matrix import identifiers
from homeserver.matrix.identifiers import MxcUri, ServerName
from homeserver.media import labels, thumbnails
from homeserver.media.files import MediaFiles
from homeserver.media.remote import RemoteFiles
from homeserver.media.thumbnails import Drawn, Method, Size, Wanted
from homeserver.ports import Clock
from homeserver.storage import media as stored_media
from homeserver.storage.database import Database
from homeserver.storage.media import StoredFile
from homeserver.storage.unit_of_work import UnitOfWork

_RESERVED_FOR_MS = 24 * 3600 * 1000
_RESERVATION_LIMIT = 50


class CannotOverwriteMedia(errors.Conflict):
    """That file was uploaded already."""

    errcode = "M_CANNOT_OVERWRITE_MEDIA"


@dataclass(frozen=True, slots=True)
class MediaSettings:
    """Our name and the limits: bytes of an upload, of a peer's file, pixels to draw smaller."""

    server_name: ServerName
    max_upload_bytes: int
    max_remote_bytes: int
    max_pixels: int


@dataclass(frozen=True, slots=True)
class Served:
    """A file ready to be sent."""

    path: Path
    content_type: str
    filename: str | None
    size: int


@dataclass(frozen=True, slots=True)
class Reservation:
    """A URI for a file that is still to be uploaded."""

    content_uri: MxcUri
    unused_expires_at: int


class Media:
    """Upload, download, thumbnails."""

    def __init__(
        self,
        database: Database,
        files: MediaFiles,
        remote: RemoteFiles,
        clock: Clock,
        settings: MediaSettings,
    ) -> None:
        self._database = database
        self._files = files
        self._remote = remote
        self._clock = clock
        self._settings = settings
        self._drawing = ThreadPoolExecutor(1, thread_name_prefix="thumbnails")
        self._arrivals: WeakValueDictionary[str, asyncio.Event] = WeakValueDictionary()

    @property
    def max_upload_bytes(self) -> int:
        """The largest upload we take."""
        return self._settings.max_upload_bytes

    async def upload(
        self, parts: AsyncIterator[bytes], content_type: str, filename: str | None
    ) -> MxcUri:
        """Keep a file and give it an ID nobody can guess.

        Spec: client-server-api#post_matrixmediav3upload
        """
        media_id = self._files.draw_id()
        await self._take(media_id, parts, content_type, filename)
        return MxcUri(self._settings.server_name, media_id)

    async def reserve(self) -> Reservation:
        """Give out an ID whose file comes later.

        Spec: client-server-api#post_matrixmediav1create
        """
        media_id, now = self._files.draw_id(), self._clock.now_ms()

        def save(work: UnitOfWork) -> None:
            stored_media.delete_expired_reservations(work, now)
            if stored_media.count_reservations(work) >= _RESERVATION_LIMIT:
                raise errors.LimitExceeded(60_000)
            stored_media.save_reservation(work, media_id, now + _RESERVED_FOR_MS)

        await self._database.write(save)
        uri = MxcUri(self._settings.server_name, media_id)
        return Reservation(uri, now + _RESERVED_FOR_MS)

    async def upload_reserved(
        self, uri: MxcUri, parts: AsyncIterator[bytes], content_type: str, filename: str | None
    ) -> None:
        """Upload the file an ID was reserved for.

        Spec: client-server-api#put_matrixmediav3uploadservernamemediaid
        """
        if uri.server != self._settings.server_name:
            raise errors.NotFound("That URI was not created here.")
        if self._find(uri) is not None:
            raise CannotOverwriteMedia
        if not self._is_reserved(uri.media_id):
            raise errors.NotFound("That URI was not created here, or has expired.")
        await self._take(uri.media_id, parts, content_type, filename)

    async def download(self, server_name: str, media_id: str, wait_s: float = 20.0) -> Served:
        """Find a file; a peer's is fetched first, one of ours awaited if its ID is reserved.

        Spec: client-server-api#get_matrixclientv1mediadownloadservernamemediaid
        """
        file = await self._load(_parse(server_name, media_id), wait_s)
        path = self._files.path_of(file.file_id)
        return Served(path, file.content_type, file.filename, file.size)

    async def thumbnail(
        self, server_name: str, media_id: str, requested: Size, method: Method, wait_s: float = 20.0
    ) -> Drawn:
        """Find or draw a still thumbnail that is at least as large as asked for.

        Spec: client-server-api#get_matrixclientv1mediathumbnailservernamemediaid
        """
        file = await self._load(_parse(server_name, media_id), wait_s)
        wanted = thumbnails.choose(requested, method)
        stem = self._files.thumbnail_stem(file.file_id)
        drawn = thumbnails.find_drawn(stem, wanted)
        if drawn is not None:
            return drawn
        return await asyncio.get_running_loop().run_in_executor(
            self._drawing,
            _draw,
            self._files.path_of(file.file_id),
            stem,
            wanted,
            self._settings.max_pixels,
        )

    def open_for_peer(self, media_id: str) -> Served:
        """Find a file that was uploaded here, for a peer that asks for it; raises NotFound.

        Knowing the ID, which cannot be guessed, is the permission.
        """
        file = self._find(_parse(self._settings.server_name, media_id))
        if file is None:
            raise errors.NotFound
        path = self._files.path_of(file.file_id)
        return Served(path, file.content_type, file.filename, file.size)

    def discard(self, file_id: str) -> None:
        """Remove a file and its thumbnails from disk, once nothing refers to it."""
        self._files.delete(file_id)
        self._files.delete_thumbnails(file_id)

    async def close(self) -> None:
        """Stop fetching, finish what is being written."""
        await self._remote.close()
        self._drawing.shutdown(cancel_futures=True)
        self._files.close()

    async def _take(
        self, media_id: str, parts: AsyncIterator[bytes], content_type: str, filename: str | None
    ) -> None:
        """Put the bytes on disk, then the row that says so, which also ends a reservation."""
        file_id = self._files.draw_id()
        size = await self._files.store(file_id, parts, self._settings.max_upload_bytes)
        file = StoredFile(
            self._settings.server_name,
            media_id,
            file_id,
            labels.clean_content_type(content_type),
            labels.clean_filename(filename),
            size,
            self._clock.now_ms(),
        )

        def save(work: UnitOfWork) -> None:
            if stored_media.find_media(work, file.server_name, media_id) is not None:
                raise CannotOverwriteMedia
            stored_media.delete_reservation(work, media_id)
            stored_media.save_media(work, file)

        try:
            await self._database.write(save)
        except errors.HomeserverError:
            self._files.delete(file_id)
            raise
        arrival = self._arrivals.pop(media_id, None)
        if arrival is not None:
            arrival.set()

    def _find(self, uri: MxcUri) -> StoredFile | None:
        return self._database.read(
            lambda view: stored_media.find_media(view, uri.server, uri.media_id)
        )

    async def _load(self, uri: MxcUri, wait_s: float) -> StoredFile:
        file = self._find(uri)
        if file is None and uri.server == self._settings.server_name:
            await self._await_upload(uri.media_id, wait_s)
            file = self._find(uri)
        elif file is None:
            file = await self._remote.fetch(uri, self._settings.max_remote_bytes, wait_s)
        if file is None:
            raise errors.NotFound
        return file

    async def _await_upload(self, media_id: str, wait_s: float) -> None:
        if not self._is_reserved(media_id):
            raise errors.NotFound
        arrival = self._arrivals.setdefault(media_id, asyncio.Event())
        try:
            await asyncio.wait_for(arrival.wait(), wait_s)
        except TimeoutError:
            raise errors.NotYetUploaded from None

    def _is_reserved(self, media_id: str) -> bool:
        expires_at = self._database.read(lambda view: stored_media.find_reservation(view, media_id))
        return expires_at is not None and expires_at > self._clock.now_ms()


def _parse(server_name: str, media_id: str) -> MxcUri:
    try:
        return identifiers.parse_mxc_uri(f"mxc://{server_name}/{media_id}")
    except errors.InvalidParam:
        raise errors.NotFound from None


def _draw(original: Path, stem: Path, wanted: Wanted, max_pixels: int) -> Drawn:
    """On the drawing thread: drawn meanwhile for somebody else, or now."""
    from homeserver.media import drawing

    return thumbnails.find_drawn(stem, wanted) or drawing.draw(original, stem, wanted, max_pixels)
