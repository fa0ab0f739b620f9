"""What stands in the bodies of the questions servers ask each other, bounded.

The names are those of the Matrix server-server API; what it puts into paths and query strings
stands in the body here.
"""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError

from homeserver import errors
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import DeviceId, EventId, RoomAlias, RoomId, ServerName, UserId
from homeserver.rooms.joining import MOST_NEWEST

EVENTS_PER_QUESTION = 500
SERVERS_PER_QUESTION = 100

ModelT = TypeVar("ModelT", bound=BaseModel)

_Id = Annotated[str, Field(max_length=255)]
_EventIds = Annotated[list[_Id], Field(max_length=EVENTS_PER_QUESTION)]
_Offset = Annotated[int, Field(ge=0)]


class MakeMembership(BaseModel):
    """`make_join`, `make_leave`, `make_knock`."""

    room_id: Annotated[RoomId, Field(max_length=255)]
    user_id: Annotated[UserId, Field(max_length=255)]
    ver: Annotated[list[_Id], Field(max_length=50)] = Field(default_factory=list)
    # What the asker has as the newest of the room, if it was in it before.
    newest: Annotated[list[_Id], Field(max_length=MOST_NEWEST)] = Field(default_factory=list)


class SendMembership(BaseModel):
    """`send_join`, `send_leave`, `send_knock`."""

    room_id: Annotated[RoomId, Field(max_length=255)]
    event: JsonObject


class Backfill(BaseModel):
    """`backfill`: these events and what came before them."""

    room_id: Annotated[RoomId, Field(max_length=255)]
    v: _EventIds
    limit: Annotated[int, Field(ge=1)] = 100


class MissingEvents(BaseModel):
    """`get_missing_events`: what lies between two sets of events."""

    room_id: Annotated[RoomId, Field(max_length=255)]
    earliest_events: _EventIds
    latest_events: _EventIds
    limit: Annotated[int, Field(ge=1)] = 100
    min_depth: _Offset = 0


class AtEvent(BaseModel):
    """`state_ids` and `event_auth`: about one event, from an offset on."""

    room_id: Annotated[RoomId, Field(max_length=255)]
    event_id: Annotated[EventId, Field(max_length=255)]
    offset: _Offset = 0


class Events(BaseModel):
    """`event`: several at once."""

    room_id: Annotated[RoomId, Field(max_length=255)]
    event_ids: _EventIds


class Cards(BaseModel):
    """`cards`: of these servers, as far as the asker shares the room with them."""

    room_id: Annotated[RoomId, Field(max_length=255)]
    servers: Annotated[list[ServerName], Field(max_length=SERVERS_PER_QUESTION)]


class ProfileOf(BaseModel):
    """`query/profile`."""

    user_id: Annotated[UserId, Field(max_length=255)]
    field: _Id | None = None


class Directory(BaseModel):
    """`query/directory`."""

    room_alias: Annotated[RoomAlias, Field(max_length=255)]


class DirectoryFilter(BaseModel):
    """What is searched for in a directory."""

    generic_search_term: _Id | None = None
    room_types: Annotated[list[_Id | None], Field(max_length=50)] | None = None


class PublicRooms(BaseModel):
    """`publicRooms`: a part of the directory."""

    limit: Annotated[int, Field(ge=0)] | None = None
    since: _Id | None = None
    filter: DirectoryFilter = Field(default_factory=DirectoryFilter)


class Hierarchy(BaseModel):
    """`hierarchy`: a room and its children."""

    room_id: Annotated[RoomId, Field(max_length=255)]
    suggested_only: bool = False


class AtMoment(BaseModel):
    """`timestamp_to_event`: on one side of a moment, in milliseconds since 1970."""

    room_id: Annotated[RoomId, Field(max_length=255)]
    ts: Annotated[int, Field(ge=0, lt=2**53)]
    dir: Literal["b", "f"]


class KeysQuery(BaseModel):
    """`user/keys/query`."""

    device_keys: Annotated[dict[UserId, Any], Field(max_length=100)]


class KeysClaim(BaseModel):
    """`user/keys/claim`: an algorithm for each device."""

    one_time_keys: Annotated[
        dict[UserId, Annotated[dict[DeviceId, _Id], Field(max_length=200)]], Field(max_length=100)
    ]


class MediaPart(BaseModel):
    """`media/download`: a file from an offset on, unless it is larger than the asker wants."""

    media_id: _Id
    offset: _Offset = 0
    most_bytes: Annotated[int, Field(ge=0)] | None = None


def read(model: type[ModelT], body: Any) -> ModelT:
    """Parse a body, or say that it is not one."""
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise errors.BadJson from error


def listed(answer: JsonObject, name: str) -> list[Any]:
    """A list in an answer; empty where there is none."""
    value = answer.get(name)
    return value if isinstance(value, list) else []


def texts(answer: JsonObject, name: str) -> list[str]:
    """The strings in a list of an answer."""
    return [one for one in listed(answer, name) if isinstance(one, str)]
