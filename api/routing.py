"""Routes whose handlers say in their signature what they need.

A parameter is filled by its annotation:

- `Requester`: the device whose access token came along; `Administrator`: whoever showed the admin
  token. Without either a route is open to everybody and must say so with `public=True`;
- a name that stands in the path: that part of the path, decoded;
- `JsonBody`: the body as a JSON object; a pydantic model: the body, validated;
- `Query[Model]`: the query string, validated by a pydantic model;
- `web.Request`: the request itself, for streams and headers;
- anything else: the service of that class, from the services the application was built with.

An unknown parameter stops the start. Handlers return a pydantic model, a dict, bytes of JSON, or an
`Answer` / aiohttp response when status or headers matter.
"""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import orjson
from aiohttp import web
from pydantic import BaseModel, RootModel, ValidationError

from api import ways
from api.authentication import Administrator, AdminToken, Authenticate, token_of
from homeserver import errors
from homeserver.matrix import canonical_json
from homeserver.ports import Requester

Handler = Callable[..., Awaitable[Any]]
Fill = Callable[[web.Request], Awaitable[Any]]
HandlerT = TypeVar("HandlerT", bound=Handler)
ModelT = TypeVar("ModelT", bound=BaseModel)


class _FromQuery:
    """Marks a model that is read from the query string."""


Query = Annotated[ModelT, _FromQuery]


class JsonBody(RootModel[dict[str, Any]]):
    """The request's body: any JSON object."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer whose status or headers matter. `body` is bytes of JSON or JSON itself."""

    body: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path and the function that answers it."""

    method: str
    path: str
    handler: Handler
    public: bool
    body_limit: int | None = None  # bytes, where it is not the application's


class Routes:
    """A route table; `prefixes` are put before each path, one route for each of them."""

    def __init__(self, *prefixes: str) -> None:
        self._prefixes = prefixes or ("",)
        self.all: list[Route] = []

    def get(self, path: str, *, public: bool = False) -> Callable[[HandlerT], HandlerT]:
        """Answer GET."""
        return self._add("GET", path, public=public)

    def put(
        self, path: str, *, public: bool = False, body_limit: int | None = None
    ) -> Callable[[HandlerT], HandlerT]:
        """Answer PUT."""
        return self._add("PUT", path, public=public, body_limit=body_limit)

    def post(self, path: str, *, public: bool = False) -> Callable[[HandlerT], HandlerT]:
        """Answer POST."""
        return self._add("POST", path, public=public)

    def patch(self, path: str, *, public: bool = False) -> Callable[[HandlerT], HandlerT]:
        """Answer PATCH."""
        return self._add("PATCH", path, public=public)

    def delete(self, path: str, *, public: bool = False) -> Callable[[HandlerT], HandlerT]:
        """Answer DELETE."""
        return self._add("DELETE", path, public=public)

    def _add(
        self, method: str, path: str, *, public: bool, body_limit: int | None = None
    ) -> Callable[[HandlerT], HandlerT]:
        def register(handler: HandlerT) -> HandlerT:
            self.all.extend(
                Route(method, prefix + path, handler, public, body_limit)
                for prefix in self._prefixes
            )
            return handler

        return register


class Binder:
    """Turns handlers into aiohttp ones, once, when the application is built."""

    def __init__(self, services: Mapping[type, Any], authenticate: Authenticate) -> None:
        self._services = services
        self._authenticate = authenticate

    def bind(self, route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """Resolve every parameter of the handler; raises TypeError where one is unknown."""
        hints = get_type_hints(route.handler, include_extras=True)
        names = list(inspect.signature(route.handler).parameters)
        fills = [(name, self._fill(route, name, hints[name])) for name in names]
        if not route.public and not any(
            hints[name] in (Requester, Administrator) for name in names
        ):
            raise TypeError(f"{route.method} {route.path} neither asks who calls nor is public")
        handler = route.handler

        async def call(request: web.Request) -> web.StreamResponse:
            arguments = {name: await fill(request) for name, fill in fills}
            return respond(await handler(**arguments))

        return call

    def _fill(self, route: Route, name: str, wanted: Any) -> Fill:
        if wanted is Requester:
            return self._requester
        if wanted is Administrator:
            return self._administrator
        if wanted is web.Request:
            return _request
        if f"{{{name}}}" in route.path or f"{{{name}:" in route.path:
            return _part_of_path(name)
        if get_origin(wanted) is Annotated and _FromQuery in get_args(wanted):
            return _query(get_args(wanted)[0])
        if isinstance(wanted, type) and issubclass(wanted, BaseModel):
            return _body(wanted, route.body_limit)
        if wanted in self._services:
            return _constant(self._services[wanted])
        raise TypeError(f"{route.method} {route.path}: nothing provides {name}: {wanted}")

    async def _requester(self, request: web.Request) -> Requester:
        return self._authenticate(token_of(request))

    async def _administrator(self, request: web.Request) -> Administrator:
        token: AdminToken = self._services[AdminToken]
        token.check(token_of(request))
        return Administrator(ways.of_agent(request.headers.get("User-Agent")))


async def _request(request: web.Request) -> web.Request:
    return request


def _part_of_path(name: str) -> Fill:
    async def fill(request: web.Request) -> str:
        part = request.match_info[name]
        _check_storable(part)
        return part

    return fill


def _check_storable(text: str) -> None:
    """No name holds a NUL, and not every database could keep one."""
    if "\0" in text:
        raise errors.InvalidParam("NUL is not allowed there.")


def _constant(service: Any) -> Fill:
    async def fill(_request: web.Request) -> Any:
        return service

    return fill


def _query(model: type[BaseModel]) -> Fill:
    async def fill(request: web.Request) -> BaseModel:
        for text in request.query.values():
            _check_storable(text)
        try:
            return model.model_validate(dict(request.query))
        except ValidationError as error:
            kind = errors.MissingParam if _lacks_something(error) else errors.InvalidParam
            raise kind(_first_mistake(error)) from None

    return fill


def _body(model: type[BaseModel], limit: int | None) -> Fill:
    async def fill(request: web.Request) -> BaseModel:
        limited = request if limit is None else request.clone(client_max_size=limit)
        value = await read_json(limited)
        try:
            return model.model_validate(value)
        except ValidationError as error:
            raise errors.BadJson(_first_mistake(error)) from None

    return fill


async def read_json(request: web.Request) -> Any:
    """The body as JSON; an empty body is an empty object, as clients send it."""
    raw = await request.read()
    if not raw:
        return {}
    try:
        return canonical_json.decode(raw)
    except errors.BadJson as error:
        raise errors.NotJson(str(error)) from None


def _lacks_something(error: ValidationError) -> bool:
    return error.errors(include_url=False, include_input=False)[0]["type"] == "missing"


def _first_mistake(error: ValidationError) -> str:
    mistake = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in mistake["loc"])
    return f"{place}: {mistake['msg']}" if place else mistake["msg"]


def respond(result: Any) -> web.StreamResponse:
    """Write a handler's result as an HTTP response."""
    if isinstance(result, web.StreamResponse):
        return result
    if isinstance(result, Answer):
        return web.Response(
            body=_to_json(result.body),
            status=result.status,
            headers=result.headers,
            content_type="application/json",
        )
    return web.Response(body=_to_json(result), content_type="application/json")


def _to_json(result: Any) -> bytes:
    if isinstance(result, bytes):
        return result
    if isinstance(result, BaseModel):
        return orjson.dumps(result.model_dump(exclude_none=True, by_alias=True))
    return orjson.dumps(result)
