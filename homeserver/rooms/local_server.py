"""Who this server is where rooms are concerned: its name and the key that signs its events."""

from dataclasses import dataclass, field

from homeserver.matrix import identifiers
from homeserver.matrix.identifiers import ServerName
from homeserver.matrix.signing import SigningKey


@dataclass(frozen=True, slots=True)
class LocalServer:
    """This server's name and event-signing key."""

    server_name: ServerName
    signing_key: SigningKey = field(repr=False)

    def owns(self, identifier: str) -> bool:
        """Whether a user or alias is of this server."""
        return identifiers.server_of(identifier) == self.server_name
