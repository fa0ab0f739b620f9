"""Set up a new server: its keys, its database, its owner's account."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from federation import own_identity
from homeserver import errors, keyring
from homeserver.accounts import passwords, registration
from homeserver.app.surroundings import Surroundings
from homeserver.config import Config
from homeserver.keyring import Keyring
from homeserver.matrix.identifiers import ServerName, UserId, parse_user_id
from homeserver.storage import notices
from homeserver.storage.wake_ups import WakeUps


class AlreadyInitialised(errors.HomeserverError):
    """There is a server in this data directory already."""


class NotInitialised(errors.HomeserverError):
    """There is no server in this data directory; `homeserver init` makes one."""


@dataclass(frozen=True, slots=True)
class Initialised:
    """What the owner has to know; the phrase is kept nowhere else."""

    server_name: ServerName
    user_id: UserId
    node_id: str
    recovery_phrase: str


def initialise(config: Config, user_name: str, password: str) -> Initialised:
    """Make a server in the configuration's data directory. Raises AlreadyInitialised."""
    directory = config.data_directory
    if own_identity.exists(directory):
        raise AlreadyInitialised
    password_hash = passwords.hash_at_once(password)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    opened = keyring.open_keyring(directory, passphrase(config))
    return asyncio.run(found(config, opened, (user_name, password_hash), Surroundings()))


async def found(
    config: Config,
    opened: Keyring,
    owner: tuple[str, str],
    surroundings: Surroundings,
    *,
    welcomes: bool = True,
) -> Initialised:
    """Make the keys and the account; `owner` is the short user name and the password's hash.

    The owner is welcomed in the Connections room, so that it is there from the first login on.
    """
    now = surroundings.clock.now_ms()
    name = ServerName(config.server.server_name) if config.server.server_name else None
    own, phrase = own_identity.create(surroundings.entropy, now, name)
    user_name, password_hash = owner
    user_id = parse_user_id(f"@{user_name}:{own.server_name}")
    own_identity.save(own, config.data_directory, opened)
    database = surroundings.open_database(config.database_url, WakeUps())
    try:
        await database.write(
            lambda work: registration.create_owner(work, user_id, password_hash, now)
        )
        if welcomes:
            await database.write(lambda work: notices.tell_owner(work, now, "welcome", "", {}))
    finally:
        database.close()
    return Initialised(own.server_name, user_id, own.node_id, phrase)


def passphrase(config: Config) -> str | None:
    """What unlocks the master key, from the file that the settings name."""
    file: Path | None = config.secrets.passphrase_file
    if file is None:
        return None
    return config.path(file).read_text(encoding="utf-8").rstrip("\r\n")


def is_initialised(config: Config) -> bool:
    """Whether there is a server in the data directory."""
    return own_identity.exists(config.data_directory)


def unlock(config: Config, ask: Callable[[], str]) -> Keyring:
    """Open the master key of a server; ask for its passphrase if it is locked and in no file."""
    if not is_initialised(config):
        raise NotInitialised
    known = passphrase(config)
    if known is None and keyring.is_locked(config.data_directory):
        known = ask()
    return keyring.open_keyring(config.data_directory, known)
