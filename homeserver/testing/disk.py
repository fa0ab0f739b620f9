"""A server's disk, which is full or slow whenever the story says so."""

import asyncio
import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from homeserver import errors
from homeserver.media.files import MediaFiles
from homeserver.ports import Entropy

T = TypeVar("T")


@dataclass(slots=True)
class Disk:
    """While `is_full` nothing more is kept; each commit and each part of a file takes its time."""

    is_full: bool = False
    seconds_per_write: float = 0.0

    def check(self) -> None:
        """Raise what a full disk raises to whoever commits."""
        if self.is_full:
            raise errors.StorageFull

    async def wait(self) -> None:
        """Let the time of one write pass."""
        if self.seconds_per_write:
            await asyncio.sleep(self.seconds_per_write)


class SimulatedFiles(MediaFiles):
    """A server's files, on such a disk."""

    def __init__(self, directory: Path, entropy: Entropy, disk: Disk) -> None:
        super().__init__(directory, entropy)
        self._disk = disk

    async def _on_disk(self, call: Callable[[], T]) -> T:
        await self._disk.wait()
        if self._disk.is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return await super()._on_disk(call)
