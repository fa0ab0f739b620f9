"""Which events notify a user, and which do so loudly.

Spec: client-server-api#push-rules
"""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from homeserver.matrix import globs
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.default_push_rules import KINDS
from homeserver.matrix.events import Event
from homeserver.matrix.power_levels import PowerLevels

_ABSENT = object()
_VALUES = (str, int, bool, type(None))
_COUNT = re.compile(r"(==|<=|>=|<|>)?([0-9]{1,15})")
_COMPARE: Mapping[str | None, Callable[[int, int], bool]] = {
    None: operator.eq,
    "==": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Who might be notified, and the room as it is when the event arrives."""

    user_id: str
    display_name: str | None
    member_count: int
    power_levels: PowerLevels


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the matching rule asks for. `tweaks` goes to the push gateway as it stands."""

    notify: bool = False
    highlight: bool = False
    sound: str | None = None
    tweaks: JsonObject = field(default_factory=dict)
    actions: list[Any] = field(default_factory=list)


def evaluate(event: Event, ruleset: JsonObject, circumstances: Circumstances) -> Outcome:
    """Return what the first enabled rule that matches asks for; by default nothing.

    Within a kind, `ruleset` lists the rules in the order of their priority.

    Spec: client-server-api#push-rules
    """
    if event.sender == circumstances.user_id:
        return Outcome()
    for kind in KINDS:
        for rule in ruleset.get(kind, ()):
            if rule["enabled"] and _matches(kind, rule, event, circumstances):
                return _outcome(rule["actions"])
    return Outcome()


def _outcome(actions: list[Any]) -> Outcome:
    notify = "notify" in actions
    tweaks = {
        action["set_tweak"]: action.get("value", True)
        for action in actions
        if isinstance(action, dict) and isinstance(action.get("set_tweak"), str)
    }
    sound = tweaks.get("sound")
    return Outcome(
        notify=notify,
        highlight=notify and bool(tweaks.get("highlight", False)),
        sound=sound if notify and isinstance(sound, str) else None,
        tweaks=tweaks,
        actions=actions,
    )


def _matches(kind: str, rule: JsonObject, event: Event, circumstances: Circumstances) -> bool:
    if kind == "room":
        return bool(rule["rule_id"] == event.room_id)
    if kind == "sender":
        return bool(rule["rule_id"] == event.sender)
    if kind == "content":
        body = event.content.get("body")
        return isinstance(body, str) and globs.matches_words(rule["pattern"], body)
    return all(
        _holds(condition, event, circumstances) for condition in rule.get("conditions") or ()
    )


def _holds(condition: JsonObject, event: Event, circumstances: Circumstances) -> bool:
    """Whether a condition holds; one that we do not know, or is incomplete, never does.

    Spec: client-server-api#conditions-1
    """
    check = _CONDITIONS.get(str(condition.get("kind")))
    return check is not None and check(condition, event, circumstances)


def _event_match(condition: JsonObject, event: Event, _: Circumstances) -> bool:
    key, pattern = condition.get("key"), condition.get("pattern")
    value = _property(event, key)
    if not isinstance(value, str) or not isinstance(pattern, str):
        return False
    if key == "content.body":
        return globs.matches_words(pattern, value)
    return globs.matches_whole(pattern, value)


def _event_property_is(condition: JsonObject, event: Event, _: Circumstances) -> bool:
    return _same(_property(event, condition.get("key")), condition.get("value", _ABSENT))


def _event_property_contains(condition: JsonObject, event: Event, _: Circumstances) -> bool:
    values = _property(event, condition.get("key"))
    wanted = condition.get("value", _ABSENT)
    return isinstance(values, list) and any(_same(value, wanted) for value in values)


def _contains_display_name(_: JsonObject, event: Event, circumstances: Circumstances) -> bool:
    body, name = event.content.get("body"), circumstances.display_name
    return isinstance(body, str) and bool(name) and globs.contains_words(str(name), body)


def _room_member_count(condition: JsonObject, _: Event, circumstances: Circumstances) -> bool:
    match = _COUNT.fullmatch(str(condition.get("is")))
    return match is not None and _COMPARE[match[1]](circumstances.member_count, int(match[2]))


def _sender_notification_permission(
    condition: JsonObject, event: Event, circumstances: Circumstances
) -> bool:
    key, levels = condition.get("key"), circumstances.power_levels
    return isinstance(key, str) and levels.of_user(event.sender) >= levels.to_notify(key)


_CONDITIONS: Mapping[str, Callable[[JsonObject, Event, Circumstances], bool]] = {
    "event_match": _event_match,
    "event_property_is": _event_property_is,
    "event_property_contains": _event_property_contains,
    "contains_display_name": _contains_display_name,
    "room_member_count": _room_member_count,
    "sender_notification_permission": _sender_notification_permission,
}


def _same(value: Any, wanted: Any) -> bool:
    """Equal, and of the same JSON type: `True` is not `1`."""
    return type(value) is type(wanted) and type(value) in _VALUES and value == wanted


def _property(event: Event, key: Any) -> Any:
    """The value at a dot-separated path of the event as clients see it.

    Spec: appendices#dot-separated-property-paths
    """
    if not isinstance(key, str):
        return _ABSENT
    first, *path = _split(key)
    if first in {"content", "type", "sender", "room_id", "event_id", "origin_server_ts"}:
        value = getattr(event, first)
    elif first == "state_key" and event.is_state:
        value = event.state_key
    else:
        return _ABSENT
    for name in path:
        if not isinstance(value, dict) or name not in value:
            return _ABSENT
        value = value[name]
    return value


@lru_cache(maxsize=512)
def _split(key: str) -> tuple[str, ...]:
    r"""Split at dots, except `\.`; `\\` is a backslash, other escapes stay as they are."""
    parts = [""]
    characters = iter(key)
    for character in characters:
        if character == ".":
            parts.append("")
        elif character == "\\":
            escaped = next(characters, "")
            parts[-1] += escaped if escaped in {".", "\\"} else "\\" + escaped
        else:
            parts[-1] += character
    return tuple(parts)
