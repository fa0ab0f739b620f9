"""Who is in a room, and what is left to those who are not any more. Bob lives on another server."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.conformance.device import Device, part, send_path, state_path

FORBIDDEN = (403, "M_FORBIDDEN")


def until(condition: Callable[[], Any]) -> None:
    """Wait for what crosses between two servers."""
    limit = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < limit, "it did not arrive"
        time.sleep(0.05)


def membership(seen_by: Device, room_id: str, of: Device) -> str | None:
    reply = seen_by.ask("GET", state_path(room_id, "m.room.member", of.user_id))
    return reply.json["membership"] if reply.status == 200 else None


def is_invited(device: Device, room_id: str) -> bool:
    return room_id in device.sync().get("rooms", {}).get("invite", {})


def about(device: Device, **more: Any) -> dict[str, Any]:
    return {"user_id": device.user_id} | more


@pytest.fixture
def shared(alice: Device, bob: Device) -> str:
    """A room of Alice's that Bob has joined."""
    room_id = alice.create_room(preset="public_chat", name="Before", invite=[bob.user_id])
    until(lambda: is_invited(bob, room_id))
    bob.call("POST", f"/join/{part(room_id)}", {})
    until(lambda: membership(alice, room_id, bob) == "join")
    return room_id


def test_an_invitation(alice: Device, bob: Device) -> None:
    room_id = alice.create_room(name="Parlour")
    invite = f"/rooms/{part(room_id)}/invite"
    assert alice.refused("POST", invite, about(alice)) == FORBIDDEN
    assert alice.refused("POST", invite, {}) == (400, "M_BAD_JSON")
    assert alice.refused("POST", invite, about(bob, reason=1)) == (400, "M_BAD_JSON")
    for nobody in ("bob", "@bob", "bob:elsewhere"):
        assert alice.refused("POST", invite, {"user_id": nobody}) == (400, "M_INVALID_PARAM")
    stranger = {"user_id": "@bob:elsewhere.org"}
    assert alice.refused("POST", invite, stranger) == FORBIDDEN  # we are not connected
    alice.call("POST", invite, about(bob, reason="come"))
    until(lambda: is_invited(bob, room_id))
    shown = bob.sync()["rooms"]["invite"][room_id]["invite_state"]["events"]
    assert {"m.room.create", "m.room.name", "m.room.member"} <= {one["type"] for one in shown}
    room = f"/rooms/{part(room_id)}"
    for path in ("state", "messages?dir=b", "members", "joined_members"):
        assert bob.refused("GET", f"{room}/{path}") == FORBIDDEN
    assert bob.refused("PUT", send_path(room_id, "m.room.message"), {}) == FORBIDDEN
    bob.call("POST", f"{room}/leave", {})
    until(lambda: membership(alice, room_id, bob) == "leave")
    assert not is_invited(bob, room_id)


def test_joining_twice_is_joining_once(alice: Device, bob: Device, shared: str) -> None:
    path = state_path(shared, "m.room.member", bob.user_id)
    first = bob.call("GET", path, format="event")["event_id"]
    for way in (f"/join/{part(shared)}", f"/rooms/{part(shared)}/join"):
        assert bob.call("POST", way, {"reason": "again"}) == {"room_id": shared}
    assert bob.call("GET", path, format="event")["event_id"] == first
    assert bob.call("PUT", path, bob.call("GET", path))["event_id"] == first
    invite = f"/rooms/{part(shared)}/invite"
    assert alice.refused("POST", invite, about(bob)) == FORBIDDEN  # he is there


def test_power_is_needed(alice: Device, bob: Device, shared: str) -> None:
    room = f"/rooms/{part(shared)}"
    for verb in ("kick", "ban", "unban"):
        assert bob.refused("POST", f"{room}/{verb}", about(alice)) == FORBIDDEN
    for event_type in ("m.room.name", "m.room.power_levels", "org.example"):
        assert bob.refused("PUT", state_path(shared, event_type), {}) == FORBIDDEN
    hers = alice.say(shared, "mine")
    until(lambda: bob.ask("GET", f"{room}/event/{part(hers)}").status == 200)
    assert bob.refused("PUT", f"{room}/redact/{part(hers)}/t", {}) == FORBIDDEN
    for verb, refusal in (("kick", FORBIDDEN), ("unban", FORBIDDEN)):
        nobody = {"user_id": "@nobody:elsewhere.org"}
        assert alice.refused("POST", f"{room}/{verb}", nobody) == refusal
        assert alice.refused("POST", f"{room}/{verb}", {"user_id": 1}) == (400, "M_BAD_JSON")
        assert alice.refused("POST", f"{room}/{verb}", {"user_id": "x"}) == (400, "M_INVALID_PARAM")


def test_after_leaving_time_stands_still(alice: Device, bob: Device, shared: str) -> None:
    room = f"/rooms/{part(shared)}"
    assert bob.refused("POST", f"{room}/forget", {}) == (400, "M_UNKNOWN")  # he is there
    before = alice.say(shared, "for Bob, too")
    until(lambda: bob.ask("GET", f"{room}/event/{part(before)}").status == 200)
    since = bob.next_batch()
    alice.call("POST", f"{room}/kick", about(bob, reason="out"))
    until(lambda: membership(bob, shared, bob) == "leave")
    left = bob.sync(since)["rooms"]["leave"][shared]
    assert left["timeline"]["events"][-1]["content"] == {"membership": "leave", "reason": "out"}
    after = alice.say(shared, "without Bob")
    alice.put_state(shared, "m.room.name", {"name": "After"})
    assert alice.refused("POST", f"{room}/kick", about(bob)) == FORBIDDEN  # he is gone

    assert bob.state(shared, "m.room.name") == {"name": "Before"}
    state = {(one["type"], one["state_key"]): one for one in bob.call("GET", f"{room}/state")}
    assert state["m.room.name", ""]["content"] == {"name": "Before"}
    members = bob.call("GET", f"{room}/members")["chunk"]
    assert {one["state_key"]: one["content"]["membership"] for one in members} == {
        alice.user_id: "join",
        bob.user_id: "leave",
    }
    for direction in "bf":
        page = bob.call("GET", f"{room}/messages", dir=direction, limit=100)["chunk"]
        seen = [one["event_id"] for one in page]
        assert before in seen
        assert after not in seen
    assert bob.refused("GET", f"{room}/event/{part(after)}") == (404, "M_NOT_FOUND")
    assert bob.refused("GET", f"{room}/joined_members") == FORBIDDEN
    assert bob.refused("PUT", send_path(shared, "m.room.message"), {}) == FORBIDDEN
    assert shared not in bob.call("GET", "/joined_rooms")["joined_rooms"]
    assert shared not in bob.sync().get("rooms", {}).get("leave", {})
    assert shared in bob.sync(wanted={"room": {"include_leave": True}})["rooms"]["leave"]

    bob.call("POST", f"{room}/forget", {})
    bob.call("POST", f"{room}/leave", {})
    for path in ("state", "messages?dir=b", "members"):
        assert bob.refused("GET", f"{room}/{path}") == FORBIDDEN
    left = bob.sync(wanted={"room": {"include_leave": True}}).get("rooms", {})
    assert shared not in left.get("leave", {})


def test_a_ban(alice: Device, bob: Device, shared: str) -> None:
    room = f"/rooms/{part(shared)}"
    alice.call("POST", f"{room}/ban", about(bob, reason="enough"))
    until(lambda: membership(bob, shared, bob) == "ban")
    by_alice = {"via": alice.server_name}
    assert alice.refused("POST", f"{room}/invite", about(bob)) == FORBIDDEN
    assert bob.refused("POST", f"/join/{part(shared)}", {}, **by_alice) == FORBIDDEN
    alice.call("POST", f"{room}/unban", about(bob))
    assert alice.refused("POST", f"{room}/unban", about(bob)) == FORBIDDEN
    bob.call("POST", f"/join/{part(shared)}", {}, **by_alice)
    until(lambda: membership(alice, shared, bob) == "join")


def test_members_by_membership(alice: Device, bob: Device, shared: str) -> None:
    members = f"/rooms/{part(shared)}/members"

    def shown(**query: str) -> set[str]:
        return {one["state_key"] for one in alice.call("GET", members, **query)["chunk"]}

    assert shown() == shown(membership="join") == {alice.user_id, bob.user_id}
    assert shown(not_membership="join") == shown(membership="ban") == set()
    assert alice.refused("GET", members, at="nonsense") == (400, "M_INVALID_PARAM")
    joined = alice.call("GET", f"/rooms/{part(shared)}/joined_members")["joined"]
    assert set(joined) == {alice.user_id, bob.user_id}


def test_rooms_that_cannot_be_found(alice: Device) -> None:
    for target, refusal in (
        ("nonsense", (400, "M_INVALID_PARAM")),
        ("!nowhere:elsewhere.org", FORBIDDEN),
        ("#nowhere:elsewhere.org", (404, "M_NOT_FOUND")),
        (f"#nowhere:{alice.server_name}", (404, "M_NOT_FOUND")),
    ):
        assert alice.refused("POST", f"/join/{part(target)}", {}) == refusal
        assert alice.refused("POST", f"/knock/{part(target)}", {}) == refusal
    bad_way = alice.refused("POST", "/join/!x:elsewhere.org?via=no%20server", {})
    assert bad_way == (400, "M_INVALID_PARAM")
    nowhere = f"/rooms/{part('!x:elsewhere.org')}"
    assert alice.refused("POST", f"{nowhere}/leave", {}) == FORBIDDEN
    assert alice.refused("POST", f"{nowhere}/forget", {})[0] in (400, 404)


def test_a_knock_that_is_answered_and_one_that_is_taken_back(alice: Device, bob: Device) -> None:
    jar = [{"type": "m.room.join_rules", "content": {"join_rule": "knock"}}]
    room_id = alice.create_room(name="Study", initial_state=jar)
    room, by_alice = f"/rooms/{part(room_id)}", {"via": alice.server_name}
    assert bob.refused("POST", f"/join/{part(room_id)}", {}, **by_alice) == FORBIDDEN
    knock = f"/knock/{part(room_id)}"
    assert bob.call("POST", knock, {"reason": "hello?"}, **by_alice) == {"room_id": room_id}
    shown = bob.sync()["rooms"]["knock"][room_id]["knock_state"]["events"]
    assert "m.room.name" in {one["type"] for one in shown}
    until(lambda: membership(alice, room_id, bob) == "knock")
    bob.call("POST", f"{room}/leave", {})
    until(lambda: membership(alice, room_id, bob) == "leave")
    bob.call("POST", knock, {}, **by_alice)
    until(lambda: membership(alice, room_id, bob) == "knock")
    alice.call("POST", f"{room}/invite", about(bob))
    until(lambda: is_invited(bob, room_id))
    bob.call("POST", f"{room}/join", {})
    until(lambda: membership(alice, room_id, bob) == "join")
    assert bob.refused("POST", knock, {}, **by_alice) == FORBIDDEN  # he is in
    closed = alice.create_room()
    assert bob.refused("POST", f"/knock/{part(closed)}", {}, **by_alice) == FORBIDDEN


def test_coming_back_after_all(alice: Device, bob: Device, shared: str) -> None:
    room = f"/rooms/{part(shared)}"
    said = alice.say(shared, "before you went")
    for _ in range(2):
        bob.call("POST", f"{room}/leave", {"reason": "later"})
        until(lambda: membership(alice, shared, bob) == "leave")
        bob.call("POST", f"{room}/forget", {})
        alice.call("POST", f"{room}/invite", about(bob))
        until(lambda: is_invited(bob, shared))
        bob.call("POST", f"{room}/join", {})
        until(lambda: membership(alice, shared, bob) == "join")
    until(lambda: bob.ask("GET", f"{room}/joined_members").status == 200)
    seen = bob.call("GET", f"{room}/messages", dir="b", limit=100)["chunk"]
    assert said in [one["event_id"] for one in seen]
    now = alice.say(shared, "welcome back")
    until(lambda: bob.ask("GET", f"{room}/event/{part(now)}").status == 200)


def test_knocking_and_joining_at_a_room_that_another_server_made(
    alice: Device, bob: Device
) -> None:
    jar = [{"type": "m.room.join_rules", "content": {"join_rule": "knock"}}]
    room_id = bob.create_room(initial_state=jar)
    room, by_bob = f"/rooms/{part(room_id)}", {"via": bob.server_name}
    assert alice.call("POST", f"/knock/{part(room_id)}", {}, **by_bob) == {"room_id": room_id}
    until(lambda: membership(bob, room_id, alice) == "knock")
    bob.call("POST", f"{room}/invite", about(alice))
    until(lambda: is_invited(alice, room_id))
    assert alice.call("POST", f"{room}/join", {}) == {"room_id": room_id}
    assert alice.call("POST", f"/join/{part(room_id)}", {}) == {"room_id": room_id}
    state = {(one["type"], one["state_key"]) for one in alice.call("GET", f"{room}/state")}
    assert ("m.room.member", alice.user_id) in state
    assert alice.call("GET", f"{room}/aliases") == {"aliases": []}
