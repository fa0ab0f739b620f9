"""What it takes to ask a peer: one function, so that tests can answer in its place."""

from typing import Protocol

from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import ServerName


class Ask(Protocol):
    """Ask a peer by an operation's name and await its answer; see `ports.PeerNetwork.ask`."""

    async def __call__(
        self, peer: ServerName, operation: str, body: JsonObject, timeout_s: float = 20.0
    ) -> JsonObject:
        """Raise PeerUnreachable or PeerRefused where there is no answer."""
        ...
