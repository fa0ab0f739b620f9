"""A forgotten room leaves the disk, and the owner is told what rooms take."""

import json
from typing import Any

from tests.checking_proxy import CheckedServer
from tests.conformance.device import Device, part
from tests.conformance.test_membership import until


def rooms_of(checked: CheckedServer) -> dict[str, Any]:
    listed = json.loads(checked.server.command("rooms", "--json").stdout)
    return {room["room_id"]: room for room in listed}


def test_a_forgotten_room_is_purged(alice: Device, checked: CheckedServer) -> None:
    room_id = alice.create_room(name="Attic")
    for number in range(5):
        alice.say(room_id, str(number))
    shown = rooms_of(checked)[room_id]
    assert (shown["name"], shown["membership"], shown["media"]) == ("Attic", "join", 0)
    assert shown["events"] >= 10
    assert shown["total_bytes"] > 3_000
    alice.call("POST", f"/rooms/{part(room_id)}/leave", {})
    assert rooms_of(checked)[room_id]["membership"] == "leave"
    alice.call("POST", f"/rooms/{part(room_id)}/forget", {})
    until(lambda: room_id not in rooms_of(checked))
    assert alice.refused("GET", f"/rooms/{part(room_id)}/state") == (403, "M_FORBIDDEN")


def test_a_room_is_purged_by_command(alice: Device, checked: CheckedServer) -> None:
    room_id = alice.create_room()
    alice.call("POST", f"/rooms/{part(room_id)}/leave", {})
    checked.server.command("rooms", "purge", room_id)
    assert room_id not in rooms_of(checked)
