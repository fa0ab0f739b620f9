"""Who is asking: from an access token to a Requester.

Spec: client-server-api#using-access-tokens
"""

from collections.abc import Callable

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
