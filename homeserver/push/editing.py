"""Change a set of push rules: pure functions, each of which returns a changed copy.

Spec: client-server-api#push-rules-api
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from homeserver import errors
from homeserver.matrix import default_push_rules
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.default_push_rules import KINDS

_MASTER = ".m.rule.master"
_RULES_LIMIT = 1_000
_TEXT_LIMIT = 1_024


@dataclass(frozen=True, slots=True)
class Place:
    """Where a rule goes: next to another one, by its ID, or first where both are None."""

    before: str | None = None
    after: str | None = None


def find(ruleset: JsonObject, kind: str, rule_id: str) -> JsonObject:
    """One rule. Raises NotFound."""
    for rule in _of_kind(ruleset, kind):
        if rule["rule_id"] == rule_id:
            return rule
    raise errors.NotFound("There is no such push rule.")


def put(
    ruleset: JsonObject, kind: str, rule_id: str, given: JsonObject, place: Place
) -> JsonObject:
    """Add a rule of the user's, or change it. Without a place a known rule stays where it is.

    Spec: client-server-api#put_matrixclientv3pushrulesglobalkindruleid
    """
    _check_id(rule_id)
    rules = list(_of_kind(ruleset, kind))
    known = next((rule for rule in rules if rule["rule_id"] == rule_id), None)
    rule = _checked(kind, rule_id, given)
    if known is not None:
        rule["enabled"] = known["enabled"]
        if place == Place():
            rules[rules.index(known)] = rule
            return ruleset | {kind: rules}
        rules.remove(known)
    if len(rules) >= _RULES_LIMIT:
        raise errors.InvalidParam("There are too many push rules.")
    rules.insert(_index(rules, place), rule)
    return ruleset | {kind: rules}


def delete(ruleset: JsonObject, kind: str, rule_id: str) -> JsonObject:
    """Take one of the user's rules away. The server's own cannot be deleted."""
    rule = find(ruleset, kind, rule_id)
    if default_push_rules.is_default(rule_id):
        raise errors.InvalidParam("The server's own push rules can only be disabled.")
    return ruleset | {kind: [one for one in ruleset[kind] if one is not rule]}


def enable(ruleset: JsonObject, kind: str, rule_id: str, *, is_enabled: bool) -> JsonObject:
    """Switch any rule on or off."""
    return _change(ruleset, kind, rule_id, lambda rule: rule | {"enabled": is_enabled})


def set_actions(ruleset: JsonObject, kind: str, rule_id: str, actions: Sequence[Any]) -> JsonObject:
    """Change what any rule does."""
    checked = _checked_actions(actions)
    return _change(ruleset, kind, rule_id, lambda rule: rule | {"actions": checked})


def with_present_defaults(ruleset: JsonObject, user_id: str) -> JsonObject:
    """Bring the server's own rules up to date; what the user chose for them stays."""
    fresh: JsonObject = default_push_rules.default_ruleset(user_id)
    for kind in KINDS:
        chosen = {rule["rule_id"]: rule for rule in ruleset.get(kind, ()) if rule["default"]}
        defaults = [
            rule
            | {
                name: chosen[rule["rule_id"]][name]
                for name in ("enabled", "actions")
                if rule["rule_id"] in chosen
            }
            for rule in fresh[kind]
        ]
        own = [rule for rule in ruleset.get(kind, ()) if not rule["default"]]
        master = [rule for rule in defaults if rule["rule_id"] == _MASTER]
        fresh[kind] = master + own + [rule for rule in defaults if rule not in master]
    return fresh


def _change(
    ruleset: JsonObject, kind: str, rule_id: str, change: Callable[[JsonObject], JsonObject]
) -> JsonObject:
    rule = find(ruleset, kind, rule_id)
    return ruleset | {kind: [change(one) if one is rule else one for one in ruleset[kind]]}


def _of_kind(ruleset: JsonObject, kind: str) -> Sequence[JsonObject]:
    if kind not in KINDS:
        raise errors.InvalidParam("There is no such kind of push rule.")
    rules: Sequence[JsonObject] = ruleset[kind]
    return rules


def _index(rules: Sequence[JsonObject], place: Place) -> int:
    """Where to put a rule among others; only places beside the user's own rules exist."""
    wanted = place.before if place.before is not None else place.after
    if wanted is None:
        return sum(rule["rule_id"] == _MASTER for rule in rules)
    for index, rule in enumerate(rules):
        if rule["rule_id"] == wanted and not rule["default"]:
            return index if place.before is not None else index + 1
    raise errors.HomeserverError("There is no rule of yours to put it beside.")


def _check_id(rule_id: str) -> None:
    if default_push_rules.is_default(rule_id):
        raise errors.InvalidParam("Rule IDs that begin with a dot are the server's.")
    if not rule_id or "/" in rule_id or "\\" in rule_id or len(rule_id) > _TEXT_LIMIT:
        raise errors.InvalidParam("That is not a rule ID.")


def _checked(kind: str, rule_id: str, given: JsonObject) -> JsonObject:
    rule: JsonObject = {
        "rule_id": rule_id,
        "default": False,
        "enabled": True,
        "actions": _checked_actions(given.get("actions")),
    }
    if kind == "content":
        pattern = given.get("pattern")
        if not isinstance(pattern, str) or not 0 < len(pattern) <= _TEXT_LIMIT:
            raise errors.InvalidParam("A content rule needs a pattern.")
        rule["pattern"] = pattern
    if kind in ("override", "underride"):
        rule["conditions"] = _checked_conditions(given.get("conditions", []))
    return rule


def _checked_actions(actions: Any) -> list[Any]:
    if not isinstance(actions, list):
        raise errors.MissingParam("actions: a list is required.")
    for action in actions:
        is_tweak = isinstance(action, dict) and isinstance(action.get("set_tweak"), str)
        if not is_tweak and not isinstance(action, str):
            raise errors.InvalidParam("An action is a string or sets a tweak.")
    return actions


def _checked_conditions(conditions: Any) -> list[JsonObject]:
    if not isinstance(conditions, list):
        raise errors.InvalidParam("conditions: a list is required.")
    for condition in conditions:
        if not isinstance(condition, dict) or not isinstance(condition.get("kind"), str):
            raise errors.InvalidParam("A condition has a kind.")
    return conditions
