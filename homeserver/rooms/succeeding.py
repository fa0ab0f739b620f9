"""What the owner set for a room follows them into the room that takes its place.

Spec: client-server-api#room-upgrades
"""

from typing import Any

from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import RoomId, UserId
from homeserver.rooms import state
from homeserver.storage import account_data, room_state, rooms
from homeserver.storage.unit_of_work import UnitOfWork, View

_TAGS = "m.tag"
_DIRECT = "m.direct"
_PUSH_RULES = "m.push_rules"
_TOMBSTONE = ("m.room.tombstone", "")
# The kinds of push rules whose conditions may name a room.
_CONDITIONAL = ("override", "underride")


def predecessor_of(view: View, room_id: RoomId) -> RoomId | None:
    """The room that this one replaces, where both say so and we have been in it."""
    create = state.load_entry(view, room_state.current_state(view, room_id), state.CREATE)
    named = create.content.get("predecessor") if create is not None else None
    before = named.get("room_id") if isinstance(named, dict) else None
    if not isinstance(before, str) or rooms.find_room(view, RoomId(before)) is None:
        return None
    current = room_state.current_state(view, RoomId(before))
    tombstone = state.load_entry(view, current, _TOMBSTONE)
    if tombstone is None or tombstone.content.get("replacement_room") != room_id:
        return None
    return RoomId(before)


def follow(work: UnitOfWork, user_id: UserId, room_id: RoomId) -> None:
    """After a user entered a room: where it replaces another, their settings for that count."""
    before = predecessor_of(work, room_id)
    if before is not None:
        carry_over(work, user_id, before, room_id)


def carry_over(work: UnitOfWork, user_id: UserId, before: RoomId, after: RoomId) -> None:
    """Copy tags, push rules and being a direct chat from one room to another."""
    tags = account_data.find_account_data(work, user_id, before, _TAGS)
    if tags and not account_data.find_account_data(work, user_id, after, _TAGS):
        account_data.save_account_data(work, user_id, after, _TAGS, tags)
    for kind, change in ((_PUSH_RULES, _rules_for_both), (_DIRECT, _direct_for_both)):
        content = account_data.find_account_data(work, user_id, None, kind)
        if content is None:
            continue
        changed = change(content, before, after)
        if changed != content:
            account_data.save_account_data(work, user_id, None, kind, changed)


def _direct_for_both(content: JsonObject, before: RoomId, after: RoomId) -> JsonObject:
    return {
        user: [*listed, after]
        if isinstance(listed, list) and before in listed and after not in listed
        else listed
        for user, listed in content.items()
    }


def _rules_for_both(content: JsonObject, before: RoomId, after: RoomId) -> JsonObject:
    """Each of the user's rules about the one room a second time for the other."""
    rules = content.get("global")
    if not isinstance(rules, dict):
        return content
    changed = dict(rules)
    for kind in ("room", *_CONDITIONAL):
        given: list[JsonObject] = rules.get(kind, [])
        known = {rule.get("rule_id") for rule in given}
        both: list[JsonObject] = []
        for rule in given:
            both.append(rule)
            copied = _rule_for(kind, rule, before, after)
            if copied is not None and copied["rule_id"] not in known:
                both.append(copied)
        changed[kind] = both
    return content | {"global": changed}


def _rule_for(kind: str, rule: JsonObject, before: RoomId, after: RoomId) -> JsonObject | None:
    """The same rule about another room; nothing where it is not about the first one."""
    rule_id = rule.get("rule_id")
    if rule.get("default") or not isinstance(rule_id, str):
        return None
    if kind == "room":
        return rule | {"rule_id": after} if rule_id == before else None
    conditions: list[Any] = rule.get("conditions", [])
    if not any(_names(condition, before) for condition in conditions):
        return None
    return rule | {
        "rule_id": rule_id.replace(before, after) if before in rule_id else f"{rule_id}-{after}",
        "conditions": [
            condition | {"pattern": after} if _names(condition, before) else condition
            for condition in conditions
        ],
    }


def _names(condition: Any, room_id: RoomId) -> bool:
    return (
        isinstance(condition, dict)
        and condition.get("kind") == "event_match"
        and condition.get("key") == "room_id"
        and condition.get("pattern") == room_id
    )
