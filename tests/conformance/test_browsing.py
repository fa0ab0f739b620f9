"""Spaces, directories, rooms seen from outside, threads, relations, rooms in time."""

from typing import Any

import pytest

from tests.conformance.device import Device, part
from tests.conformance.test_membership import is_invited, until

FORBIDDEN = (403, "M_FORBIDDEN")
INVALID_PARAM = (400, "M_INVALID_PARAM")
NOT_FOUND = (404, "M_NOT_FOUND")
V1 = "/_matrix/client/v1"


def tree(device: Device, room_id: str, **query: Any) -> list[str]:
    """The whole tree under a space, page by page."""
    found: list[str] = []
    path = f"{V1}/rooms/{part(room_id)}/hierarchy"
    while True:
        page = device.call("GET", path, **query)
        found += [room["room_id"] for room in page["rooms"]]
        if "next_batch" not in page:
            return found
        query["from"] = page["next_batch"]


def space(device: Device, *children: str, **wish: Any) -> str:
    room_id = device.create_room(creation_content={"type": "m.space"}, **wish)
    for number, child in enumerate(children):
        content = {"via": [device.server_name], "order": f"{number:03}"}
        device.put_state(room_id, "m.space.child", content, child)
    return room_id


def test_a_tree_of_rooms(alice: Device) -> None:
    leaves = [alice.create_room(name=f"Leaf {number}") for number in range(3)]
    branch = space(alice, leaves[2], name="Branch")
    root = space(alice, leaves[1], branch, leaves[0], "!nowhere:elsewhere.org")
    alice.put_state(root, "m.space.child", {"order": "0"}, "!no_via:elsewhere.org")
    whole = [root, leaves[1], branch, leaves[2], leaves[0]]
    assert tree(alice, root) == whole
    for limit in (1, 2, 3):
        assert tree(alice, root, limit=limit) == whole
    assert tree(alice, root, max_depth=1) == [root, leaves[1], branch, leaves[0]]
    assert tree(alice, root, max_depth=0) == [root]
    suggested = {"via": [alice.server_name], "suggested": True}
    alice.put_state(root, "m.space.child", suggested, leaves[0])
    assert tree(alice, root, suggested_only="true") == [root, leaves[0]]
    path = f"{V1}/rooms/{part(root)}/hierarchy"
    first = alice.call("GET", path, limit=1)
    shown = first["rooms"][0]
    assert shown["room_type"] == "m.space"
    assert shown["room_version"] == "12"
    assert {child["state_key"] for child in shown["children_state"]} >= {branch, *leaves[:2]}
    token = {"from": first["next_batch"]}
    assert alice.refused("GET", path, suggested_only="true", **token) == INVALID_PARAM
    assert alice.refused("GET", path, max_depth=1, **token) == INVALID_PARAM
    assert alice.refused("GET", path, **{"from": "nonsense"}) == INVALID_PARAM
    assert alice.refused("GET", path, limit=0) == INVALID_PARAM


def test_a_tree_that_bites_its_tail_ends(alice: Device) -> None:
    root = space(alice)
    branch = space(alice, root)
    alice.put_state(root, "m.space.child", {"via": [alice.server_name]}, branch)
    assert tree(alice, root) == [root, branch]


def test_a_tree_on_another_server(alice: Device, bob: Device) -> None:
    public = bob.create_room(preset="public_chat", name="Plaza")
    secret = bob.create_room(name="Vault")
    inner = space(bob, bob.create_room(preset="public_chat"), preset="public_chat")
    root = space(bob, public, secret, inner, preset="public_chat")
    mine = space(alice)
    alice.put_state(mine, "m.space.child", {"via": [bob.server_name]}, root)
    seen = tree(alice, mine)
    assert seen[:3] == [mine, root, public]
    assert len(seen) == 5
    assert secret not in seen
    assert alice.refused("GET", f"{V1}/rooms/{part(secret)}/hierarchy") == FORBIDDEN
    assert alice.refused("GET", f"{V1}/rooms/{part('!x:elsewhere.org')}/hierarchy") == FORBIDDEN


def test_a_room_seen_from_outside(alice: Device, bob: Device) -> None:
    wish = {"preset": "public_chat", "name": "Plaza", "topic": "open", "room_alias_name": "plaza"}
    encryption = {"type": "m.room.encryption", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}
    public = bob.create_room(**wish, initial_state=[encryption])
    path = f"{V1}/room_summary"
    shown = alice.call("GET", f"{path}/{part(public)}", via=bob.server_name)
    assert (shown["name"], shown["topic"], shown["join_rule"]) == ("Plaza", "open", "public")
    assert shown["encryption"] == "m.megolm.v1.aes-sha2"
    assert (shown["num_joined_members"], shown["room_version"]) == (1, "12")
    assert "membership" not in shown
    alias = f"#plaza:{bob.server_name}"
    assert alice.call("GET", f"{path}/{part(alias)}") == shown
    assert bob.call("GET", f"{path}/{part(public)}")["membership"] == "join"

    secret = bob.create_room(name="Vault", invite=[alice.user_id])
    until(lambda: is_invited(alice, secret))
    invited = alice.call("GET", f"{path}/{part(secret)}")
    assert (invited["name"], invited["membership"]) == ("Vault", "invite")
    hidden = bob.create_room()
    for target in (hidden, "!x:elsewhere.org", "#none:elsewhere.org", f"#none:{bob.server_name}"):
        query = {"via": bob.server_name}
        assert alice.refused("GET", f"{path}/{part(target)}", **query) == NOT_FOUND
    assert alice.refused("GET", f"{path}/nonsense") == INVALID_PARAM


def test_another_servers_directory(alice: Device, bob: Device) -> None:
    listed = {bob.create_room(visibility="public", name=f"Stall {number}") for number in range(3)}
    found: list[str] = []
    query: dict[str, Any] = {"server": bob.server_name, "limit": 2}
    while True:
        page = alice.call("GET", "/publicRooms", **query)
        found += [room["room_id"] for room in page["chunk"]]
        if "next_batch" not in page:
            break
        query["since"] = page["next_batch"]
    assert listed <= set(found)
    assert len(found) == len(set(found))
    search = {"filter": {"generic_search_term": "stall 1"}}
    answer = alice.ask("POST", f"/publicRooms?server={bob.server_name}", search)
    assert [room["name"] for room in answer.json["chunk"]] == ["Stall 1"]
    assert alice.refused("GET", "/publicRooms", since="nonsense") == INVALID_PARAM
    path = f"/directory/list/appservice/irc/{part(next(iter(listed)))}"
    assert alice.refused("PUT", path, {"visibility": "public"}) == FORBIDDEN


def reply(device: Device, room_id: str, root: str, text: str, rel_type: str = "m.thread") -> str:
    relation = {"rel_type": rel_type, "event_id": root}
    content = {"msgtype": "m.text", "body": text, "m.relates_to": relation}
    return device.send(room_id, "m.room.message", content)


def test_threads(alice: Device, bob: Device) -> None:
    room_id = alice.create_room(preset="public_chat")
    bob.call("POST", f"/join/{part(room_id)}", {}, via=alice.server_name)
    roots = [alice.say(room_id, str(number)) for number in range(3)]
    for number in (0, 2, 1):
        reply(alice, room_id, roots[number], "first")
    last = reply(alice, room_id, roots[0], "second")
    edit = {"rel_type": "m.replace", "event_id": last}
    changed = {"msgtype": "m.text", "body": "2nd"}
    content = changed | {"m.new_content": changed, "m.relates_to": edit}
    edited = alice.send(room_id, "m.room.message", content)
    path = f"{V1}/rooms/{part(room_id)}/threads"
    whole = alice.call("GET", path)
    assert [one["event_id"] for one in whole["chunk"]] == [roots[0], roots[1], roots[2]]
    summary = whole["chunk"][0]["unsigned"]["m.relations"]["m.thread"]
    assert (summary["count"], summary["current_user_participated"]) == (2, True)
    assert summary["latest_event"]["event_id"] == last
    bundled = summary["latest_event"]["unsigned"]["m.relations"]["m.replace"]
    assert bundled["event_id"] == edited
    found, query = [], {"limit": 2}
    while True:
        page = alice.call("GET", path, **query)
        found += [one["event_id"] for one in page["chunk"]]
        if "next_batch" not in page:
            break
        query["from"] = page["next_batch"]
    assert found == [roots[0], roots[1], roots[2]]

    until(lambda: len(bob.call("GET", path)["chunk"]) == 3)
    assert bob.call("GET", path, include="participated")["chunk"] == []
    reply(bob, room_id, roots[2], "mine")
    (own,) = bob.call("GET", path, include="participated")["chunk"]
    assert own["event_id"] == roots[2]
    until(lambda: alice.call("GET", path)["chunk"][0]["event_id"] == roots[2])
    assert len(alice.call("GET", path, include="participated")["chunk"]) == 3
    assert alice.refused("GET", path, include="x") == INVALID_PARAM
    assert alice.refused("GET", path, **{"from": "nonsense"}) == INVALID_PARAM
    assert alice.refused("GET", f"{V1}/rooms/{part('!x:elsewhere.org')}/threads") == FORBIDDEN


def test_relations_and_what_relates_to_them(alice: Device) -> None:
    room_id = alice.create_room()
    root = alice.say(room_id, "root")
    answers = [reply(alice, room_id, root, str(number)) for number in range(4)]
    key = {"rel_type": "m.annotation", "event_id": answers[0], "key": "👍"}
    reaction = alice.send(room_id, "m.reaction", {"m.relates_to": key})
    referring = reply(alice, room_id, root, "see", "m.reference")
    path = f"{V1}/rooms/{part(room_id)}/relations/{part(root)}"

    def shown(suffix: str = "", **query: Any) -> list[str]:
        return [one["event_id"] for one in alice.call("GET", path + suffix, **query)["chunk"]]

    assert shown(limit=50) == [referring, *answers[::-1]]
    assert shown("/m.thread", dir="f") == answers
    assert shown("/m.thread/m.room.message", limit=2) == [answers[3], answers[2]]
    assert shown("/m.thread/m.sticker") == []
    assert shown(limit=50, recurse="true") == [referring, reaction, *answers[::-1]]
    assert shown("/m.annotation", recurse="true") == [reaction]
    assert alice.call("GET", path, recurse="true")["recursion_depth"] == 3
    assert "recursion_depth" not in alice.call("GET", path)
    first = alice.call("GET", path + "/m.thread", dir="f", limit=2)
    assert [one["event_id"] for one in first["chunk"]] == answers[:2]
    token = first["next_batch"]
    assert shown("/m.thread", dir="f", **{"from": token}) == answers[2:]
    assert shown("/m.thread", dir="b", to=token) == answers[:1:-1]
    bundled = alice.call("GET", f"/rooms/{part(room_id)}/event/{part(root)}")["unsigned"]
    assert bundled["m.relations"]["m.reference"] == {"chunk": [{"event_id": referring}]}
    assert alice.refused("GET", path, to="nonsense") == INVALID_PARAM
    nothing = f"{V1}/rooms/{part(room_id)}/relations/$none"
    assert alice.refused("GET", nothing) == NOT_FOUND


def test_an_event_by_its_time(alice: Device, bob: Device) -> None:
    room_id = alice.create_room(preset="public_chat")
    sent = [alice.say(room_id, str(number)) for number in range(3)]
    path = f"{V1}/rooms/{part(room_id)}/timestamp_to_event"

    def time_of(event_id: str) -> int:
        event = alice.call("GET", f"/rooms/{part(room_id)}/event/{part(event_id)}")
        return int(event["origin_server_ts"])

    middle = time_of(sent[1])
    for direction in "fb":
        found = alice.call("GET", path, ts=middle, dir=direction)
        assert found["origin_server_ts"] == middle
    last = alice.call("GET", path, ts=2**50, dir="b")
    assert last == {"event_id": sent[2], "origin_server_ts": time_of(sent[2])}
    assert alice.call("GET", path, ts=0, dir="f")["origin_server_ts"] <= time_of(sent[0])
    assert alice.refused("GET", path, ts=2**50, dir="f") == NOT_FOUND
    assert alice.refused("GET", path, ts=0, dir="b") == NOT_FOUND
    assert alice.refused("GET", path, ts="x", dir="b") == INVALID_PARAM
    assert alice.refused("GET", path, dir="b") == (400, "M_MISSING_PARAM")
    bob.call("POST", f"/join/{part(room_id)}", {}, via=alice.server_name)
    found = bob.call("GET", path, ts=middle, dir="b")  # from before he came
    assert found["origin_server_ts"] == middle
    context = f"/rooms/{part(room_id)}/context/{part(found['event_id'])}"
    assert bob.call("GET", context)["event"]["event_id"] == found["event_id"]


def test_one_room_at_once(alice: Device) -> None:
    room_id = alice.create_room(name="Attic", visibility="public")
    sent = [alice.say(room_id, str(number)) for number in range(3)]
    alice.call("PUT", f"/user/{alice.me}/rooms/{part(room_id)}/tags/u.x", {})
    shown = alice.call("GET", f"/rooms/{part(room_id)}/initialSync", limit=2)
    assert (shown["membership"], shown["visibility"]) == ("join", "public")
    assert [one["event_id"] for one in shown["messages"]["chunk"]] == sent[1:]
    assert {"m.room.name", "m.room.member"} <= {one["type"] for one in shown["state"]}
    assert [one["type"] for one in shown["account_data"]] == ["m.tag"]
    page = f"/rooms/{part(room_id)}/messages"
    earlier = alice.call("GET", page, dir="b", limit=1, **{"from": shown["messages"]["start"]})
    assert earlier["chunk"][0]["event_id"] == sent[0]
    nowhere = f"/rooms/{part('!x:elsewhere.org')}/initialSync"
    assert alice.refused("GET", nowhere) == FORBIDDEN


def test_everything_at_once_and_what_comes_next(
    alice: Device, bob: Device, stranger: Device
) -> None:
    past_the_proxy = stranger
    past_the_proxy.token = alice.token
    room_id = alice.create_room()
    invited = bob.create_room(invite=[alice.user_id])
    until(lambda: is_invited(alice, invited))
    left = alice.create_room()
    alice.call("POST", f"/rooms/{part(left)}/leave", {})
    everything = alice.call("GET", "/initialSync", limit=1)
    listed = {one["room_id"]: one for one in everything["rooms"]}
    assert listed[room_id]["membership"] == "join"
    assert listed[invited]["invite"]["content"]["membership"] == "invite"
    assert left not in listed
    # The proxy would look at every room once more.
    archived = past_the_proxy.call("GET", "/initialSync", limit=1, archived="true")["rooms"]
    assert left in {one["room_id"] for one in archived}
    nothing = alice.call("GET", "/events", timeout=0, **{"from": everything["end"]})
    assert nothing["chunk"] == []
    sent = alice.say(room_id, "next")
    following = alice.call("GET", "/events", timeout=5000, **{"from": everything["end"]})
    assert [one["event_id"] for one in following["chunk"]] == [sent]
    assert alice.call("GET", f"/events/{part(sent)}")["room_id"] == room_id
    assert alice.refused("GET", "/events/$none") == NOT_FOUND
    assert alice.refused("GET", "/events", **{"from": "nonsense"}) == INVALID_PARAM


@pytest.mark.parametrize("body", [{}, {"reason": 1}])
def test_reports_that_say_nothing(alice: Device, body: Any) -> None:
    room_id = alice.create_room()
    for path in (f"/rooms/{part(room_id)}/report", f"/users/{part('@x:elsewhere.org')}/report"):
        assert alice.refused("POST", path, body) == (400, "M_BAD_JSON")


def test_reports(alice: Device) -> None:
    room_id = alice.create_room()
    sent = alice.say(room_id, "shocking")
    room = f"/rooms/{part(room_id)}"
    assert alice.call("POST", f"{room}/report", {"reason": "noise"}) == {}
    assert alice.call("POST", f"{room}/report/{part(sent)}", {"reason": "rude"}) == {}
    assert alice.call("POST", f"/users/{part('@x:elsewhere.org')}/report", {"reason": ""}) == {}
    assert alice.refused("POST", f"{room}/report/$none", {}) == NOT_FOUND
    nowhere = f"/rooms/{part('!x:elsewhere.org')}/report"
    assert alice.refused("POST", nowhere, {"reason": ""}) == NOT_FOUND
    assert alice.refused("POST", f"{nowhere}/{part(sent)}", {"reason": ""}) == NOT_FOUND


def test_rooms_that_two_share(alice: Device, bob: Device) -> None:
    room_id = alice.create_room(preset="public_chat")
    bob.call("POST", f"/join/{part(room_id)}", {}, via=alice.server_name)
    path = f"{V1}/mutual_rooms"
    until(lambda: room_id in alice.call("GET", path, user_id=bob.user_id)["joined"])
    shared = alice.call("GET", path, user_id=bob.user_id)
    assert shared["count"] == len(shared["joined"])
    nobody = alice.call("GET", path, user_id="@nobody:elsewhere.org")
    assert nobody == {"joined": [], "count": 0}
    assert alice.refused("GET", path, user_id=alice.user_id) == INVALID_PARAM
    assert alice.refused("GET", path, user_id="nobody") == INVALID_PARAM
    assert alice.refused("GET", path) == (400, "M_MISSING_PARAM")
    assert alice.refused("GET", path, user_id=bob.user_id, **{"from": "x"}) == INVALID_PARAM
