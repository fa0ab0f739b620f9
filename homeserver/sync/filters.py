"""What a client asked to leave out.

Spec: client-server-api#filtering
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from homeserver import errors
from homeserver.matrix import canonical_json, globs
from homeserver.matrix.identifiers import RoomId

DEFAULT_LIMIT = 20
LARGEST_LIMIT = 500

# JSON has lists only; what stands in them is looked at strictly.
_LIST = Field(strict=False)
Names = Annotated[tuple[Annotated[str, Field(strict=True)], ...], _LIST]
UserIds = Annotated[tuple[Annotated[str, Field(strict=True, pattern="^@")], ...], _LIST]
RoomIds = Annotated[tuple[Annotated[str, Field(strict=True, pattern="^!")], ...], _LIST]


class _Part(BaseModel):
    """A part of a filter: types as the specification has them; null is as if left out."""

    model_config = ConfigDict(frozen=True, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        return {name: value for name, value in given.items() if value is not None}


class EventFilter(_Part):
    """Which events to give, and how many."""

    limit: int = Field(default=DEFAULT_LIMIT, gt=0)
    types: Names | None = None
    not_types: Names = ()
    senders: UserIds | None = None
    not_senders: UserIds = ()

    @property
    def bounded_limit(self) -> int:
        """How many events at most."""
        return min(self.limit, LARGEST_LIMIT)

    @property
    def is_open(self) -> bool:
        """Whether every event passes."""
        return (
            self.types is None
            and self.senders is None
            and not self.not_types
            and not self.not_senders
        )

    def allows(self, event_type: str, sender: str | None = None) -> bool:
        """Whether an event of this type and sender passes."""
        return self.allows_type(event_type) and (sender is None or self.allows_sender(sender))

    def allows_type(self, event_type: str) -> bool:
        """Whether events of this type pass. `*` in a filter stands for any characters."""
        if _matches(self.not_types, event_type):
            return False
        return self.types is None or _matches(self.types, event_type)

    def allows_sender(self, sender: str) -> bool:
        """Whether this user's events pass."""
        if sender in self.not_senders:
            return False
        return self.senders is None or sender in self.senders


class RoomEventFilter(EventFilter):
    """Which events of which rooms to give."""

    rooms: RoomIds | None = None
    not_rooms: RoomIds = ()
    contains_url: bool | None = None
    # Spec: MSC3440; clients without the list of threads go by them.
    related_by_rel_types: Names | None = None
    related_by_senders: UserIds | None = None
    lazy_load_members: bool = False
    include_redundant_members: bool = False
    unread_thread_notifications: bool = False

    @property
    def is_open(self) -> bool:
        """Whether every event of an allowed room passes."""
        is_by_relation = (
            self.related_by_rel_types is not None or self.related_by_senders is not None
        )
        return self.contains_url is None and not is_by_relation and super().is_open

    def allows_room(self, room_id: RoomId) -> bool:
        """Whether anything of this room passes."""
        return _allows_room(self.rooms, self.not_rooms, room_id)

    def allows_any(self, room_id: RoomId, event_types: Iterable[str]) -> bool:
        """Whether something of one of these types passes in a room."""
        return self.allows_room(room_id) and any(map(self.allows_type, event_types))

    def allows_content(self, content: dict[str, Any]) -> bool:
        """Whether an event passes as far as its `url` is concerned."""
        return self.contains_url is None or ("url" in content) == self.contains_url


class RoomFilter(_Part):
    """Which rooms to give, and what of them."""

    rooms: RoomIds | None = None
    not_rooms: RoomIds = ()
    include_leave: bool = False
    state: RoomEventFilter = RoomEventFilter()
    timeline: RoomEventFilter = RoomEventFilter()
    ephemeral: RoomEventFilter = RoomEventFilter()
    account_data: RoomEventFilter = RoomEventFilter()

    def allows_room(self, room_id: RoomId) -> bool:
        """Whether anything of this room passes."""
        return _allows_room(self.rooms, self.not_rooms, room_id)


class Filter(_Part):
    """Everything a client may ask to leave out.

    `event_fields` is not followed: a server may give more.
    """

    event_fields: Names | None = None
    event_format: Literal["client", "federation"] = "client"
    presence: EventFilter = EventFilter()
    account_data: EventFilter = EventFilter()
    room: RoomFilter = RoomFilter()


EVERYTHING = Filter()


@lru_cache(maxsize=64)
def parse(definition: str | bytes) -> Filter:
    """Read a filter's JSON."""
    try:
        raw = definition.encode() if isinstance(definition, str) else definition
        return Filter.model_validate(canonical_json.decode(raw))
    except (errors.BadJson, ValidationError, UnicodeEncodeError):
        raise errors.InvalidParam("That is not a filter.") from None


def _allows_room(rooms: Names | None, not_rooms: Names, room_id: RoomId) -> bool:
    return room_id not in not_rooms and (rooms is None or room_id in rooms)


def _matches(patterns: Iterable[str], event_type: str) -> bool:
    return any(
        globs.matches_whole(pattern, event_type) if "*" in pattern else pattern == event_type
        for pattern in patterns
    )
