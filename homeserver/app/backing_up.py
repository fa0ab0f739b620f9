"""A backup: the whole data directory in one file that a passphrase opens.

The server may be running meanwhile. Its database is copied as it is at one moment.
"""

import contextlib
import os
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from homeserver.app.sealed_files import SealedWriter
from homeserver.config import Config
from homeserver.storage import copying

DATABASE, SETTINGS, FILES = "database", "config.yaml", "files/"
# What belongs to a run, and is of no use to the next.
_DEEPEST = 16
_OF_A_RUN = (".lock", ".writing", "-wal", "-shm", "-journal")


def back_up(config: Config, settings_file: Path, target: Path, passphrase: str) -> int:
    """Write the backup in one step, readable by its owner only; returns its size in bytes.

    Raises `copying.NoFile` where the database is not a file, and OSError.
    """
    database = copying.file_of(config.database_url)
    beside = target.with_name(target.name + ".writing")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            _write(config, settings_file, database, file, passphrase, {beside, target})
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)
    return size


def _write(
    config: Config,
    settings_file: Path,
    database: Path,
    file: BinaryIO,
    passphrase: str,
    spared: set[Path],
) -> None:
    sealed = SealedWriter(file, passphrase)
    directory = config.data_directory
    apart = (database, settings_file, directory / SETTINGS, directory / DATABASE)
    left_out = {path.resolve() for path in (*spared, *apart)}
    # tarfile asks for nothing but `write` of a stream.
    with (
        tarfile.open(mode="w|", fileobj=cast("BinaryIO", sealed), dereference=True) as archive,
        tempfile.TemporaryDirectory(dir=directory, prefix="backup-", suffix=".writing") as made,
    ):
        archive.add(settings_file, SETTINGS)
        copy = Path(made) / DATABASE
        copying.copy_database(config.database_url, copy)
        archive.add(copy, DATABASE)
        copy.unlink()
        for path in _files_of(directory):
            if path.resolve() not in left_out:
                with contextlib.suppress(FileNotFoundError):  # the owner deleted it meanwhile
                    archive.add(path, FILES + path.relative_to(directory).as_posix())
    sealed.finish()


def _files_of(directory: Path) -> Iterator[Path]:
    """The files worth keeping, those behind links too. Raises OSError for links in a circle."""
    for place, folders, names in os.walk(directory, followlinks=True):
        if len(Path(place).parts) - len(directory.parts) > _DEEPEST:
            raise OSError(f"{place} lies too deep; do links lead in a circle?")
        folders[:] = sorted(one for one in folders if not one.endswith(_OF_A_RUN))
        for name in sorted(names):
            path = Path(place) / name
            if not name.endswith(_OF_A_RUN) and path.is_file():
                yield path
