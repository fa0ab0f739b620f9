"""What everything else stands on."""

from dataclasses import dataclass

from homeserver.config import Config
from homeserver.matrix.identifiers import UserId
from homeserver.ports import Clock, Entropy
from homeserver.rooms.local_server import LocalServer
from homeserver.storage.database import Database


@dataclass(frozen=True, slots=True)
class Foundation:
    """The settings, the database, who we are, and the world's time and chance."""

    config: Config
    database: Database
    local: LocalServer
    owner: UserId
    clock: Clock
    entropy: Entropy
