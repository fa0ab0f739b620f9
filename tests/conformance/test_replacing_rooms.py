"""Upgrade rooms: what is copied, what moves, what is closed, what follows."""

from typing import Any

import pytest

from tests.conformance.device import Device, part, send_path, state_path
from tests.conformance.test_membership import is_invited, membership, until

FORBIDDEN = (403, "M_FORBIDDEN")


def upgrade(device: Device, room_id: str, version: str, **more: Any) -> str:
    body = {"new_version": version} | more
    answer = device.call("POST", f"/rooms/{part(room_id)}/upgrade", body)
    return str(answer["replacement_room"])


@pytest.mark.parametrize(
    ("before", "after"), [("10", "12"), ("11", "11"), ("12", "12"), ("12", "10")]
)
def test_what_follows_into_the_other_room(alice: Device, before: str, after: str) -> None:
    jar = [
        {"type": "m.room.encryption", "content": {"algorithm": "m.megolm.v1.aes-sha2"}},
        {"type": "org.example", "content": {"stays": "behind"}},
        {"type": "m.room.server_acl", "content": {"allow": ["*"], "deny": ["evil.org"]}},
    ]
    name = f"upgrade{before}to{after}"
    room_id = alice.create_room(
        room_version=before, name="Attic", topic="dust", initial_state=jar, room_alias_name=name
    )
    alice.call("PUT", f"/directory/list/room/{part(room_id)}", {"visibility": "public"})
    other = upgrade(alice, room_id, after)

    tombstone = alice.call("GET", state_path(room_id, "m.room.tombstone"), format="event")
    assert tombstone["content"]["replacement_room"] == other
    create = alice.state(other, "m.room.create")
    assert create["room_version"] == after
    assert create["predecessor"]["room_id"] == room_id
    if after != "12":
        assert create["predecessor"]["event_id"] == tombstone["event_id"]
    for kind in ("m.room.name", "m.room.topic", "m.room.encryption", "m.room.server_acl"):
        assert alice.state(other, kind) == alice.state(room_id, kind)
    assert alice.refused("GET", state_path(other, "org.example")) == (404, "M_NOT_FOUND")
    alias = f"#{name}:{alice.server_name}"
    assert alice.call("GET", f"/directory/room/{part(alias)}")["room_id"] == other
    assert alice.state(other, "m.room.canonical_alias") == {"alias": alias}
    assert alice.state(room_id, "m.room.canonical_alias") == {}
    for place, shown in ((other, "public"), (room_id, "private")):
        listed = alice.call("GET", f"/directory/list/room/{part(place)}")
        assert listed == {"visibility": shown}
    users = alice.state(other, "m.room.power_levels")["users"]
    assert (alice.user_id in users) == (after != "12")
    quiet = alice.state(room_id, "m.room.power_levels")
    assert (quiet["events_default"], quiet["invite"]) == (50, 50)
    alice.put_state(other, "m.room.name", {"name": "Cellar"})
    alice.say(other, "here we are")


def test_a_space_keeps_its_children_and_its_kind(alice: Device, bob: Device) -> None:
    space = alice.create_room(creation_content={"type": "m.space"})
    child = alice.create_room()
    alice.put_state(space, "m.space.child", {"via": [alice.server_name]}, child)
    alice.call("POST", f"/rooms/{part(space)}/ban", {"user_id": bob.user_id, "reason": "no"})
    other = upgrade(alice, space, "11")
    assert alice.state(other, "m.room.create")["type"] == "m.space"
    assert alice.state(other, "m.space.child", child) == {"via": [alice.server_name]}
    banned = alice.state(other, "m.room.member", bob.user_id)
    assert (banned["membership"], banned["reason"]) == ("ban", "no")


def test_further_creators_are_named_anew(alice: Device, bob: Device) -> None:
    room_id = alice.create_room(
        room_version="12", preset="trusted_private_chat", invite=[bob.user_id]
    )
    assert alice.state(room_id, "m.room.create")["additional_creators"] == [bob.user_id]
    assert "additional_creators" not in alice.state(upgrade(alice, room_id, "12"), "m.room.create")
    other = upgrade(alice, alice.create_room(), "12", additional_creators=[bob.user_id])
    assert alice.state(other, "m.room.create")["additional_creators"] == [bob.user_id]
    ignored = upgrade(alice, alice.create_room(), "11", additional_creators=[bob.user_id])
    assert "additional_creators" not in alice.state(ignored, "m.room.create")


def test_upgrades_that_are_refused(alice: Device, bob: Device) -> None:
    room_id = alice.create_room(preset="public_chat", room_version="11")
    path = f"/rooms/{part(room_id)}/upgrade"
    unknown = (400, "M_UNSUPPORTED_ROOM_VERSION")
    assert alice.refused("POST", path, {"new_version": "unicorn"}) == unknown
    assert alice.refused("POST", path, {"new_version": 11}) == (400, "M_BAD_JSON")
    assert alice.refused("POST", path, {}) == (400, "M_BAD_JSON")
    wrong = {"new_version": "12", "additional_creators": ["bob"]}
    assert alice.refused("POST", path, wrong) == (400, "M_INVALID_PARAM")
    nowhere = f"/rooms/{part('!x:elsewhere.org')}/upgrade"
    assert alice.refused("POST", nowhere, {"new_version": "11"}) == FORBIDDEN
    assert bob.refused("POST", path, {"new_version": "11"}) == FORBIDDEN
    bob.call("POST", f"/join/{part(room_id)}", {}, via=alice.server_name)
    assert bob.refused("POST", path, {"new_version": "11"}) == FORBIDDEN
    assert alice.ask("GET", state_path(room_id, "m.room.tombstone")).status == 404


def test_settings_follow_whoever_joins(alice: Device, bob: Device) -> None:
    room_id = alice.create_room(preset="public_chat")
    bob.call("POST", f"/join/{part(room_id)}", {}, via=alice.server_name)
    bob.call("PUT", f"/user/{bob.me}/rooms/{part(room_id)}/tags/m.favourite", {"order": 0.5})
    rule = {
        "actions": [],
        "conditions": [{"kind": "event_match", "key": "room_id", "pattern": room_id}],
    }
    bob.call("PUT", f"/pushrules/global/room/{part(room_id)}", {"actions": ["notify"]})
    bob.call("PUT", f"/pushrules/global/override/{part(room_id)}", rule)
    bob.call("PUT", f"/user/{bob.me}/account_data/m.direct", {alice.user_id: [room_id]})
    other = upgrade(alice, room_id, "12")
    until(lambda: bob.ask("GET", state_path(room_id, "m.room.tombstone")).status == 200)
    bob.call("POST", f"/join/{part(other)}", {}, via=alice.server_name)
    until(lambda: membership(alice, other, bob) == "join")

    tags = bob.call("GET", f"/user/{bob.me}/rooms/{part(other)}/tags")["tags"]
    assert tags == {"m.favourite": {"order": 0.5}}
    for kind in ("room", "override"):
        assert bob.call("GET", f"/pushrules/global/{kind}/{part(other)}")["enabled"] is True
    copied = bob.call("GET", f"/pushrules/global/override/{part(other)}")
    assert copied["conditions"][0]["pattern"] == other
    direct = bob.call("GET", f"/user/{bob.me}/account_data/m.direct")
    assert direct[alice.user_id] == [room_id, other]
    assert bob.refused("PUT", send_path(room_id, "m.room.message"), {}) == FORBIDDEN  # it is closed
    assert not is_invited(bob, other)
