"""Who am I, and my password.

Spec: client-server-api#account-management
"""

from pydantic import BaseModel, StrictBool, StrictStr

from api.routing import Routes
from homeserver.accounts import passwords
from homeserver.accounts.interactive_auth import InteractiveAuth
from homeserver.accounts.login import LogIn
from homeserver.matrix.canonical_json import JsonObject
from homeserver.ports import Requester

routes = Routes("/_matrix/client/v3", "/_matrix/client/r0")


class PasswordBody(BaseModel):
    """A new password."""

    new_password: StrictStr
    logout_devices: StrictBool = True
    auth: JsonObject | None = None


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


@routes.get("/account/3pid")
async def list_third_party_ids(requester: Requester) -> JsonObject:
    """None: this server knows no addresses of its owner.

    Spec: client-server-api#get_matrixclientv3account3pid
    """
    del requester
    return {"threepids": []}
