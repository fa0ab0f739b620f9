"""The push rules that every user starts with.

Spec: client-server-api#predefined-rules
"""

from collections.abc import Sequence

from homeserver.matrix.canonical_json import JsonObject

# The order in which the kinds of rules are asked.
KINDS = ("override", "content", "room", "sender", "underride")

_Action = str | dict[str, str]

_DEFAULT_SOUND = {"set_tweak": "sound", "value": "default"}
_RING = {"set_tweak": "sound", "value": "ring"}
_HIGHLIGHT = {"set_tweak": "highlight"}


def default_ruleset(user_id: str) -> JsonObject:
    """Return the rules for one user, to be changed by them. User-defined rules go before these.

    Only `.m.rule.master` stays in front of user-defined override rules.

    Spec: client-server-api#predefined-rules
    """
    return {
        "override": _override_rules(user_id),
        "content": [],
        "room": [],
        "sender": [],
        "underride": _underride_rules(),
    }


def is_default(rule_id: str) -> bool:
    """Whether a rule is one of the server's, which users may change but not delete."""
    return rule_id.startswith(".")


def _override_rules(user_id: str) -> list[JsonObject]:
    return [
        _rule(".m.rule.master", [], []) | {"enabled": False},
        _rule(".m.rule.suppress_notices", [_matches("content.msgtype", "m.notice")], []),
        _rule(
            ".m.rule.invite_for_me",
            [
                _matches("type", "m.room.member"),
                _matches("content.membership", "invite"),
                _matches("state_key", user_id),
            ],
            ["notify", _DEFAULT_SOUND],
        ),
        _rule(".m.rule.member_event", [_matches("type", "m.room.member")], []),
        _rule(
            ".m.rule.is_user_mention",
            [
                {
                    "kind": "event_property_contains",
                    "key": "content.m\\.mentions.user_ids",
                    "value": user_id,
                }
            ],
            ["notify", _DEFAULT_SOUND, _HIGHLIGHT],
        ),
        _rule(
            ".m.rule.is_room_mention",
            [
                {
                    "kind": "event_property_is",
                    "key": "content.m\\.mentions.room",
                    "value": True,
                },
                {"kind": "sender_notification_permission", "key": "room"},
            ],
            ["notify", _HIGHLIGHT],
        ),
        _rule(
            ".m.rule.tombstone",
            [_matches("type", "m.room.tombstone"), _matches("state_key", "")],
            ["notify", _HIGHLIGHT],
        ),
        _rule(".m.rule.reaction", [_matches("type", "m.reaction")], []),
        _rule(
            ".m.rule.room.server_acl",
            [_matches("type", "m.room.server_acl"), _matches("state_key", "")],
            [],
        ),
        _rule(
            ".m.rule.suppress_edits",
            [
                {
                    "kind": "event_property_is",
                    "key": "content.m\\.relates_to.rel_type",
                    "value": "m.replace",
                }
            ],
            [],
        ),
    ]


def _underride_rules() -> list[JsonObject]:
    two_members = {"kind": "room_member_count", "is": "2"}
    message, encrypted = _matches("type", "m.room.message"), _matches("type", "m.room.encrypted")
    sounding: list[_Action] = ["notify", _DEFAULT_SOUND]
    return [
        _rule(".m.rule.call", [_matches("type", "m.call.invite")], ["notify", _RING]),
        _rule(".m.rule.encrypted_room_one_to_one", [two_members, encrypted], sounding),
        _rule(".m.rule.room_one_to_one", [two_members, message], sounding),
        _rule(".m.rule.message", [message], ["notify"]),
        _rule(".m.rule.encrypted", [encrypted], ["notify"]),
    ]


def _rule(rule_id: str, conditions: list[JsonObject], actions: Sequence[_Action]) -> JsonObject:
    return {
        "rule_id": rule_id,
        "default": True,
        "enabled": True,
        "conditions": [dict(condition) for condition in conditions],
        "actions": [action if isinstance(action, str) else dict(action) for action in actions],
    }


def _matches(key: str, pattern: str) -> JsonObject:
    return {"kind": "event_match", "key": key, "pattern": pattern}
