"""The push rules API over the default set, and the counts they make."""

from typing import Any

import pytest

from homeserver.push import editing, rules
from homeserver.storage import account_data
from tests.accounts.serving import ALICE, Device, Served

GLOBAL = "/pushrules/global"


async def ids(alice: Device, kind: str) -> list[str]:
    return [rule["rule_id"] for rule in (await alice.get(f"{GLOBAL}/"))[kind]]


async def test_everybody_starts_with_the_default_rules(alice: Device) -> None:
    everything = await alice.get("/pushrules/")
    assert everything == {"global": await alice.get(f"{GLOBAL}/")}
    assert everything["global"]["override"][0]["rule_id"] == ".m.rule.master"
    assert (await alice.get(f"{GLOBAL}/underride/.m.rule.message"))["default"] is True


async def test_own_rules_go_before_the_servers_and_after_the_master(alice: Device) -> None:
    await alice.put(f"{GLOBAL}/override/first", {"actions": [], "conditions": []})
    await alice.put(f"{GLOBAL}/override/second", {"actions": ["notify"]})
    assert (await ids(alice, "override"))[:4] == [
        ".m.rule.master",
        "second",
        "first",
        ".m.rule.suppress_notices",
    ]
    assert await alice.get(f"{GLOBAL}/override/second") == {
        "rule_id": "second",
        "default": False,
        "enabled": True,
        "actions": ["notify"],
        "conditions": [],
    }


async def test_rules_are_put_beside_others(alice: Device) -> None:
    for name in ("c", "b", "a"):
        await alice.put(f"{GLOBAL}/room/{name}", {"actions": []})
    await alice.put(f"{GLOBAL}/room/a?after=c", {"actions": []})
    await alice.put(f"{GLOBAL}/room/d?before=c", {"actions": []})
    await alice.put(f"{GLOBAL}/room/b", {"actions": ["notify"]})
    assert await ids(alice, "room") == ["b", "d", "c", "a"]
    for place in ("before=none", "after=.m.rule.message"):
        status, answer = await alice.ask("PUT", f"{GLOBAL}/room/e?{place}", {"actions": []})
        assert (status, answer["errcode"]) == (400, "M_UNKNOWN")


async def test_a_changed_rule_stays_switched_off(alice: Device) -> None:
    path = f"{GLOBAL}/content/cake"
    await alice.put(path, {"actions": ["notify"], "pattern": "cake*lie"})
    await alice.put(f"{path}/enabled", {"enabled": False})
    await alice.put(path, {"actions": [], "pattern": "cake"})
    assert await alice.get(f"{path}/enabled") == {"enabled": False}
    assert (await alice.get(path))["pattern"] == "cake"


async def test_the_servers_rules_can_be_changed_but_not_deleted(alice: Device) -> None:
    path = f"{GLOBAL}/underride/.m.rule.message"
    await alice.put(f"{path}/actions", {"actions": []})
    assert await alice.get(f"{path}/actions") == {"actions": []}
    await alice.put(f"{path}/enabled", {"enabled": False})
    assert await alice.get(f"{path}/enabled") == {"enabled": False}
    status, answer = await alice.ask("DELETE", path)
    assert (status, answer["errcode"]) == (400, "M_INVALID_PARAM")


async def test_a_deleted_rule_is_gone(alice: Device) -> None:
    path = f"{GLOBAL}/sender/@bob:bob.example"
    await alice.put(path, {"actions": []})
    assert await alice.ask("DELETE", path) == (200, {})
    for method, place in (("GET", ""), ("DELETE", ""), ("GET", "/enabled"), ("GET", "/actions")):
        status, answer = await alice.ask(method, path + place)
        assert (status, answer["errcode"]) == (404, "M_NOT_FOUND")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/room/.mine", {"actions": []}),
        ("/room/a%5Cb", {"actions": []}),
        ("/room/a", {}),
        ("/room/a", {"actions": [5]}),
        ("/room/a", {"actions": [{"no": "tweak"}]}),
        ("/content/a", {"actions": []}),
        ("/content/a", {"actions": [], "pattern": 5}),
        ("/override/a", {"actions": [], "conditions": ["x"]}),
        ("/override/a", {"actions": [], "conditions": {}}),
        ("/nothing/a", {"actions": []}),
    ],
)
async def test_wrong_rules_are_refused(alice: Device, path: str, body: Any) -> None:
    status, _ = await alice.ask("PUT", GLOBAL + path, body)
    assert status == 400


async def test_a_change_is_shown_to_the_other_clients(served: Served, alice: Device) -> None:
    after = served.database.position
    await alice.put(f"{GLOBAL}/room/!r:x", {"actions": []})
    changed = served.database.read(
        lambda view: account_data.account_data_since(view, ALICE, after, served.database.position)
    )
    assert [one.type for one in changed] == ["m.push_rules"]


async def test_fresh_defaults_arrive_and_what_was_chosen_stays(served: Served) -> None:
    def forget_one(ruleset: Any) -> Any:
        chosen = editing.enable(ruleset, "underride", ".m.rule.message", is_enabled=False)
        mine = editing.put(chosen, "override", "mine", {"actions": []}, rules.Place())
        return mine | {"override": [one for one in mine["override"] if "edits" not in str(one)]}

    before = served.database.read(lambda view: rules.load_rules(view, ALICE))
    await served.database.write(
        lambda work: account_data.save_account_data(
            work, ALICE, None, "m.push_rules", {"global": forget_one(before)}
        )
    )
    await served.database.write(rules.refresh_defaults)
    after = served.database.read(lambda view: rules.load_rules(view, ALICE))
    assert [rule["rule_id"] for rule in after["override"]][:2] == [".m.rule.master", "mine"]
    assert editing.find(after, "override", ".m.rule.suppress_edits")
    assert editing.find(after, "underride", ".m.rule.message")["enabled"] is False

    position = served.database.position
    await served.database.write(rules.refresh_defaults)
    assert served.database.position == position
