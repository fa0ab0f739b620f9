"""Search what was said, and people one knows.

Spec: client-server-api#server-side-search, client-server-api#user-directory
"""

from typing import Literal

from pydantic import BaseModel, Field, StrictBool, StrictStr

from api.routing import Query, Routes
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import RoomId
from homeserver.ports import Requester
from homeserver.search import MessageSearch, PeopleSearch
from homeserver.search.messages import KEYS, Around, Search
from homeserver.sync.filters import RoomEventFilter

routes = Routes("/_matrix/client/v3", "/_matrix/client/r0")

_PAGE = 10
_LARGEST_PAGE = 100
_MOST_AROUND = 20

Key = Literal["content.body", "content.name", "content.topic"]


class ContextBody(BaseModel):
    """How much of what surrounds a found event is wanted."""

    before_limit: int = Field(5, ge=0)
    after_limit: int = Field(5, ge=0)
    include_profile: StrictBool = False


class GroupBody(BaseModel):
    """By what results are grouped."""

    key: Literal["room_id", "sender"]


class GroupingsBody(BaseModel):
    """Several ways to group."""

    group_by: list[GroupBody] = Field(default=[], max_length=2)


class RoomEventsBody(BaseModel):
    """What to look for among the events of rooms."""

    search_term: StrictStr = Field(max_length=1_000)
    keys: list[Key] = Field(default=[], max_length=3)
    filter: RoomEventFilter = RoomEventFilter()
    order_by: Literal["recent", "rank"] = "rank"
    event_context: ContextBody | None = None
    include_state: StrictBool = False
    groupings: GroupingsBody = GroupingsBody()


class CategoriesBody(BaseModel):
    """What to look through."""

    room_events: RoomEventsBody | None = None


class SearchBody(BaseModel):
    """A search."""

    search_categories: CategoriesBody


class SearchQuery(BaseModel):
    """Where the search goes on."""

    next_batch: str | None = None


class PeopleBody(BaseModel):
    """Whom to look for."""

    search_term: StrictStr = Field(max_length=1_000)
    limit: int = Field(10, ge=0)


@routes.post("/search")
async def search(
    requester: Requester, body: SearchBody, query: Query[SearchQuery], finder: MessageSearch
) -> JsonObject:
    """Search messages, and the names and topics of rooms.

    Spec: client-server-api#post_matrixclientv3search
    """
    given = body.search_categories.room_events
    if given is None:
        return {"search_categories": {}}
    found = await finder.search(requester, _asked(given, query.next_batch))
    return {"search_categories": {"room_events": found}}


@routes.post("/user_directory/search")
async def search_people(requester: Requester, body: PeopleBody, people: PeopleSearch) -> JsonObject:
    """Search the people of one's rooms and connections.

    Spec: client-server-api#post_matrixclientv3user_directorysearch
    """
    return await people.search(requester, body.search_term, body.limit)


def _asked(given: RoomEventsBody, start: str | None) -> Search:
    limit = given.filter.limit if "limit" in given.filter.model_fields_set else _PAGE
    rooms = given.filter.rooms
    context = given.event_context
    return Search(
        term=given.search_term,
        keys=frozenset(given.keys or KEYS),
        wanted=given.filter,
        limit=max(1, min(limit, _LARGEST_PAGE)),
        by_rank=given.order_by == "rank",
        rooms=None if rooms is None else frozenset(RoomId(room) for room in rooms),
        around=None
        if context is None
        else Around(
            min(context.before_limit, _MOST_AROUND),
            min(context.after_limit, _MOST_AROUND),
            context.include_profile,
        ),
        with_state=given.include_state,
        groups=tuple(dict.fromkeys(one.key for one in given.groupings.group_by)),
        start=start,
    )
