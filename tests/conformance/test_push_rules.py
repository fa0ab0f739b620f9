"""Push rules: the default ones, the owner's own, and what is refused."""

from typing import Any

import pytest

from tests.conformance.device import Device, part

RULES = "/pushrules/global"
NOT_FOUND = (404, "M_NOT_FOUND")
NOTIFY: dict[str, Any] = {"actions": ["notify"]}


def test_the_default_rules(alice: Device) -> None:
    rules = alice.call("GET", "/pushrules/")["global"]
    assert rules == alice.call("GET", f"{RULES}/")
    assert set(rules) == {"override", "content", "room", "sender", "underride"}
    assert rules["override"][0]["rule_id"] == ".m.rule.master"
    master = f"{RULES}/override/.m.rule.master"
    assert alice.call("GET", f"{master}/enabled") == {"enabled": False}
    for method, body in (("DELETE", None), ("PUT", NOTIFY)):
        assert alice.refused(method, master, body)[0] == 400
    since = alice.next_batch()
    alice.call("PUT", f"{master}/enabled", {"enabled": True})
    (changed,) = alice.sync(since)["account_data"]["events"]
    assert changed["type"] == "m.push_rules"
    assert changed["content"]["global"]["override"][0]["enabled"] is True
    alice.call("PUT", f"{master}/enabled", {"enabled": False})
    message = f"{RULES}/underride/.m.rule.message/actions"
    alice.call("PUT", message, {"actions": []})
    assert alice.call("GET", message) == {"actions": []}
    alice.call("PUT", message, NOTIFY)


def test_rules_of_ones_own(alice: Device) -> None:
    condition = {"kind": "event_match", "key": "content.body", "pattern": "cake"}
    alice.call("PUT", f"{RULES}/override/first", NOTIFY | {"conditions": [condition]})
    alice.call("PUT", f"{RULES}/override/second", NOTIFY | {"conditions": []})
    alice.call("PUT", f"{RULES}/override/third?after=first", NOTIFY | {"conditions": []})
    alice.call("PUT", f"{RULES}/override/fourth?before=first", NOTIFY | {"conditions": []})
    order = [rule["rule_id"] for rule in alice.call("GET", f"{RULES}/")["override"]]
    assert order[1:5] == ["second", "fourth", "first", "third"]
    assert alice.call("GET", f"{RULES}/override/first")["conditions"] == [condition]
    for name in ("first", "second", "third", "fourth"):
        alice.call("DELETE", f"{RULES}/override/{name}")
    assert alice.refused("GET", f"{RULES}/override/first") == NOT_FOUND
    alice.call("PUT", f"{RULES}/content/x", NOTIFY | {"pattern": "x"})
    room_rule = f"{RULES}/room/{part('!x:elsewhere.org')}"
    alice.call("PUT", room_rule, NOTIFY)
    assert alice.call("GET", room_rule)["rule_id"] == "!x:elsewhere.org"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("override/x", {}, 400),
        ("override/x", {"actions": "notify"}, 400),
        ("override/x", {"actions": [1]}, 400),
        ("override/x", {"actions": [], "conditions": "x"}, 400),
        ("override/x", {"actions": [], "conditions": [{"kind": 1}]}, 400),
        ("content/x", {"actions": []}, 400),
        ("override/.x", {"actions": []}, 400),
        ("override/a%2Fb", {"actions": []}, 400),
        ("override/a%5Cb", {"actions": []}, 400),
        ("override/x?before=nothing", {"actions": []}, 400),
        ("override/none/enabled", {"enabled": True}, 404),
        ("override/none/actions", {"actions": []}, 404),
        ("override/.m.rule.master/enabled", {"enabled": "yes"}, 400),
        ("override/.m.rule.master/enabled", {}, 400),
        ("override/.m.rule.master/actions", {}, 400),
    ],
)
def test_what_is_no_rule(alice: Device, path: str, body: Any, status: int) -> None:
    before = alice.call("GET", f"{RULES}/")
    assert alice.refused("PUT", f"{RULES}/{path}", body)[0] == status
    assert alice.call("GET", f"{RULES}/") == before


def test_rules_that_are_not_there(alice: Device) -> None:
    for path in ("override/none", "override/none/enabled", "override/none/actions"):
        assert alice.refused("GET", f"{RULES}/{path}") == NOT_FOUND
    assert alice.refused("DELETE", f"{RULES}/override/none") == NOT_FOUND
    assert alice.call("GET", "/pushers") == {"pushers": []}
