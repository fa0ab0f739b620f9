"""Profiles: the owner's own, and those of people on connected servers.

Spec: client-server-api#profiles
"""

from api.routing import JsonBody, Routes
from homeserver.accounts.profile import Profiles
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import parse_user_id
from homeserver.ports import Requester

routes = Routes("/_matrix/client/v3", "/_matrix/client/r0")


@routes.get("/profile/{user_id}")
async def get_profile(requester: Requester, user_id: str, profiles: Profiles) -> JsonObject:
    """Everything in a profile. It is for the owner's clients: a stranger learns not even this.

    Spec: client-server-api#get_matrixclientv3profileuserid
    """
    del requester
    return await profiles.load(parse_user_id(user_id))


@routes.get("/profile/{user_id}/{field}")
async def get_field(
    requester: Requester, user_id: str, field: str, profiles: Profiles
) -> JsonObject:
    """One field of a profile.

    Spec: client-server-api#get_matrixclientv3profileuseridkeyname
    """
    del requester
    return await profiles.load_field(parse_user_id(user_id), field)


@routes.put("/profile/{user_id}/{field}")
async def set_field(
    requester: Requester, user_id: str, field: str, body: JsonBody, profiles: Profiles
) -> JsonObject:
    """Set a field of one's own profile.

    Spec: client-server-api#put_matrixclientv3profileuseridkeyname
    """
    await profiles.set_field(requester, parse_user_id(user_id), field, body.root)
    return {}


@routes.delete("/profile/{user_id}/{field}")
async def delete_field(
    requester: Requester, user_id: str, field: str, profiles: Profiles
) -> JsonObject:
    """Take a field out of one's own profile.

    Spec: client-server-api#delete_matrixclientv3profileuseridkeyname
    """
    await profiles.delete_field(requester, parse_user_id(user_id), field)
    return {}
