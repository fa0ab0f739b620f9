"""What a client asks for with one request of sliding sync, in whichever form it said so."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from homeserver.matrix.identifiers import RoomId
from homeserver.sync.sliding.required_state import NOTHING, RequiredState

Range = tuple[int, int]

# Of more events than these a client is told by pages.
LARGEST_TIMELINE = 500


@dataclass(frozen=True, slots=True)
class RoomConfig:
    """What to send of a room."""

    timeline_limit: int = 0
    required_state: RequiredState = NOTHING

    def __or__(self, other: "RoomConfig") -> "RoomConfig":
        """What meets both."""
        return RoomConfig(
            max(self.timeline_limit, other.timeline_limit),
            self.required_state | other.required_state,
        )


@dataclass(frozen=True, slots=True)
class RoomFilter:
    """Which rooms belong in a list. None: whichever."""

    is_dm: bool | None = None
    is_encrypted: bool | None = None
    is_invited: bool | None = None
    room_types: frozenset[str | None] | None = None
    not_room_types: frozenset[str | None] = frozenset()
    spaces: frozenset[str] | None = None
    tags: frozenset[str] | None = None
    not_tags: frozenset[str] = frozenset()
    name_like: str | None = None


ANY_ROOM = RoomFilter()


@dataclass(frozen=True, slots=True)
class ListWish:
    """A list: the rooms that pass a filter, in order of activity, and the windows looked at."""

    config: RoomConfig
    filter: RoomFilter = ANY_ROOM
    ranges: tuple[Range, ...] | None = None  # None: all of it


@dataclass(frozen=True, slots=True)
class ExtensionWish:
    """An extension, and to which lists' rooms and which rooms it applies (None: to all)."""

    key: str
    lists: frozenset[str] | None = None
    rooms: frozenset[str] | None = None
    limit: int = 100
    since: str | None = None


@dataclass(frozen=True, slots=True)
class SlidingRequest:
    """One request. `is_stable`: in the form that was accepted, and so is the answer."""

    is_stable: bool
    pos: str | None = None
    connection: str = ""
    timeout_ms: int = 0
    set_presence: str = "online"
    lists: Mapping[str, ListWish] = field(default_factory=dict)
    subscriptions: Mapping[RoomId, RoomConfig] = field(default_factory=dict)
    extensions: Mapping[str, ExtensionWish] = field(default_factory=dict)


def united(configs: Iterable[RoomConfig]) -> RoomConfig | None:
    """What meets all of them; None where there are none."""
    whole: RoomConfig | None = None
    for config in configs:
        whole = config if whole is None or whole == config else whole | config
    return whole
