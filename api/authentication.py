"""Who is asking: from an access token to a Requester, from the admin token to the owner.

Spec: client-server-api#using-access-tokens
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from aiohttp import web

from homeserver import errors
from homeserver.ports import Requester

# Raises UnknownToken. Provided by the accounts service, injected when the application is built.
Authenticate = Callable[[str], Requester]


def token_of(request: web.Request) -> str:
    """Find the access token in the header or, as older clients send it, in the query."""
    header = request.headers.get("Authorization")
    if header is not None:
        scheme, _, token = header.partition(" ")
        if scheme.lower() == "bearer" and token:
            return token.strip()
    token = request.query.get("access_token", "")
    if token:
        return token
    raise errors.MissingToken


class AdminToken:
    """The token in the data directory that opens the admin API to whoever can read it."""

    def __init__(self, file: Path) -> None:
        self._digest = sha256(file.read_bytes().strip()).digest()

    def check(self, token: str) -> None:
        """Raise UnknownToken unless this is it."""
        if not hmac.compare_digest(sha256(token.encode()).digest(), self._digest):
            raise errors.UnknownToken("That is not the admin token of this server.")


@dataclass(frozen=True, slots=True)
class Administrator:
    """Whoever showed the admin token: the owner, on the command line or by another program."""

    how: str  # as the audit trail says it
