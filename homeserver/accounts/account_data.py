"""What the owner's clients keep for each other: account data, global and per room, and tags.

Spec: client-server-api#client-config, client-server-api#room-tagging
"""

from collections.abc import Callable

import orjson

from homeserver import errors
from homeserver.matrix import canonical_json
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import RoomId
from homeserver.ports import Requester
from homeserver.storage import account_data
from homeserver.storage.database import Database
from homeserver.storage.unit_of_work import UnitOfWork

_TAGS = "m.tag"
# Kept by the server: the read marker and the push rules have requests of their own.
_SET_BY_SERVER = frozenset({"m.fully_read", "m.push_rules"})
_TYPE_LIMIT = 255
_TAG_BYTES_LIMIT = 255


class ClientConfig:
    """Account data and tags of the owner."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # What else follows, in the same unit of work, from the account data of a type.
        self.when_saved: dict[str, Callable[[UnitOfWork], None]] = {}

    def load(self, requester: Requester, room_id: RoomId | None, kind: str) -> JsonObject:
        """The content of one entry. Raises NotFound.

        Spec: client-server-api#get_matrixclientv3useruseridaccount_datatype
        """
        content = self._database.read(
            lambda view: account_data.find_account_data(view, requester.user_id, room_id, kind)
        )
        if content is None:
            raise errors.NotFound("There is no such account data.")
        return content

    async def save(
        self, requester: Requester, room_id: RoomId | None, kind: str, content: JsonObject
    ) -> None:
        """Keep an entry and show it to the owner's other clients.

        Spec: client-server-api#put_matrixclientv3useruseridaccount_datatype
        """
        if kind in _SET_BY_SERVER:
            raise errors.SetByServer(f"{kind} cannot be set through this request.")
        if len(kind) > _TYPE_LIMIT:
            raise errors.InvalidParam("That type is too long.")
        canonical_json.check_kept_exactly(content)

        def keep(work: UnitOfWork) -> None:
            account_data.save_account_data(work, requester.user_id, room_id, kind, content)
            follow = self.when_saved.get(kind) if room_id is None else None
            if follow is not None:
                follow(work)

        await self._database.write(keep)

    def tags(self, requester: Requester, room_id: RoomId) -> JsonObject:
        """A room's tags by name.

        Spec: client-server-api#get_matrixclientv3useruseridroomsroomidtags
        """
        content = self._database.read(
            lambda view: account_data.find_account_data(view, requester.user_id, room_id, _TAGS)
        )
        tags: JsonObject = (content or {}).get("tags", {})
        return tags

    async def set_tag(
        self, requester: Requester, room_id: RoomId, tag: str, content: JsonObject
    ) -> None:
        """Put a tag on a room.

        Spec: client-server-api#put_matrixclientv3useruseridroomsroomidtagstag
        """
        if len(tag.encode()) > _TAG_BYTES_LIMIT:
            raise errors.InvalidParam(f"A tag has at most {_TAG_BYTES_LIMIT} bytes.")
        order = content.get("order", 0)
        if isinstance(order, bool) or not isinstance(order, int | float):
            raise errors.InvalidParam("order is a number.")
        canonical_json.check_kept_exactly(content)
        await self._change_tags(requester, room_id, tag, content)

    async def remove_tag(self, requester: Requester, room_id: RoomId, tag: str) -> None:
        """Take a tag away; that it was not there is no mistake.

        Spec: client-server-api#delete_matrixclientv3useruseridroomsroomidtagstag
        """
        await self._change_tags(requester, room_id, tag, None)

    async def _change_tags(
        self, requester: Requester, room_id: RoomId, tag: str, content: JsonObject | None
    ) -> None:
        user_id = requester.user_id

        def change(work: UnitOfWork) -> None:
            stored = account_data.find_account_data(work, user_id, room_id, _TAGS) or {}
            before = stored.get("tags", {})
            after = {name: before[name] for name in before if name != tag}
            if content is not None:
                after[tag] = content
            if orjson.dumps(after) != orjson.dumps(before):
                account_data.save_account_data(work, user_id, room_id, _TAGS, {"tags": after})

        await self._database.write(change)
