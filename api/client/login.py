"""Log in, refresh, log out; registration, which is refused.

Spec: client-server-api#legacy-api
"""

from typing import Any

from aiohttp import web
from pydantic import BaseModel, StrictBool, StrictStr

from api.routing import JsonBody, Routes
from homeserver import errors
from homeserver.accounts import interactive_auth
from homeserver.accounts.devices import Devices
from homeserver.accounts.interactive_auth import InteractiveAuth
from homeserver.accounts.login import LogIn, Proof, Wish
from homeserver.accounts.sessions import Sessions
from homeserver.accounts.short_tokens import LOG_IN, ShortTokens
from homeserver.matrix.canonical_json import JsonObject
from homeserver.ports import Requester

routes = Routes("/_matrix/client/v3", "/_matrix/client/r0")

stable = Routes("/_matrix/client/v1")

_PASSWORD = "m.login.password"  # noqa: S105 - a login type, no password
_TOKEN = "m.login.token"  # noqa: S105 - a login type, no token


class LogInBody(BaseModel):
    """What a client sends to log in."""

    type: StrictStr
    identifier: JsonObject | None = None
    user: StrictStr | None = None
    password: StrictStr | None = None
    token: StrictStr | None = None
    device_id: StrictStr | None = None
    initial_device_display_name: StrictStr | None = None
    refresh_token: StrictBool = False


class ConfirmedBody(BaseModel):
    """The password, once it was asked for."""

    auth: JsonObject | None = None


class LoggedInAnswer(BaseModel):
    """A new session."""

    user_id: str
    access_token: str
    device_id: str
    home_server: str
    refresh_token: str | None
    expires_in_ms: int | None


class RefreshBody(BaseModel):
    """The token that renews."""

    refresh_token: StrictStr


@routes.get("/login", public=True)
async def list_flows() -> JsonObject:
    """How one can log in.

    Spec: client-server-api#get_matrixclientv3login
    """
    return {"flows": [{"type": _PASSWORD}, {"type": _TOKEN, "get_login_token": True}]}


@routes.post("/login", public=True)
async def log_in(body: LogInBody, request: web.Request, door: LogIn) -> LoggedInAnswer:
    """Log in with the password, or with a token from a client that is inside.

    Spec: client-server-api#post_matrixclientv3login
    """
    wish = Wish(body.device_id, body.initial_device_display_name, body.refresh_token)
    session = await door.log_in(_proof_in(body), wish, request.remote)
    user_id = session.requester.user_id
    return LoggedInAnswer(
        user_id=user_id,
        access_token=session.issued.access_token,
        device_id=session.requester.device_id,
        home_server=user_id.partition(":")[2],
        refresh_token=session.issued.refresh_token,
        expires_in_ms=session.issued.expires_in_ms,
    )


def _proof_in(body: LogInBody) -> Proof:
    if body.type == _TOKEN:
        if body.token is None:
            raise errors.MissingParam("token is missing.")
        return Proof(token=body.token)
    if body.type != _PASSWORD:
        raise errors.HomeserverError("Only m.login.password and m.login.token are known here.")
    if body.password is None:
        raise errors.MissingParam("password is missing.")
    name = interactive_auth.name_in({"identifier": body.identifier, "user": body.user})
    return Proof(user=name, password=body.password)


@stable.post("/login/get_token")
async def get_token(
    requester: Requester, body: ConfirmedBody, tokens: ShortTokens, confirmation: InteractiveAuth
) -> JsonObject:
    """A token that logs another client of the owner in, after asking for the password.

    Spec: client-server-api#post_matrixclientv1loginget_token
    """
    await confirmation.confirm(requester, "log another client in", body.auth)
    issued = await tokens.issue(requester.user_id, LOG_IN)
    return {"login_token": issued.token, "expires_in_ms": issued.expires_in_ms}


@routes.post("/refresh", public=True)
async def refresh(body: RefreshBody, sessions: Sessions) -> JsonObject:
    """Renew the access token.

    Spec: client-server-api#post_matrixclientv3refresh
    """
    issued = await sessions.refresh(body.refresh_token)
    return {
        "access_token": issued.access_token,
        "refresh_token": issued.refresh_token,
        "expires_in_ms": issued.expires_in_ms,
    }


@routes.post("/logout")
async def log_out(requester: Requester, sessions: Sessions) -> JsonObject:
    """End this session; its device is gone with it.

    Spec: client-server-api#post_matrixclientv3logout
    """
    await sessions.end(requester.user_id, [requester.device_id])
    return {}


@routes.post("/logout/all")
async def log_out_everywhere(requester: Requester, devices: Devices) -> JsonObject:
    """End every session of the owner.

    Spec: client-server-api#post_matrixclientv3logoutall
    """
    await devices.delete_all(requester)
    return {}


@routes.post("/register", public=True)
async def register(body: JsonBody) -> Any:
    """Refuse: this server belongs to one person, who has an account.

    Spec: client-server-api#post_matrixclientv3register
    """
    del body
    raise errors.Forbidden("Nobody can register here.")


@routes.get("/register/available", public=True)
async def check_name() -> Any:
    """Refuse in the same way for every name: who lives here is nobody's business.

    Spec: client-server-api#get_matrixclientv3registeravailable
    """
    raise errors.Forbidden("Nobody can register here.")
