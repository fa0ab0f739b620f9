"""The aiohttp application of one listener: middlewares and the route tables it serves."""

import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from aiohttp import web

from api import errors as api_errors
from api.authentication import Authenticate
from api.routing import Binder, Route
from homeserver import errors, metrics

logger = logging.getLogger(__name__)

Next = Callable[[web.Request], Awaitable[web.StreamResponse]]

# By itself aiohttp would take no braces for a name in a path; Matrix forbids them nowhere.
_NAME = re.compile(r"{(\w+)}")

_FOR_CLIENTS = ("/_matrix/", "/.well-known/")

# The headers that the specification recommends for browsers (#web-browser-clients).
_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST, PUT, PATCH, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "X-Requested-With, Content-Type, Authorization",
    "Access-Control-Expose-Headers": "Content-Disposition, Retry-After",
}

# Larger bodies than any client sends, except uploads, which stream, and where a route says so.
_BODY_LIMIT = 1 << 20


def build(
    routes: Iterable[Route],
    services: Mapping[type, Any],
    authenticate: Authenticate,
) -> web.Application:
    """Bind every route to its services; raises TypeError where one needs what is not there."""
    application = web.Application(middlewares=[cors, refuse_politely], client_max_size=_BODY_LIMIT)
    binder = Binder(services, authenticate)
    for route in routes:
        bound, path = binder.bind(route), _NAME.sub(r"{\1:[^/]+}", route.path)
        application.router.add_route(route.method, path, bound)
        if route.method == "GET" and path.startswith(_FOR_CLIENTS):
            application.router.add_route("HEAD", path, bound)
    application.on_response_prepare.append(_say_nothing_about_us)
    return application


@web.middleware
async def cors(request: web.Request, handler: Next) -> web.StreamResponse:
    """Let web clients in, on every answer and every error of the client API.

    What strangers can reach beside it gets no header more, whatever the method.
    """
    if not request.path.startswith(_FOR_CLIENTS):
        return await handler(request)
    if request.method == "OPTIONS":
        return web.Response(headers=_CORS)
    response = await handler(request)
    if not response.prepared:
        response.headers.update(_CORS)
    return response


@web.middleware
async def refuse_politely(request: web.Request, handler: Next) -> web.StreamResponse:
    """Turn whatever goes wrong into a Matrix error; never a traceback."""
    try:
        return await handler(request)
    except errors.HomeserverError as error:
        return api_errors.answer(error)
    except web.HTTPNotFound:
        return api_errors.answer(errors.Unrecognized())
    except web.HTTPMethodNotAllowed as error:
        refusal = api_errors.answer(errors.WrongMethod())
        refusal.headers["Allow"] = ", ".join(sorted(error.allowed_methods))
        return refusal
    except web.HTTPRequestEntityTooLarge:
        return api_errors.answer(errors.TooLarge())
    except web.RequestPayloadError:
        return api_errors.answer(errors.NotJson("The body is not in the encoding that it names."))
    except Exception:
        metrics.bump("unexpected_errors")
        route = request.match_info.route.resource
        logger.exception("unexpected error route=%s", route.canonical if route else "none")
        return web.json_response(
            {"errcode": "M_UNKNOWN", "error": "Something went wrong on this server."}, status=500
        )


async def _say_nothing_about_us(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.popall("Server", None)
