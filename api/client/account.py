"""Who am I, my password, the end of my account, and who I am to a widget.

Spec: client-server-api#account-management
"""

from pydantic import BaseModel, StrictBool, StrictStr

from api.routing import JsonBody, Query, Routes
from homeserver import errors
from homeserver.accounts import passwords
from homeserver.accounts.deactivation import Deactivation
from homeserver.accounts.devices import Device, Devices
from homeserver.accounts.interactive_auth import InteractiveAuth
from homeserver.accounts.login import LogIn
from homeserver.accounts.short_tokens import OPENID, ShortTokens
from homeserver.matrix import identifiers
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import UserId
from homeserver.ports import Requester

routes = Routes("/_matrix/client/v3", "/_matrix/client/r0")
stable = Routes("/_matrix/client/v1")
# Where a widget shows the token it was given; the one thing of that API that is here.
federation = Routes("/_matrix/federation/v1")


class PasswordBody(BaseModel):
    """A new password."""

    new_password: StrictStr
    logout_devices: StrictBool = True
    auth: JsonObject | None = None


class DeactivationBody(BaseModel):
    """The password, once it was asked for."""

    auth: JsonObject | None = None


class LockBody(BaseModel):
    """Whether an account is to be locked."""

    locked: StrictBool


class SuspendBody(BaseModel):
    """Whether an account is to be suspended."""

    suspended: StrictBool


class OpenIdQuery(BaseModel):
    """The token that a widget was given."""

    access_token: str


@routes.get("/account/whoami")
async def who_am_i(requester: Requester) -> JsonObject:
    """Whose access token this is.

    Spec: client-server-api#get_matrixclientv3accountwhoami
    """
    return {
        "user_id": requester.user_id,
        "device_id": requester.device_id,
        "is_guest": False,
    }


@routes.post("/account/password")
async def change_password(
    requester: Requester, body: PasswordBody, door: LogIn, confirmation: InteractiveAuth
) -> JsonObject:
    """Change the password, after asking for the present one.

    Spec: client-server-api#post_matrixclientv3accountpassword
    """
    passwords.check_usable(body.new_password)
    await confirmation.confirm(requester, "change the password", body.auth)
    await door.change_password(
        requester, body.new_password, ends_other_sessions=body.logout_devices
    )
    return {}


@routes.post("/account/deactivate")
async def deactivate(
    requester: Requester,
    body: DeactivationBody,
    account: Deactivation,
    confirmation: InteractiveAuth,
) -> JsonObject:
    """End the account, after asking for the password. What is on the disk stays there.

    Spec: client-server-api#post_matrixclientv3accountdeactivate
    """
    await confirmation.confirm(requester, "end the account", body.auth)
    await account.deactivate(requester)
    return {"id_server_unbind_result": "no-support"}


@routes.post("/user/{user_id}/openid/request_token")
async def give_openid_token(
    requester: Requester, user_id: UserId, body: JsonBody, tokens: ShortTokens
) -> JsonObject:
    """A token by which a widget learns who the owner is, and nothing else.

    Spec: client-server-api#post_matrixclientv3useruseridopenidrequest_token
    """
    del body
    if user_id != requester.user_id:
        raise errors.Forbidden("You can show nobody who somebody else is.")
    issued = await tokens.issue(user_id, OPENID)
    return {
        "access_token": issued.token,
        "token_type": "Bearer",
        "matrix_server_name": identifiers.server_of(user_id),
        "expires_in": issued.expires_in_ms // 1_000,
    }


@federation.get("/openid/userinfo", public=True)
async def show_openid_user(asked: Query[OpenIdQuery], tokens: ShortTokens) -> JsonObject:
    """Whose token it is. Whoever has it was given it by the owner's client.

    Spec: server-server-api#get_matrixfederationv1openiduserinfo
    """
    user_id = tokens.user_of(asked.access_token, OPENID)
    if user_id is None:
        raise errors.UnknownToken
    return {"sub": user_id}


@routes.get("/admin/whois/{user_id}")
async def who_is(requester: Requester, user_id: UserId, devices: Devices) -> JsonObject:
    """The owner's sessions, and when each was last heard from. Addresses are not kept.

    Spec: client-server-api#get_matrixclientv3adminwhoisuserid
    """
    _check_own(requester, user_id)
    return {
        "user_id": user_id,
        "devices": {
            device.device_id: {"sessions": [{"connections": _connections(device)}]}
            for device in devices.list_all(requester)
        },
    }


@stable.get("/admin/lock/{user_id}")
async def is_locked(requester: Requester, user_id: UserId) -> JsonObject:
    """Never: the owner is the one who asks.

    Spec: client-server-api#get_matrixclientv1adminlockuserid
    """
    _check_own(requester, user_id)
    return {"locked": False}


@stable.get("/admin/suspend/{user_id}")
async def is_suspended(requester: Requester, user_id: UserId) -> JsonObject:
    """Never: the owner is the one who asks.

    Spec: client-server-api#get_matrixclientv1adminsuspenduserid
    """
    _check_own(requester, user_id)
    return {"suspended": False}


@stable.put("/admin/lock/{user_id}")
async def lock(requester: Requester, user_id: UserId, body: LockBody) -> JsonObject:
    """Refuse: nobody but the owner lives here, and nobody can lock themselves out.

    Spec: client-server-api#put_matrixclientv1adminlockuserid
    """
    del body
    _check_own(requester, user_id)
    raise errors.Forbidden("You cannot lock your own account.")


@stable.put("/admin/suspend/{user_id}")
async def suspend(requester: Requester, user_id: UserId, body: SuspendBody) -> JsonObject:
    """Refuse, as `lock` does.

    Spec: client-server-api#put_matrixclientv1adminsuspenduserid
    """
    del body
    _check_own(requester, user_id)
    raise errors.Forbidden("You cannot suspend your own account.")


def _connections(device: Device) -> list[JsonObject]:
    seen_at = device.last_seen_at
    return [] if seen_at is None else [{"last_seen": seen_at}]


def _check_own(requester: Requester, user_id: UserId) -> None:
    if user_id != requester.user_id:
        raise errors.NotFound("No such user lives on this server.")
