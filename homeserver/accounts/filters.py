"""Filters a client saves to name them in its syncs.

Spec: client-server-api#filtering
"""

import hashlib
from base64 import urlsafe_b64encode
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from homeserver import errors
from homeserver.matrix import canonical_json
from homeserver.matrix.canonical_json import JsonObject
from homeserver.ports import Requester
from homeserver.storage import accounts
from homeserver.storage.database import Database
from homeserver.storage.unit_of_work import UnitOfWork

_FILTERS_LIMIT = 1_000
_BYTES_LIMIT = 65_536
_ID_BYTES = 12

_Limit = Annotated[int, Field(gt=0)]
_UserIds = list[Annotated[str, Field(pattern="^@")]]
_RoomIds = list[Annotated[str, Field(pattern="^!")]]


class _Strict(BaseModel):
    """Fields that are not in the specification are let through: clients send them."""

    model_config = ConfigDict(strict=True, extra="ignore")


class EventFilter(_Strict):
    """Which events a client wants to see."""

    limit: _Limit | None = None
    not_senders: _UserIds | None = None
    not_types: list[str] | None = None
    senders: _UserIds | None = None
    types: list[str] | None = None


class RoomEventFilter(EventFilter):
    """Which events of rooms a client wants to see."""

    unread_thread_notifications: bool | None = None
    lazy_load_members: bool | None = None
    include_redundant_members: bool | None = None
    not_rooms: _RoomIds | None = None
    rooms: _RoomIds | None = None
    contains_url: bool | None = None


class RoomFilter(_Strict):
    """Which rooms a client wants to see, and what of them."""

    not_rooms: _RoomIds | None = None
    rooms: _RoomIds | None = None
    ephemeral: RoomEventFilter | None = None
    include_leave: bool | None = None
    state: RoomEventFilter | None = None
    timeline: RoomEventFilter | None = None
    account_data: RoomEventFilter | None = None


class Filter(_Strict):
    """A whole filter."""

    event_fields: list[str] | None = None
    event_format: Literal["client", "federation"] | None = None
    presence: EventFilter | None = None
    account_data: EventFilter | None = None
    room: RoomFilter | None = None


class Filters:
    """The owner's saved filters."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save(self, requester: Requester, definition: JsonObject) -> str:
        """Keep a filter; the same one again has the same ID.

        Spec: client-server-api#post_matrixclientv3useruseridfilter
        """
        check(definition)
        raw = canonical_json.encode(definition)
        if len(raw) > _BYTES_LIMIT:
            raise errors.TooLarge
        # An ID made of letters: it must not begin with {, which would be a filter itself.
        filter_id = urlsafe_b64encode(hashlib.sha256(raw).digest()[:_ID_BYTES]).decode()

        def keep(work: UnitOfWork) -> None:
            if accounts.count_filters(work, requester.user_id) >= _FILTERS_LIMIT:
                raise errors.TooLarge("There are too many filters.")
            accounts.save_filter(work, requester.user_id, filter_id, raw)

        if self._find(requester, filter_id) is None:
            await self._database.write(keep)
        return filter_id

    def load(self, requester: Requester, filter_id: str) -> JsonObject:
        """A saved filter. Raises NotFound.

        Spec: client-server-api#get_matrixclientv3useruseridfilterfilterid
        """
        raw = self._find(requester, filter_id)
        if raw is None:
            raise errors.NotFound("There is no such filter.")
        definition: JsonObject = canonical_json.decode(raw)
        return definition

    def _find(self, requester: Requester, filter_id: str) -> bytes | None:
        return self._database.read(
            lambda view: accounts.find_filter(view, requester.user_id, filter_id)
        )


def check(definition: JsonObject) -> Filter:
    """Refuse a filter with wrong types in it."""
    try:
        return Filter.model_validate(definition)
    except ValidationError as error:
        mistake = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in mistake["loc"])
        raise errors.BadJson(f"{place}: {mistake['msg']}") from None
