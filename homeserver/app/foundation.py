"""What everything else stands on."""

from dataclasses import dataclass

from homeserver.app.surroundings import Surroundings
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
    surroundings: Surroundings

    @property
    def clock(self) -> Clock:
        """The only source of time."""
        return self.surroundings.clock

    @property
    def entropy(self) -> Entropy:
        """The only source of chance."""
        return self.surroundings.entropy
