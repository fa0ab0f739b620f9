"""Bytes on disk: a stream becomes a file only when it is complete and synced.

All writing happens on one thread, so that a request that goes away while a part is being written
cannot close the file under it.
"""

import asyncio
import base64
import errno
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar

from homeserver import errors
from homeserver.ports import Entropy

T = TypeVar("T")

_BUFFER = 256 * 1024
_ID_BYTES = 18


class MediaFiles:
    """The directory that holds every file, and `thumbnails` and `incoming` below it."""

    def __init__(self, directory: Path, entropy: Entropy) -> None:
        self._directory = directory
        self._entropy = entropy
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="media-write")
        self._incoming = directory / "incoming"
        self._incoming.mkdir(parents=True, exist_ok=True, mode=0o700)
        for leftover in self._incoming.iterdir():  # of uploads that a crash cut off
            leftover.unlink()

    def draw_id(self) -> str:
        """An unguessable ID of letters, digits, `-` and `_`."""
        return base64.urlsafe_b64encode(self._entropy.token_bytes(_ID_BYTES)).decode()

    def path_of(self, file_id: str) -> Path:
        """Where a file lies. Only for IDs that `draw_id` made."""
        return self._directory / file_id[:2] / file_id

    def thumbnail_stem(self, file_id: str) -> Path:
        """What the paths of a file's thumbnails begin with."""
        return self._directory / "thumbnails" / file_id[:2] / file_id

    async def store(self, file_id: str, parts: AsyncIterator[bytes], limit: int) -> int:
        """Write a stream to disk and return its size; raises TooLarge beyond the limit.

        Nothing is left behind where the stream breaks off or the caller is cancelled. Raises
        StorageFull where the disk is.
        """
        try:
            return await self._store(file_id, parts, limit)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise errors.StorageFull from error
            raise

    def delete(self, file_id: str) -> None:
        """Remove a file that nothing refers to."""
        self._writer.submit(self.path_of(file_id).unlink, missing_ok=True)

    def delete_thumbnails(self, file_id: str) -> None:
        """Remove everything that was drawn of a file."""
        stem = self.thumbnail_stem(file_id)

        def remove() -> None:
            for drawn in stem.parent.glob(f"{stem.name}*"):
                drawn.unlink(missing_ok=True)

        self._writer.submit(remove)

    def close(self) -> None:
        """Finish what is being written."""
        self._writer.shutdown()

    async def _store(self, file_id: str, parts: AsyncIterator[bytes], limit: int) -> int:
        incoming = await self._on_disk(lambda: (self._incoming / file_id).open("xb", 0))
        try:
            size = await self._write(incoming, parts, limit)
            await self._on_disk(lambda: self._finish(incoming, file_id))
        except BaseException:
            self._writer.submit(_discard, incoming)
            raise
        return size

    async def _write(self, incoming: BinaryIO, parts: AsyncIterator[bytes], limit: int) -> int:
        size = 0
        waiting = bytearray()
        async for part in parts:
            size += len(part)
            if size > limit:
                raise errors.TooLarge
            waiting += part
            if len(waiting) >= _BUFFER:
                full, waiting = waiting, bytearray()
                await self._on_disk(partial(_write_all, incoming, full))
        await self._on_disk(partial(_write_all, incoming, waiting))
        return size

    def _finish(self, incoming: BinaryIO, file_id: str) -> None:
        os.fsync(incoming.fileno())
        incoming.close()
        path = self.path_of(file_id)
        path.parent.mkdir(exist_ok=True, mode=0o700)
        (self._incoming / file_id).rename(path)
        _sync_directory(path.parent)
        _sync_directory(self._directory)

    async def _on_disk(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._writer, call)


def _write_all(file: BinaryIO, content: bytearray) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]


def _discard(incoming: BinaryIO) -> None:
    incoming.close()
    Path(incoming.name).unlink(missing_ok=True)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
