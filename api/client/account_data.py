"""Account data, tags and saved filters.

Spec: client-server-api#client-config, client-server-api#room-tagging,
client-server-api#filtering
"""

from api.routing import JsonBody, Routes
from homeserver import errors
from homeserver.accounts.account_data import ClientConfig
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import parse_room_id
from homeserver.ports import Requester
from homeserver.sync.saved_filters import Filters

routes = Routes("/_matrix/client/v3/user/{user_id}", "/_matrix/client/r0/user/{user_id}")


@routes.get("/account_data/{kind}")
async def get_account_data(
    requester: Requester, user_id: str, kind: str, config: ClientConfig
) -> JsonObject:
    """One entry that concerns no room.

    Spec: client-server-api#get_matrixclientv3useruseridaccount_datatype
    """
    _check_own(requester, user_id)
    return config.load(requester, None, kind)


@routes.put("/account_data/{kind}")
async def set_account_data(
    requester: Requester, user_id: str, kind: str, content: JsonBody, config: ClientConfig
) -> JsonObject:
    """Keep an entry that concerns no room.

    Spec: client-server-api#put_matrixclientv3useruseridaccount_datatype
    """
    _check_own(requester, user_id)
    await config.save(requester, None, kind, content.root)
    return {}


@routes.get("/rooms/{room_id}/account_data/{kind}")
async def get_room_account_data(
    requester: Requester, user_id: str, room_id: str, kind: str, config: ClientConfig
) -> JsonObject:
    """One entry about a room.

    Spec: client-server-api#get_matrixclientv3useruseridroomsroomidaccount_datatype
    """
    _check_own(requester, user_id)
    return config.load(requester, parse_room_id(room_id), kind)


@routes.put("/rooms/{room_id}/account_data/{kind}")
async def set_room_account_data(
    requester: Requester,
    user_id: str,
    room_id: str,
    kind: str,
    content: JsonBody,
    config: ClientConfig,
) -> JsonObject:
    """Keep an entry about a room.

    Spec: client-server-api#put_matrixclientv3useruseridroomsroomidaccount_datatype
    """
    _check_own(requester, user_id)
    await config.save(requester, parse_room_id(room_id), kind, content.root)
    return {}


@routes.get("/rooms/{room_id}/tags")
async def list_tags(
    requester: Requester, user_id: str, room_id: str, config: ClientConfig
) -> JsonObject:
    """A room's tags.

    Spec: client-server-api#get_matrixclientv3useruseridroomsroomidtags
    """
    _check_own(requester, user_id)
    return {"tags": config.tags(requester, parse_room_id(room_id))}


@routes.put("/rooms/{room_id}/tags/{tag}")
async def set_tag(
    requester: Requester,
    user_id: str,
    room_id: str,
    tag: str,
    content: JsonBody,
    config: ClientConfig,
) -> JsonObject:
    """Put a tag on a room.

    Spec: client-server-api#put_matrixclientv3useruseridroomsroomidtagstag
    """
    _check_own(requester, user_id)
    await config.set_tag(requester, parse_room_id(room_id), tag, content.root)
    return {}


@routes.delete("/rooms/{room_id}/tags/{tag}")
async def remove_tag(
    requester: Requester, user_id: str, room_id: str, tag: str, config: ClientConfig
) -> JsonObject:
    """Take a tag away.

    Spec: client-server-api#delete_matrixclientv3useruseridroomsroomidtagstag
    """
    _check_own(requester, user_id)
    await config.remove_tag(requester, parse_room_id(room_id), tag)
    return {}


@routes.post("/filter")
async def save_filter(
    requester: Requester, user_id: str, definition: JsonBody, filters: Filters
) -> JsonObject:
    """Keep a filter.

    Spec: client-server-api#post_matrixclientv3useruseridfilter
    """
    _check_own(requester, user_id)
    return {"filter_id": await filters.save(requester, definition.root)}


@routes.get("/filter/{filter_id}")
async def get_filter(
    requester: Requester, user_id: str, filter_id: str, filters: Filters
) -> JsonObject:
    """A saved filter.

    Spec: client-server-api#get_matrixclientv3useruseridfilterfilterid
    """
    _check_own(requester, user_id)
    return filters.load(requester, filter_id)


def _check_own(requester: Requester, user_id: str) -> None:
    if user_id != requester.user_id:
        raise errors.Forbidden("That belongs to somebody else.")
