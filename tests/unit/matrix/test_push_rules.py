from typing import Any

import pytest

from homeserver.matrix import default_push_rules, push_rules
from homeserver.matrix.auth_rules import CREATE, POWER_LEVELS
from homeserver.matrix.events import Event
from homeserver.matrix.power_levels import PowerLevels
from homeserver.matrix.push_rules import Circumstances, Outcome

from .histories import ALICE, BOB, CHARLIE, V12, open_room

ROOM, STATE = open_room(V12, BOB, CHARLIE)
LEVELS = PowerLevels.of(ROOM.known[STATE[CREATE]], ROOM.known[STATE[POWER_LEVELS]])
SILENCE = (False, False, None)
DEFAULT = default_push_rules.default_ruleset(BOB)


def event(
    kind: str = "m.room.message",
    dotted: dict[str, Any] | None = None,
    sender: str = ALICE,
    state_key: str | None = None,
    **content: Any,
) -> Event:
    return ROOM.event(kind, sender, state_key, content | (dotted or {}), STATE)


def mentions(sender: str = ALICE, **mentioned: Any) -> Event:
    return event(dotted={"m.mentions": mentioned}, sender=sender, body="look")


def outcome(happened: Event, ruleset: Any = DEFAULT, members: int = 3) -> Outcome:
    return push_rules.evaluate(happened, ruleset, Circumstances(BOB, "Bob B.", members, LEVELS))


def short(result: Outcome) -> tuple[bool, bool, str | None]:
    return (result.notify, result.highlight, result.sound)


@pytest.mark.parametrize(
    ("happened", "expected"),
    [
        (event(body="hello"), (True, False, None)),
        (event(body="hello", msgtype="m.notice"), SILENCE),
        (event("m.room.encrypted"), (True, False, None)),
        (event("m.call.invite"), (True, False, "ring")),
        (event("m.room.member", state_key=BOB, membership="invite"), (True, False, "default")),
        (event("m.room.member", state_key=CHARLIE, membership="invite"), SILENCE),
        (event("m.room.member", state_key=BOB, membership="join"), SILENCE),
        (event("m.room.tombstone", state_key=""), (True, True, None)),
        (event("m.room.tombstone"), SILENCE),
        (event("m.reaction"), SILENCE),
        (event("m.room.server_acl", state_key=""), SILENCE),
        (event("m.room.topic", state_key="", topic="Bob B."), SILENCE),
        (event(dotted={"m.relates_to": {"rel_type": "m.replace"}}), SILENCE),
        (mentions(user_ids=[BOB]), (True, True, "default")),
        (mentions(user_ids=[CHARLIE]), (True, False, None)),
        (mentions(user_ids=BOB), (True, False, None)),
        (mentions(room=True), (True, True, None)),
        (mentions(room=1), (True, False, None)),
        (
            mentions(CHARLIE, room=True),
            (True, False, None),
        ),
        (event(body="Bob B., @room"), (True, False, None)),
        (event(sender=BOB, body="hello"), SILENCE),
    ],
)
def test_the_default_rules(happened: Event, expected: tuple[bool, bool, str | None]) -> None:
    assert short(outcome(happened)) == expected


@pytest.mark.parametrize("kind", ["m.room.message", "m.room.encrypted"])
def test_between_two_a_message_sounds(kind: str) -> None:
    assert short(outcome(event(kind), members=2)) == (True, False, "default")


def test_the_master_switch_silences_everything() -> None:
    ruleset = default_push_rules.default_ruleset(BOB)
    assert ruleset["override"][0]["rule_id"] == ".m.rule.master"
    ruleset["override"][0]["enabled"] = True
    assert short(outcome(mentions(user_ids=[BOB]), ruleset)) == SILENCE
    assert DEFAULT["override"][0]["enabled"] is False, "each user has rules of their own"


def test_the_default_rules_are_those_of_the_specification() -> None:
    assert [rule["rule_id"] for rule in DEFAULT["override"]] == [
        ".m.rule.master",
        ".m.rule.suppress_notices",
        ".m.rule.invite_for_me",
        ".m.rule.member_event",
        ".m.rule.is_user_mention",
        ".m.rule.is_room_mention",
        ".m.rule.tombstone",
        ".m.rule.reaction",
        ".m.rule.room.server_acl",
        ".m.rule.suppress_edits",
    ]
    assert [rule["rule_id"] for rule in DEFAULT["underride"]] == [
        ".m.rule.call",
        ".m.rule.encrypted_room_one_to_one",
        ".m.rule.room_one_to_one",
        ".m.rule.message",
        ".m.rule.encrypted",
    ]
    assert set(DEFAULT) == set(default_push_rules.KINDS)
    assert default_push_rules.is_default(".m.rule.call")
    assert not default_push_rules.is_default("cake")


NOTIFY = {"enabled": True, "actions": ["notify"]}
SILENT = {"enabled": True, "actions": []}


def test_kinds_are_asked_in_their_order() -> None:
    matching: dict[str, Any] = {
        "override": {"rule_id": "o", "conditions": []},
        "content": {"rule_id": "c", "pattern": "hello"},
        "room": {"rule_id": ROOM.room_id},
        "sender": {"rule_id": ALICE},
        "underride": {"rule_id": "u"},
    }
    kinds = list(matching)
    for index, kind in enumerate(kinds):
        ruleset = {first: [matching[first] | SILENT] for first in kinds[index + 1 :]}
        ruleset[kind] = [matching[kind] | NOTIFY]
        assert outcome(event(body="hello"), ruleset).notify, kind
        ruleset[kind] = [matching[kind] | NOTIFY | {"enabled": False}]
        assert not outcome(event(body="hello"), ruleset).notify, kind


def test_rules_match_what_they_are_for() -> None:
    for kind, rule_id in (("room", "!other"), ("sender", CHARLIE), ("content", "c")):
        ruleset = {kind: [{"rule_id": rule_id, "pattern": "cake"} | NOTIFY]}
        assert not outcome(event(body="hello"), ruleset).notify
        assert not outcome(event(body=7), ruleset).notify


@pytest.mark.parametrize(
    ("actions", "expected"),
    [
        (["notify", {"set_tweak": "highlight"}], (True, True, None)),
        (["notify", {"set_tweak": "highlight", "value": False}], (True, False, None)),
        (["notify", {"set_tweak": "sound", "value": "x"}], (True, False, "x")),
        (["notify", {"set_tweak": "sound"}], (True, False, None)),
        ([{"set_tweak": "highlight"}, {"set_tweak": "sound", "value": "x"}], SILENCE),
        (["dont_notify"], SILENCE),
        (["notify", "coalesce", {"set_tweak": 7}, {}], (True, False, None)),
    ],
)
def test_actions(actions: list[Any], expected: tuple[bool, bool, str | None]) -> None:
    ruleset = {"underride": [{"rule_id": "r", "enabled": True, "actions": actions}]}
    assert short(outcome(event(), ruleset)) == expected


def test_tweaks_go_to_the_gateway_as_they_are() -> None:
    actions = ["notify", {"set_tweak": "light", "value": {"on": 1}}, {"set_tweak": "highlight"}]
    ruleset = {"override": [{"rule_id": "r", "enabled": True, "actions": actions}]}
    result = outcome(event(), ruleset)
    assert result.tweaks == {"light": {"on": 1}, "highlight": True}
    assert result.actions == actions


def holds(condition: dict[str, Any], happened: Event, members: int = 3) -> bool:
    rule = {"rule_id": "r", "conditions": [condition]} | NOTIFY
    return outcome(happened, {"override": [rule]}, members).notify


RICH = event(
    "m.room.rich",
    state_key="key",
    dotted={
        "body": "An example event.",
        "topic": "Lunch",
        "a.b": {"c\\d": "deep", "e\\f": "deep"},
        "": {"": "empty"},
        "list": ["one", 2, True, None, ["nested"]],
        "number": 1,
        "flag": True,
        "none": None,
        "object": {},
    },
)


@pytest.mark.parametrize(
    ("key", "pattern"),
    [
        ("content.topic", "lunc?*"),
        ("content.body", "ex*ple"),
        ("type", "m.room.*"),
        ("sender", ALICE),
        ("room_id", "*"),
        ("event_id", "$*"),
        ("state_key", "key"),
        ("content.a\\.b.c\\\\d", "deep"),
        ("content.a\\.b.e\\f", "deep"),
        ("content..", "empty"),
    ],
)
def test_event_match_finds_its_property(key: str, pattern: str) -> None:
    assert holds({"kind": "event_match", "key": key, "pattern": pattern}, RICH)


@pytest.mark.parametrize(
    "condition",
    [
        {"key": "content.body", "pattern": "event.*xyz"},
        {"key": "content.topic", "pattern": "lun"},
        {"key": "content.missing", "pattern": "*"},
        {"key": "content.topic.deeper", "pattern": "*"},
        {"key": "content.number", "pattern": "*"},
        {"key": "content.topic\\", "pattern": "*"},
        {"key": "unsigned.age", "pattern": "*"},
        {"key": "pdu", "pattern": "*"},
        {"key": "content.topic"},
        {"pattern": "*"},
        {"key": 7, "pattern": "*"},
        {"key": "content.topic", "pattern": 7},
    ],
)
def test_event_match_does_not_match(condition: dict[str, Any]) -> None:
    assert not holds({"kind": "event_match"} | condition, RICH)


def test_a_message_has_no_state_key_to_match() -> None:
    condition = {"kind": "event_match", "key": "state_key", "pattern": "*"}
    assert not holds(condition, event())


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("content.number", 1, True),
        ("content.number", True, False),
        ("content.number", "1", False),
        ("content.flag", True, True),
        ("content.flag", 1, False),
        ("content.none", None, True),
        ("content.missing", None, False),
        ("content.object", {}, False),
        ("content.list", [], False),
        ("content.topic", "Lunch", True),
        ("content.topic", "lunch", False),
        ("origin_server_ts", RICH.origin_server_ts, True),
    ],
)
def test_event_property_is_exact(key: str, value: Any, expected: bool) -> None:
    assert holds({"kind": "event_property_is", "key": key, "value": value}, RICH) is expected


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("content.list", "one", True),
        ("content.list", "on", False),
        ("content.list", 2, True),
        ("content.list", 1, False),
        ("content.list", None, True),
        ("content.list", ["nested"], False),
        ("content.topic", "Lunch", False),
        ("content.missing", None, False),
    ],
)
def test_event_property_contains_is_exact(key: str, value: Any, expected: bool) -> None:
    assert holds({"kind": "event_property_contains", "key": key, "value": value}, RICH) is expected


@pytest.mark.parametrize("kind", ["event_property_is", "event_property_contains"])
def test_a_condition_without_a_value_never_holds(kind: str) -> None:
    assert not holds({"kind": kind, "key": "content.none"}, RICH)
    assert not holds({"kind": kind, "key": "content.list"}, RICH)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("3", True),
        ("==3", True),
        ("2", False),
        (">2", True),
        (">3", False),
        (">=3", True),
        ("<3", False),
        ("<4", True),
        ("<=3", True),
        ("!=2", False),
        ("three", False),
        ("9" * 20, False),
        (None, False),
    ],
)
def test_room_member_count(wanted: str | None, expected: bool) -> None:
    assert holds({"kind": "room_member_count", "is": wanted}, event()) is expected


@pytest.mark.parametrize(
    ("body", "expected"), [("hi bob b.!", True), ("bob", False), ("bob bx", False), (7, False)]
)
def test_a_display_name_is_found_as_words(body: Any, expected: bool) -> None:
    assert holds({"kind": "contains_display_name"}, event(body=body)) is expected


@pytest.mark.parametrize("name", [None, ""])
def test_who_has_no_display_name_is_not_mentioned_by_it(name: str | None) -> None:
    rule = {"rule_id": "r", "conditions": [{"kind": "contains_display_name"}]} | NOTIFY
    circumstances = Circumstances(BOB, name, 3, LEVELS)
    assert not push_rules.evaluate(event(body="x"), {"override": [rule]}, circumstances).notify


def test_notifying_a_room_takes_power() -> None:
    condition = {"kind": "sender_notification_permission", "key": "room"}
    assert holds(condition, event())
    assert not holds(condition, event(sender=CHARLIE))
    assert not holds(condition | {"key": 7}, event())


@pytest.mark.parametrize("condition", [{"kind": "org.example.odd"}, {"kind": []}, {}])
def test_an_unknown_condition_never_holds(condition: dict[str, Any]) -> None:
    assert not holds(condition, event())
