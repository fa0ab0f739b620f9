"""The m.room.power_levels branch of the authorisation rules.

Rule numbers in comments are those of room version 12; versions 10 and 11 count one less.

Spec: rooms/v12#authorisation-rules
"""

from collections.abc import Iterator
from typing import Any

from homeserver.errors import NotAllowed
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.events import Event
from homeserver.matrix.identifiers import is_user_id
from homeserver.matrix.power_levels import PowerLevels, creators_of

_SINGLE_LEVELS = (
    "users_default",
    "events_default",
    "state_default",
    "ban",
    "redact",
    "kick",
    "invite",
)

_TOO_HIGH = "You cannot give or take power levels above your own."


def check(event: Event, create: Event, current: Event | None) -> None:
    """Raise unless the sender may replace the current power levels by these. Rule 10."""
    _check_form(event.content)
    _check_creators_stay(event.content, create)
    if current is None:  # 10.5
        return
    level = PowerLevels.of(create, current).of_user(event.sender)
    before, after = current.content, event.content
    _check_single_levels(before, after, level)
    for name in ("events", "notifications"):
        for _, was, is_now in _changes(before.get(name), after.get(name)):
            _check_reach(was, is_now, level)  # 10.7, 10.8
    for user_id, was, is_now in _changes(before.get("users"), after.get("users")):
        if user_id != event.sender and was is not None and was >= level:  # 10.9
            raise NotAllowed("You cannot change the power level of a user who is not below you.")
        _check_reach(None, is_now, level)  # 10.10


def _check_form(content: JsonObject) -> None:
    for name in _SINGLE_LEVELS:  # 10.1
        if name in content and type(content[name]) is not int:
            raise NotAllowed("Power levels must be integers.")
    for name in ("events", "notifications", "users"):  # 10.2
        levels = content.get(name, {})
        if not isinstance(levels, dict) or not all(type(level) is int for level in levels.values()):
            raise NotAllowed("Power levels must be integers.")
    if not all(is_user_id(user_id) for user_id in content.get("users", ())):  # 10.3
        raise NotAllowed("Power levels must name users by their IDs.")


def _check_creators_stay(content: JsonObject, create: Event) -> None:
    if not create.version.creators_are_above_all:
        return
    if not creators_of(create).isdisjoint(content.get("users", ())):  # from v12: 10.4
        raise NotAllowed("The power of a room's creators cannot be changed.")


def _check_single_levels(before: JsonObject, after: JsonObject, level: int) -> None:
    for name in _SINGLE_LEVELS:  # 10.6
        was, is_now = before.get(name), after.get(name)
        if was != is_now:
            _check_reach(was, is_now, level)


def _check_reach(was: int | None, is_now: int | None, level: int) -> None:
    if (was is not None and was > level) or (is_now is not None and is_now > level):
        raise NotAllowed(_TOO_HIGH)


def _changes(before: Any, after: Any) -> Iterator[tuple[str, int | None, int | None]]:
    """The entries that differ, as (name, level before, level now); None where there is none."""
    was, is_now = before or {}, after or {}
    for name in was.keys() | is_now.keys():
        if was.get(name) != is_now.get(name):
            yield name, was.get(name), is_now.get(name)
