"""Filters a client saves to name them in its syncs.

Spec: client-server-api#filtering
"""

import hashlib
from base64 import urlsafe_b64encode

from pydantic import ValidationError

from homeserver import errors
from homeserver.matrix import canonical_json
from homeserver.matrix.canonical_json import JsonObject
from homeserver.ports import Requester
from homeserver.storage import accounts
from homeserver.storage.database import Database
from homeserver.storage.unit_of_work import UnitOfWork
from homeserver.sync.filters import Filter

_FILTERS_LIMIT = 1_000
_BYTES_LIMIT = 65_536
_ID_BYTES = 12


class Filters:
    """The owner's saved filters."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save(self, requester: Requester, definition: JsonObject) -> str:
        """Keep a filter; the same one again has the same ID.

        Spec: client-server-api#post_matrixclientv3useruseridfilter
        """
        _check(definition)
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


def _check(definition: JsonObject) -> None:
    """Refuse what a sync would refuse, and say where it is wrong."""
    try:
        Filter.model_validate(definition)
    except ValidationError as error:
        mistake = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in mistake["loc"])
        raise errors.BadJson(f"{place}: {mistake['msg']}") from None
