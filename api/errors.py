"""Errors of the homeserver as HTTP answers: the only place that knows their status codes."""

import orjson
from aiohttp import web

from homeserver import errors

# The nearest class in an error's ancestry decides.
_STATUS: dict[type[errors.HomeserverError], int] = {
    errors.HomeserverError: 400,
    errors.NotFound: 404,
    errors.Unrecognized: 404,
    errors.WrongMethod: 405,
    errors.Forbidden: 403,
    errors.WrongPassword: 403,
    errors.UnknownToken: 401,
    errors.MissingToken: 401,
    errors.UserInteractionRequired: 401,
    errors.LimitExceeded: 429,
    errors.TooLarge: 413,
    errors.StorageFull: 507,
    errors.BadSignature: 403,
    errors.PeerUnreachable: 404,
    errors.PeerRefused: 403,
    errors.PeerHasNone: 404,
    errors.PeerFileTooLarge: 502,
    errors.PeerFileBroken: 502,
    errors.NotYetUploaded: 504,
    errors.NotConnected: 403,
    errors.Conflict: 409,
    errors.SetByServer: 405,
}


def answer(error: errors.HomeserverError) -> web.Response:
    """Say what went wrong the way every Matrix client understands."""
    body = {"errcode": error.errcode, "error": str(error), **error.extra}
    if isinstance(error, errors.UserInteractionRequired):
        body = dict(error.extra)
    headers = {}
    if isinstance(error, errors.LimitExceeded):
        headers["Retry-After"] = str(-(-error.retry_after_ms // 1000))
    return web.Response(
        body=orjson.dumps(body),
        status=status_of(error),
        content_type="application/json",
        headers=headers,
    )


def status_of(error: errors.HomeserverError) -> int:
    """Look up the status of the nearest ancestor."""
    return next(_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS)
