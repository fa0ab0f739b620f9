"""The owner's account, for whoever has the machine: a forgotten password is no catastrophe."""

from pydantic import BaseModel, StrictBool, StrictStr

from api.admin.server import PREFIX, About
from api.authentication import Administrator
from api.routing import Routes
from homeserver.accounts import passwords
from homeserver.accounts.login import LogIn
from homeserver.matrix.canonical_json import JsonObject

routes = Routes(PREFIX)


class PasswordBody(BaseModel):
    """A new password, and whether clients stay logged in."""

    new_password: StrictStr
    logout_devices: StrictBool = True


@routes.post("/account/password")
async def set_password(
    admin: Administrator, body: PasswordBody, about: About, door: LogIn
) -> JsonObject:
    """Set a new password without the present one; by default every client is logged out."""
    del admin
    passwords.check_usable(body.new_password)
    await door.reset_password(about.owner, body.new_password, ends_sessions=body.logout_devices)
    return {"user_id": about.owner}
