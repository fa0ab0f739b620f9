"""Typing, receipts, read markers, presence."""

from typing import Any

from tests.conformance.device import Device, part

FORBIDDEN = (403, "M_FORBIDDEN")
BAD_JSON = (400, "M_BAD_JSON")
INVALID_PARAM = (400, "M_INVALID_PARAM")
NOWHERE = part("!nowhere:elsewhere.org")


def ephemeral(device: Device, room_id: str) -> dict[str, Any]:
    """What is said beside a room's timeline, by type."""
    room = device.sync(wanted={"room": {"rooms": [room_id]}})["rooms"]["join"][room_id]
    return {one["type"]: one["content"] for one in room.get("ephemeral", {}).get("events", [])}


def test_typing(alice: Device, bob: Device) -> None:
    room_id = alice.create_room()
    path = f"/rooms/{part(room_id)}/typing/{alice.me}"
    alice.call("PUT", path, {"typing": True, "timeout": 30_000})
    assert ephemeral(alice, room_id)["m.typing"] == {"user_ids": [alice.user_id]}
    alice.call("PUT", path, {"typing": False})
    assert ephemeral(alice, room_id).get("m.typing", {"user_ids": []}) == {"user_ids": []}
    for body in ({}, {"typing": "yes"}, {"typing": 1}, {"typing": True, "timeout": "5"}):
        assert alice.refused("PUT", path, body) == BAD_JSON
    theirs = f"/rooms/{part(room_id)}/typing/{bob.me}"
    assert alice.refused("PUT", theirs, {"typing": True}) == FORBIDDEN
    elsewhere = f"/rooms/{NOWHERE}/typing/{alice.me}"
    assert alice.refused("PUT", elsewhere, {"typing": True}) == FORBIDDEN


def test_receipts(alice: Device, bob: Device) -> None:
    room_id = alice.create_room()
    sent = [alice.say(room_id, str(number)) for number in range(3)]
    room = f"/rooms/{part(room_id)}"

    def receipt(kind: str, event_id: str) -> str:
        return f"{room}/receipt/{kind}/{part(event_id)}"

    alice.call("POST", receipt("m.read", sent[0]), {})
    alice.call("POST", receipt("m.read", sent[1]))  # no body at all
    alice.call("POST", receipt("m.read.private", sent[2]), {"thread_id": "main"})
    alice.call("POST", receipt("m.fully_read", sent[1]), {})
    shown = ephemeral(alice, room_id)["m.receipt"]
    assert set(shown) == {sent[1], sent[2]}
    assert shown[sent[2]]["m.read.private"][alice.user_id]["thread_id"] == "main"
    marker = alice.call("GET", f"/user/{alice.me}/rooms/{part(room_id)}/account_data/m.fully_read")
    assert marker == {"event_id": sent[1]}
    markers = {"m.fully_read": sent[2], "m.read": sent[2], "m.read.private": sent[2]}
    alice.call("POST", f"{room}/read_markers", markers)
    assert set(ephemeral(alice, room_id)["m.receipt"]) == {sent[2]}
    alice.call("POST", f"{room}/read_markers", {})
    for kind, body in (
        ("m.unknown", {}),
        ("m.read", {"thread_id": ""}),
        ("m.read", {"thread_id": 1}),
        ("m.fully_read", {"thread_id": "main"}),
    ):
        assert alice.refused("POST", receipt(kind, sent[0]), body) == INVALID_PARAM
    assert alice.refused("POST", f"{room}/read_markers", {"m.read": 1}) == BAD_JSON
    assert alice.refused("POST", f"/rooms/{NOWHERE}/receipt/m.read/$x", {}) == FORBIDDEN


def test_a_receipt_for_a_thread_is_about_an_event_in_it(alice: Device) -> None:
    room_id = alice.create_room()
    root, other = alice.say(room_id, "root"), alice.say(room_id, "other")

    def relate(rel_type: str, target: str) -> str:
        relation = {"rel_type": rel_type, "event_id": target}
        return alice.send(room_id, "org.example", {"m.relates_to": relation})

    inside = relate("m.thread", root)
    below, beside = relate("m.reference", inside), relate("m.reference", root)
    for event_id, thread_id, is_in_it in (
        (inside, root, True),
        (below, root, True),
        (root, root, True),
        (root, "main", True),
        (beside, "main", True),
        (other, "main", True),
        (other, root, False),
        (inside, other, False),
        (inside, "main", False),
        (below, "main", False),
    ):
        path = f"/rooms/{part(room_id)}/receipt/m.read/{part(event_id)}"
        reply = alice.ask("POST", path, {"thread_id": thread_id})
        assert reply.json == {} if is_in_it else reply.refusal == INVALID_PARAM


def test_presence(alice: Device, bob: Device) -> None:
    mine = f"/presence/{alice.me}/status"
    alice.call("PUT", mine, {"presence": "unavailable", "status_msg": "out"})
    assert alice.call("GET", mine)["presence"] in ("unavailable", "online")
    assert alice.refused("PUT", mine, {"presence": "x"}) == INVALID_PARAM
    assert alice.refused("PUT", mine, {}) == BAD_JSON
    theirs = f"/presence/{bob.me}/status"
    assert alice.refused("PUT", theirs, {"presence": "online"}) == FORBIDDEN
    unknown = alice.refused("GET", f"/presence/{part('@x:elsewhere.org')}/status")
    assert unknown == (404, "M_NOT_FOUND")
