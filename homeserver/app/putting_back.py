"""Put a backup back: into an empty directory, and so that no key is used twice.

Whatever may have happened after the backup was made is taken into account: sessions, invitations
and the keys devices left here are void, positions go on far above, and every connection waits for
the owner.
"""

import asyncio
import re
import shutil
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from federation import own_identity, restoring
from federation.sessions import Sessions
from federation.turn_state import Party
from homeserver import config, errors
from homeserver.app import initialising, peer_services
from homeserver.app.backing_up import DATABASE, FILES, SETTINGS
from homeserver.app.sealed_files import CannotOpen, NotASealedFile, SealedReader
from homeserver.app.surroundings import Surroundings
from homeserver.config import Config
from homeserver.keyring import Keyring
from homeserver.storage import accounts, copying, encryption
from homeserver.storage.peers import Peer
from homeserver.storage.unit_of_work import UnitOfWork
from homeserver.storage.wake_ups import WakeUps

# More changes than any server makes between a backup and its loss.
_SKIPPED_POSITIONS = 2**40
_DATA_DIR = re.compile(r"^data_dir:.*$", re.MULTILINE)


class Occupied(errors.HomeserverError):
    """There are files in that directory already. Name an empty one, or move them away."""


class DatabaseElsewhere(errors.HomeserverError):
    """The settings in the backup keep the database at a place where a file is. Move it away."""


@dataclass(frozen=True, slots=True)
class PutBack:
    """Where the server is now, and who waits for the owner to resume."""

    settings_file: Path
    waiting: list[Peer]


def put_back(
    source: Path,
    directory: Path,
    passphrase: str,
    environ: Mapping[str, str],
    ask: Callable[[], str],
) -> PutBack:
    """Make a server of a backup. Nothing appears at `directory` before all of it is right.

    `ask` is called for the passphrase of the keys where they are locked. Raises `Occupied`,
    `NotASealedFile`, `CannotOpen`, `config.ConfigError`, OSError.
    """
    if directory.exists() and any(directory.iterdir()):
        raise Occupied
    staging = directory.with_name(directory.name + ".restoring")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(mode=0o700, parents=True)
    try:
        unpack(source, staging, passphrase)
        settings = _settle_in(staging, environ)
        keyring = initialising.unlock(settings, ask)
        inside = _with_database(settings, staging / DATABASE)
        waiting = asyncio.run(make_safe(inside, keyring, Surroundings()))
        _place_database(settings, staging)
        if directory.exists():
            directory.rmdir()
        staging.rename(directory)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return PutBack(directory / SETTINGS, waiting)


async def make_safe(settings: Config, keyring: Keyring, surroundings: Surroundings) -> list[Peer]:
    """Void what may have been used since the backup; returns the connections to confirm."""
    own = own_identity.load(settings.data_directory, keyring)
    ratchets = surroundings.ratchets or peer_services.ratchets_of(settings.federation.ratchets)
    sessions = Sessions(ratchets, keyring)
    party = Party(own, sessions, surroundings.clock, surroundings.entropy)
    database = surroundings.open_database(settings.database_url, WakeUps())
    try:
        return await database.write(lambda work: _make_safe(work, party))
    finally:
        database.close()


def _make_safe(work: UnitOfWork, party: Party) -> list[Peer]:
    owner = accounts.find_owner(work)
    if owner is None:
        raise CannotOpen
    work.skip_positions(_SKIPPED_POSITIONS)
    encryption.void_keys(work, owner)
    return restoring.void(work, party)


def unpack(source: Path, staging: Path, passphrase: str) -> None:
    """Write a backup's files as they are; names that lead out of it, and links, are refused."""
    with source.open("rb") as file:
        _unpack(SealedReader(file, passphrase), staging)


def _unpack(reader: SealedReader, staging: Path) -> None:
    try:
        with tarfile.open(mode="r|", fileobj=cast("BinaryIO", reader)) as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isreg() else None
                if content is None:
                    raise CannotOpen
                place = staging / _place_of(member.name)
                place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                with place.open("xb") as file:
                    shutil.copyfileobj(content, file)
                place.chmod(0o600)
    except (tarfile.TarError, FileExistsError) as error:
        raise CannotOpen from error
    reader.check_end()


def _place_of(name: str) -> PurePosixPath:
    if name in (DATABASE, SETTINGS):
        return PurePosixPath(name)
    place = PurePosixPath(name.removeprefix(FILES))
    if not name.startswith(FILES) or place.is_absolute() or ".." in place.parts:
        raise CannotOpen
    return place


def _settle_in(staging: Path, environ: Mapping[str, str]) -> Config:
    """Let the settings and the database agree about where they are now."""
    file = staging / SETTINGS
    if not file.exists() or not (staging / DATABASE).exists():
        raise NotASealedFile
    text = _DATA_DIR.sub("data_dir: .", file.read_text(encoding="utf-8"))
    file.write_text(text, encoding="utf-8")
    settings = config.load(file, environ)
    if settings.data_directory != staging.resolve():
        raise errors.Conflict("The environment names another data directory. Unset that variable.")
    if not copying.file_of(settings.database_url).is_relative_to(staging) and (
        copying.file_of(settings.database_url).exists()
    ):
        raise DatabaseElsewhere
    return settings


def _with_database(settings: Config, file: Path) -> Config:
    """The settings, with the database where it lies until it is safe to start on."""
    database = settings.database.model_copy(update={"url": f"sqlite:///{file}"})
    return settings.model_copy(update={"database": database})


def _place_database(settings: Config, staging: Path) -> None:
    """Put it where the settings say, last of all."""
    database = copying.file_of(settings.database_url)
    database.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(staging / DATABASE, database)
