"""Classic sync: the long poll that tells clients everything.

Spec: client-server-api#syncing
"""

from typing import Literal

from pydantic import BaseModel, Field

from api.routing import Query, Routes
from homeserver.ports import Requester
from homeserver.sync.classic import ClassicSync, SyncRequest

routes = Routes("/_matrix/client/v3", "/_matrix/client/r0")


class SyncQuery(BaseModel):
    """The parameters of a sync."""

    filter: str | None = Field(default=None, max_length=65_536)
    since: str | None = None
    full_state: bool = False
    set_presence: Literal["offline", "online", "unavailable"] = "online"
    timeout: int = Field(default=0, ge=0)
    use_state_after: bool = False
    # The name from before it was in the specification; js-sdk knows no other (docs/clients.md).
    older_use_state_after: bool = Field(default=False, alias="org.matrix.msc4222.use_state_after")


@routes.get("/sync")
async def sync(requester: Requester, query: Query[SyncQuery], classic: ClassicSync) -> bytes:
    """Everything the device has not seen yet, as soon as there is something."""
    state_after = "state_after" if query.use_state_after else "org.matrix.msc4222.state_after"
    return await classic.answer(
        requester,
        SyncRequest(
            query.since,
            query.filter,
            query.full_state,
            query.set_presence,
            query.timeout,
            query.use_state_after or query.older_use_state_after,
            state_after,
        ),
    )
