"""Who may do what in a room, as numbers."""

from dataclasses import dataclass
from typing import Any, Literal

from homeserver.matrix.canonical_json import MAX_INTEGER, JsonObject
from homeserver.matrix.events import Event

Action = Literal["invite", "kick", "ban", "redact"]

# Above every level that m.room.power_levels can name.
INFINITE = MAX_INTEGER + 1

_CREATOR_WITHOUT_POWER_LEVELS = 100
_TO_ACT: dict[Action, int] = {"invite": 0, "kick": 50, "ban": 50, "redact": 50}
_TO_SEND_STATE = 50
_TO_NOTIFY = 50


@dataclass(frozen=True, slots=True)
class PowerLevels:
    """The power levels of a room at some point, defaults included.

    Spec: client-server-api#mroompower_levels
    """

    creators: frozenset[str]
    creator_level: int | None  # None: creators have what m.room.power_levels gives them
    content: JsonObject

    @classmethod
    def of(cls, create: Event, power_levels: Event | None) -> "PowerLevels":
        """Read the levels from a room's create event and its power levels, if it has any."""
        content = power_levels.content if power_levels is not None else {}
        if create.version.creators_are_above_all:
            return cls(creators_of(create), INFINITE, content)
        if power_levels is None:
            return cls(creators_of(create), _CREATOR_WITHOUT_POWER_LEVELS, content)
        return cls(frozenset(), None, content)

    def of_user(self, user_id: str) -> int:
        """The level of a user, whether or not they are in the room."""
        if self.creator_level is not None and user_id in self.creators:
            return self.creator_level
        default = _level(self.content, "users_default", 0)
        return _level(self.content.get("users"), user_id, default)

    def to_send(self, event_type: str, is_state: bool) -> int:  # noqa: FBT001 - brevity at calls
        """The level that sending this type of event takes.

        Spec: server-server-api#definitions
        """
        if is_state:
            default = _level(self.content, "state_default", _TO_SEND_STATE)
        else:
            default = _level(self.content, "events_default", 0)
        return _level(self.content.get("events"), event_type, default)

    def to(self, action: Action) -> int:
        """The level that acting on another user or their events takes."""
        return _level(self.content, action, _TO_ACT[action])

    def to_notify(self, key: str) -> int:
        """The level that notifying the whole room takes, as with `@room`."""
        return _level(self.content.get("notifications"), key, _TO_NOTIFY)

    def may_send(self, user_id: str, event_type: str, is_state: bool) -> bool:  # noqa: FBT001
        """Whether a member's level is enough for this type of event."""
        return self.of_user(user_id) >= self.to_send(event_type, is_state)

    def may(self, user_id: str, action: Action) -> bool:
        """Whether a member's level is enough to act, on somebody below them."""
        return self.of_user(user_id) >= self.to(action)


def creators_of(create: Event) -> frozenset[str]:
    """Return the room's creators: one before v12, then perhaps additional ones.

    Spec: rooms/v12#authorisation-rules
    """
    if create.version.create_names_creator:
        return frozenset({str(create.content.get("creator"))})
    if create.version.creators_are_above_all:
        return frozenset({create.sender, *create.content.get("additional_creators", ())})
    return frozenset({create.sender})


def _level(levels: Any, name: str, default: int) -> int:
    # The auth rules let integers only into the state; anything else would be a default then too.
    level = levels.get(name) if isinstance(levels, dict) else None
    return level if type(level) is int else default
