"""What servers often get wrong in rooms, one test for each that has none elsewhere."""

from typing import Any

import pytest

from tests.conformance.device import Device, part, send_path, state_path
from tests.conformance.test_membership import is_invited, membership, until

FORBIDDEN = (403, "M_FORBIDDEN")
NOT_FOUND = (404, "M_NOT_FOUND")


def member_event(seen_by: Device, room_id: str, user_id: str) -> Any:
    return seen_by.call("GET", state_path(room_id, "m.room.member", user_id), format="event")


def test_the_same_number_and_truth_are_not_the_same_state(alice: Device) -> None:
    room_id = alice.create_room()
    first = alice.put_state(room_id, "org.example", {"a": 1})
    assert alice.put_state(room_id, "org.example", {"a": True}) != first
    assert alice.state(room_id, "org.example") == {"a": True}


def test_a_repeated_invitation_or_ban_is_the_first_one(alice: Device, bob: Device) -> None:
    room_id = alice.create_room()
    room = f"/rooms/{part(room_id)}"
    for verb in ("invite", "ban"):
        body = {"user_id": bob.user_id, "reason": "so"}
        alice.call("POST", f"{room}/{verb}", body)
        first = member_event(alice, room_id, bob.user_id)
        alice.call("POST", f"{room}/{verb}", body)
        assert member_event(alice, room_id, bob.user_id)["event_id"] == first["event_id"]
        path = state_path(room_id, "m.room.member", bob.user_id)
        assert alice.call("PUT", path, first["content"])["event_id"] == first["event_id"]
        alice.call("POST", f"{room}/{verb}", {"user_id": bob.user_id, "reason": "other"})
        assert member_event(alice, room_id, bob.user_id)["event_id"] != first["event_id"]


def test_whoever_is_there_is_not_invited_again(alice: Device, bob: Device) -> None:
    room_id = alice.create_room(preset="public_chat")
    bob.call("POST", f"/join/{part(room_id)}", {}, via=alice.server_name)
    until(lambda: membership(alice, room_id, bob) == "join")
    invite = f"/rooms/{part(room_id)}/invite"
    assert alice.refused("POST", invite, {"user_id": bob.user_id}) == FORBIDDEN
    assert alice.refused("POST", invite, {"user_id": alice.user_id}) == FORBIDDEN
    assert alice.refused("POST", "/createRoom", {"invite": [alice.user_id]}) == FORBIDDEN


def test_nobody_is_invited_by_address(alice: Device) -> None:
    room_id = alice.create_room()
    address = {
        "medium": "email",
        "address": "b@example.org",
        "id_server": "x",
        "id_access_token": "y",
    }
    refusal = alice.ask("POST", f"/rooms/{part(room_id)}/invite", address)
    assert refusal.refusal == (400, "M_INVALID_PARAM")
    assert "user ID" in refusal.json["error"]
    assert alice.refused("POST", "/createRoom", {"invite_3pid": [address]})[0] == 400


def test_a_deleted_alias_is_struck_from_the_rooms_own_list(alice: Device) -> None:
    room_id = alice.create_room()
    names = [f"#struck{number}:{alice.server_name}" for number in range(3)]
    for name in names:
        alice.call("PUT", f"/directory/room/{part(name)}", {"room_id": room_id})
    alice.put_state(
        room_id, "m.room.canonical_alias", {"alias": names[0], "alt_aliases": names[1:]}
    )
    alice.call("DELETE", f"/directory/room/{part(names[1])}")
    left = {"alias": names[0], "alt_aliases": [names[2]]}
    assert alice.state(room_id, "m.room.canonical_alias") == left
    alice.call("DELETE", f"/directory/room/{part(names[0])}")
    assert alice.state(room_id, "m.room.canonical_alias") == {"alt_aliases": [names[2]]}


@pytest.mark.parametrize("setting", ["joined", "invited"])
def test_what_was_said_before_somebody_came_is_not_there(
    alice: Device, bob: Device, setting: str
) -> None:
    visibility = [{"type": "m.room.history_visibility", "content": {"history_visibility": setting}}]
    room_id = alice.create_room(preset="public_chat", initial_state=visibility)
    before = alice.say(room_id, "among us")
    bob.call("POST", f"/join/{part(room_id)}", {}, via=alice.server_name)
    after = alice.say(room_id, "welcome")
    room = f"/rooms/{part(room_id)}"
    until(lambda: bob.ask("GET", f"{room}/event/{part(after)}").status == 200)
    for place in ("event", "context"):
        assert bob.refused("GET", f"{room}/{place}/{part(before)}") == NOT_FOUND
    seen = bob.call("GET", f"{room}/messages", dir="b", limit=100)["chunk"]
    assert before not in [one["event_id"] for one in seen]


def test_what_is_told_around_an_event(alice: Device, bob: Device, log_in: Any) -> None:
    laptop = log_in(device_id="ASIDE")
    room_id = alice.create_room(preset="public_chat")
    first = alice.put_state(room_id, "m.room.topic", {"topic": "1"})
    alice.put_state(room_id, "m.room.topic", {"topic": "2"})
    topic = alice.call("GET", state_path(room_id, "m.room.topic"), format="event")
    assert topic["unsigned"]["replaces_state"] == first
    assert topic["unsigned"]["prev_content"] == {"topic": "1"}
    sent = alice.send(room_id, "m.room.message", {"msgtype": "m.text", "body": "x"}, "once")
    path = f"/rooms/{part(room_id)}/event/{part(sent)}"
    mine = alice.call("GET", path)["unsigned"]
    assert (mine["transaction_id"], mine["membership"]) == ("once", "join")
    assert mine["age"] >= 0
    assert "transaction_id" not in laptop.call("GET", path)["unsigned"]
    bob.call("POST", f"/join/{part(room_id)}", {}, via=alice.server_name)
    page = bob.call("GET", f"/rooms/{part(room_id)}/messages", dir="b", limit=50)["chunk"]
    told = {one["event_id"]: one["unsigned"].get("membership") for one in page}
    assert told[sent] in (None, "leave")  # he was not there yet
    assert told[member_event(bob, room_id, bob.user_id)["event_id"]] == "join"


@pytest.mark.parametrize("version", ["10", "11", "12"])
def test_a_redacted_event_keeps_what_its_room_needs(alice: Device, version: str) -> None:
    room_id = alice.create_room(room_version=version, preset="public_chat")
    room = f"/rooms/{part(room_id)}"

    def redacted(event_type: str, state_key: str = "") -> Any:
        path = state_path(room_id, event_type, state_key)
        target = alice.call("GET", path, format="event")["event_id"]
        alice.call("PUT", f"{room}/redact/{part(target)}/{part(event_type)}", {})
        return alice.call("GET", path)

    alice.put_state(room_id, "m.room.join_rules", {"join_rule": "public", "x": 1})
    assert redacted("m.room.join_rules") == {"join_rule": "public"}
    assert redacted("m.room.member", alice.user_id) == {"membership": "join"}
    alice.put_state(room_id, "m.room.topic", {"topic": "secret"})
    assert redacted("m.room.topic") == {}
    before = alice.state(room_id, "m.room.power_levels")
    alice.put_state(room_id, "m.room.power_levels", before | {"notifications": {"room": 20}})
    kept = redacted("m.room.power_levels")
    assert "notifications" not in kept
    assert ("invite" in kept) == (version != "10")
    kept = redacted("m.room.create")
    assert kept == ({"creator": alice.user_id} if version == "10" else {"room_version": version})
    alice.say(room_id, "and life goes on")


@pytest.mark.parametrize("body", [b"[]", b'"x"', b"1", b"null"])
def test_content_is_an_object_everywhere(alice: Device, body: bytes) -> None:
    room_id = alice.create_room()
    target = alice.say(room_id, "x")
    for path in (
        send_path(room_id, "org.example"),
        state_path(room_id, "org.example"),
        f"/rooms/{part(room_id)}/redact/{part(target)}/{body.hex()}",
    ):
        assert alice.refused("PUT", path, body) == (400, "M_BAD_JSON")


def test_members_as_they_were(alice: Device, bob: Device) -> None:
    room_id = alice.create_room(preset="public_chat")
    before = alice.next_batch()
    bob.call("POST", f"/join/{part(room_id)}", {}, via=alice.server_name)
    until(lambda: membership(alice, room_id, bob) == "join")
    members = f"/rooms/{part(room_id)}/members"
    then = alice.call("GET", members, at=before)["chunk"]
    assert [one["state_key"] for one in then] == [alice.user_id]
    now = alice.call("GET", members, at=alice.next_batch())["chunk"]
    assert {one["state_key"] for one in now} == {alice.user_id, bob.user_id}


@pytest.mark.parametrize("rule", ["restricted", "knock_restricted"])
def test_members_of_another_room_come_in_where_somebody_vouches(
    alice: Device, bob: Device, rule: str
) -> None:
    club = alice.create_room(preset="public_chat")
    allow = [{"type": "m.room_membership", "room_id": club}]
    jar = [{"type": "m.room.join_rules", "content": {"join_rule": rule, "allow": allow}}]
    room_id = alice.create_room(initial_state=jar)
    by_alice = {"via": alice.server_name}
    assert bob.refused("POST", f"/join/{part(room_id)}", {}, **by_alice) == FORBIDDEN
    bob.call("POST", f"/join/{part(club)}", {}, **by_alice)
    until(lambda: membership(alice, club, bob) == "join")
    bob.call("POST", f"/join/{part(room_id)}", {}, **by_alice)
    joined = member_event(alice, room_id, bob.user_id)
    assert joined["content"]["join_authorised_via_users_server"] == alice.user_id
    # Another name is another event, for which nobody has vouched.
    bob.call("PUT", f"/profile/{bob.me}/displayname", {"displayname": f"Bob {rule}"})

    def renamed() -> Any:
        return member_event(alice, room_id, bob.user_id)["content"]

    until(lambda: renamed().get("displayname") == f"Bob {rule}")
    assert "join_authorised_via_users_server" not in renamed()


def test_a_server_that_is_shut_out(alice: Device, bob: Device) -> None:
    room_id = alice.create_room(preset="public_chat")
    acl: dict[str, Any] = {"allow": ["*"], "deny": [bob.server_name]}
    own = {"allow": ["*"], "deny": [alice.server_name]}
    path = state_path(room_id, "m.room.server_acl")
    assert alice.refused("PUT", path, own) == (400, "M_INVALID_PARAM")
    assert alice.refused("PUT", path, {"allow": []}) == (400, "M_INVALID_PARAM")
    alice.put_state(room_id, "m.room.server_acl", acl)
    by_alice = {"via": alice.server_name}
    assert bob.refused("POST", f"/join/{part(room_id)}", {}, **by_alice) == FORBIDDEN
    alice.put_state(room_id, "m.room.server_acl", {"allow": ["*"]})
    bob.call("POST", f"/join/{part(room_id)}", {}, **by_alice)
    alice.put_state(room_id, "m.room.server_acl", acl)
    until(lambda: bob.state(room_id, "m.room.server_acl") == acl)
    unheard = bob.say(room_id, "can you hear me?")
    other = alice.create_room(invite=[bob.user_id])
    until(lambda: is_invited(bob, other))
    bob.call("POST", f"/rooms/{part(other)}/leave", {})
    until(lambda: membership(alice, other, bob) == "leave")  # what he said before has arrived, too
    assert alice.refused("GET", f"/rooms/{part(room_id)}/event/{part(unheard)}") == NOT_FOUND


@pytest.mark.parametrize("creators", ["@bob:b", [{}], [7], {"a": 1}])
@pytest.mark.parametrize("preset", ["private_chat", "trusted_private_chat"])
def test_creators_that_are_none_are_a_bad_room_and_nobodys_power(
    alice: Device, creators: Any, preset: str
) -> None:
    wish = {"preset": preset, "creation_content": {"additional_creators": creators}}
    assert alice.refused("POST", "/createRoom", wish) == (400, "M_INVALID_ROOM_STATE")


@pytest.mark.parametrize(
    ("first", "errcode"),
    [
        ({"type": "m.room.server_acl", "content": {"allow": []}}, "M_INVALID_PARAM"),
        ({"type": "m.room.canonical_alias", "content": {"alias": "#no:where"}}, "M_BAD_ALIAS"),
    ],
    ids=["acl", "alias"],
)
def test_a_rooms_first_state_is_looked_at_as_any_later_one(
    alice: Device, first: dict[str, Any], errcode: str
) -> None:
    assert alice.refused("POST", "/createRoom", {"initial_state": [first]}) == (400, errcode)
