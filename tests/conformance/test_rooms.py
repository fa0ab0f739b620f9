"""Create rooms, send into them, read them back."""

from typing import Any

import pytest

from tests.conformance.device import Device, part, send_path, state_path

FORBIDDEN = (403, "M_FORBIDDEN")
BAD_JSON = (400, "M_BAD_JSON")
INVALID_PARAM = (400, "M_INVALID_PARAM")
INVALID_STATE = (400, "M_INVALID_ROOM_STATE")


@pytest.mark.parametrize(
    ("wish", "refusal"),
    [
        ({"room_version": 9}, BAD_JSON),
        ({"room_version": "unicorn"}, (400, "M_UNSUPPORTED_ROOM_VERSION")),
        ({"room_version": "1"}, (400, "M_UNSUPPORTED_ROOM_VERSION")),
        ({"creation_content": "x"}, BAD_JSON),
        ({"name": 1}, BAD_JSON),
        ({"preset": "unicorn"}, BAD_JSON),
        ({"visibility": "unicorn"}, BAD_JSON),
        ({"is_direct": "yes"}, BAD_JSON),
        ({"invite": "@bob:elsewhere"}, BAD_JSON),
        ({"invite": ["bob"]}, INVALID_PARAM),
        ({"invite": ["@bob:elsewhere"]}, FORBIDDEN),  # not connected
        ({"room_alias_name": "a:b"}, INVALID_PARAM),
        ({"room_alias_name": "a\0b"}, INVALID_PARAM),
        ({"room_alias_name": "a" * 300}, INVALID_PARAM),
        ({"power_level_content_override": []}, BAD_JSON),
        ({"power_level_content_override": {"ban": 1.5}}, BAD_JSON),
        ({"power_level_content_override": {"ban": 2**53}}, BAD_JSON),
        ({"power_level_content_override": {"users": None}}, INVALID_STATE),
        ({"power_level_content_override": {"events": "x"}}, INVALID_STATE),
        ({"room_version": "10", "power_level_content_override": {"users": {}}}, INVALID_STATE),
        ({"initial_state": ["x"]}, BAD_JSON),
        ({"initial_state": [{"content": {}}]}, BAD_JSON),
        ({"initial_state": [{"type": "m.room.create", "content": {}}]}, INVALID_STATE),
        ({"initial_state": [{"type": "x", "content": {"x": "x" * 70_000}}]}, (413, "M_TOO_LARGE")),
    ],
)
def test_wishes_that_cannot_be_granted(
    alice: Device, wish: dict[str, Any], refusal: tuple[int, str]
) -> None:
    before = alice.call("GET", "/joined_rooms")
    assert alice.refused("POST", "/createRoom", wish) == refusal
    assert alice.call("GET", "/joined_rooms") == before  # nothing is left behind


@pytest.mark.parametrize("version", ["10", "11", "12"])
def test_the_server_says_who_made_a_room_of_which_version(alice: Device, version: str) -> None:
    given = {"room_version": "1", "creator": "@mallory:elsewhere", "m.federate": True}
    room_id = alice.create_room(room_version=version, creation_content=given)
    content = alice.state(room_id, "m.room.create")
    assert content["room_version"] == version
    assert content["m.federate"] is True
    create = alice.call("GET", state_path(room_id, "m.room.create"), format="event")
    assert create["sender"] == alice.user_id
    if version == "10":
        assert content["creator"] == alice.user_id
    levels = alice.state(room_id, "m.room.power_levels")
    assert levels["users"] == ({} if version == "12" else {alice.user_id: 100})


def test_presets_are_overruled_by_what_is_said(alice: Device) -> None:
    jar = [{"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}]
    room_id = alice.create_room(preset="public_chat", name="Jar", topic="x", initial_state=jar)
    assert alice.state(room_id, "m.room.join_rules") == {"join_rule": "knock"}
    assert alice.state(room_id, "m.room.guest_access") == {"guest_access": "forbidden"}
    assert alice.state(room_id, "m.room.topic")["topic"] == "x"


@pytest.mark.parametrize(
    "levels",
    [
        {"users": "x"},
        {"users": []},
        {"users": {"alice": 1}},
        {"users": {"@x:y": "100"}},
        {"ban": "50"},
        {"ban": None},
        {"kick": True},
        {"events": {"x": "y"}},
        {"notifications": {"room": "x"}},
    ],
)
@pytest.mark.parametrize("version", ["10", "12"])
def test_malformed_power_levels_are_refused(alice: Device, version: str, levels: Any) -> None:
    room_id = alice.create_room(room_version=version)
    path = state_path(room_id, "m.room.power_levels")
    assert alice.refused("PUT", path, levels) == FORBIDDEN
    assert alice.state(room_id, "m.room.power_levels")["ban"] == 50


def test_the_same_state_again_is_the_same_event(alice: Device) -> None:
    room_id = alice.create_room()
    first = alice.put_state(room_id, "m.room.topic", {"topic": "x"})
    assert alice.put_state(room_id, "m.room.topic", {"topic": "x"}) == first
    assert alice.put_state(room_id, "m.room.topic", {"topic": "y"}) != first


@pytest.mark.parametrize("key", ["", "a/b/c", "../../x", "100% ä+?#&=", "%2F", "k" * 255])
def test_state_keys_are_any_text(alice: Device, key: str) -> None:
    room_id = alice.create_room()
    alice.put_state(room_id, "org.ex/ample", {"key": key}, key)
    assert alice.state(room_id, "org.ex/ample", key) == {"key": key}
    shown = alice.call("GET", state_path(room_id, "org.ex/ample", key), format="event")
    assert shown["state_key"] == key


def test_state_that_is_not_to_be_set(alice: Device, bob: Device) -> None:
    room_id = alice.create_room()
    for key, event_type, refusal in (
        ("k" * 256, "org.example", (413, "M_TOO_LARGE")),
        ("", "t" * 256, (413, "M_TOO_LARGE")),
        (bob.user_id, "org.example", FORBIDDEN),
        (alice.user_id, "m.room.member", FORBIDDEN),
        ("alice", "m.room.member", FORBIDDEN),
    ):
        path = state_path(room_id, event_type, key)
        assert alice.refused("PUT", path, {"membership": "unicorn"}) == refusal
    nothing = alice.refused("GET", state_path(room_id, "m.room.avatar"))
    assert nothing == (404, "M_NOT_FOUND")
    again = alice.refused("PUT", state_path(room_id, "m.room.create"), {"room_version": "11"})
    assert again[0] in (400, 403)


def test_canonical_aliases_lead_to_the_room(alice: Device) -> None:
    room_id, other = alice.create_room(), alice.create_room()
    alias = f"#{room_id[1:9]}/x:{alice.server_name}"
    alice.call("PUT", f"/directory/room/{part(alias)}", {"room_id": room_id})
    taken = alice.refused("PUT", f"/directory/room/{part(alias)}", {"room_id": room_id})
    assert taken == (409, "M_UNKNOWN")
    assert alice.call("GET", f"/directory/room/{part(alias)}")["room_id"] == room_id
    path = state_path(room_id, "m.room.canonical_alias")
    for content, errcode in (
        ({"alias": "nonsense"}, "M_INVALID_PARAM"),
        ({"alias": 1}, "M_INVALID_PARAM"),
        ({"alt_aliases": "x"}, "M_INVALID_PARAM"),
        ({"alias": f"#none:{alice.server_name}"}, "M_BAD_ALIAS"),
        ({"alt_aliases": ["#none:elsewhere"]}, "M_BAD_ALIAS"),
    ):
        assert alice.refused("PUT", path, content) == (400, errcode)
    elsewhere = state_path(other, "m.room.canonical_alias")
    assert alice.refused("PUT", elsewhere, {"alias": alias}) == (400, "M_BAD_ALIAS")
    alice.call("PUT", path, {"alias": alias, "alt_aliases": [alias]})
    alice.call("DELETE", f"/directory/room/{part(alias)}")
    assert alice.state(room_id, "m.room.canonical_alias") == {}
    assert alice.refused("PUT", path, {"alias": alias}) == (400, "M_BAD_ALIAS")
    assert alice.refused("DELETE", f"/directory/room/{part(alias)}") == (404, "M_NOT_FOUND")
    for bad in ("x", "#x", f"#:{alice.server_name}"):
        assert alice.refused("GET", f"/directory/room/{part(bad)}") == INVALID_PARAM


def test_the_directory_has_pages(alice: Device) -> None:
    rooms = {alice.create_room(visibility="public", name=f"Shelf {n}") for n in range(3)}
    found: list[str] = []
    since: dict[str, str] = {}
    while True:
        page = alice.call("GET", "/publicRooms", limit=2, **since)
        assert len(page["chunk"]) <= 2
        found += [room["room_id"] for room in page["chunk"]]
        if "next_batch" not in page:
            break
        since = {"since": page["next_batch"]}
    assert rooms <= set(found)
    assert len(found) == len(set(found)) == page["total_room_count_estimate"]
    body = {"filter": {"generic_search_term": "SHELF 1", "room_types": [None]}}
    (only,) = alice.call("POST", "/publicRooms", body)["chunk"]
    assert only["name"] == "Shelf 1"
    assert (
        alice.call("POST", "/publicRooms", {"filter": {"room_types": ["m.space"]}})["chunk"] == []
    )
    assert alice.refused("GET", "/publicRooms", server="elsewhere.org") == (404, "M_NOT_FOUND")
    assert alice.refused("POST", "/publicRooms", {"limit": "x"}) == BAD_JSON


def test_a_transaction_is_done_once(alice: Device, log_in: Any) -> None:
    room_id = alice.create_room()
    laptop = log_in(device_id="LAPTOP")
    first = alice.send(room_id, "m.room.message", {"body": "1"}, "t/1 %")
    assert alice.send(room_id, "m.room.message", {"body": "2"}, "t/1 %") == first
    assert alice.send(room_id, "org.other", {"body": "3"}, "t/1 %") != first
    assert laptop.send(room_id, "m.room.message", {"body": "4"}, "t/1 %") != first
    path = f"/rooms/{part(room_id)}/event/{part(first)}"
    assert alice.call("GET", path)["unsigned"]["transaction_id"] == "t/1 %"
    assert "transaction_id" not in laptop.call("GET", path)["unsigned"]


def test_redacting_another_event_is_another_transaction(alice: Device) -> None:
    room_id = alice.create_room()
    first, second = alice.say(room_id, "1"), alice.say(room_id, "2")
    done = [
        alice.call("PUT", f"/rooms/{part(room_id)}/redact/{part(target)}/t", {"reason": "oops"})
        for target in (first, second, first)
    ]
    assert done[0] == done[2] != done[1]
    for target in (first, second):
        seen = alice.call("GET", f"/rooms/{part(room_id)}/event/{part(target)}")
        assert seen["content"] == {}
        assert seen["unsigned"]["redacted_because"]["content"]["reason"] == "oops"
    missing = alice.refused("PUT", f"/rooms/{part(room_id)}/redact/$none/t", {})
    assert missing == (404, "M_NOT_FOUND")


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        (b'{"a": 1.5}', BAD_JSON),
        (b'{"a": 1e3}', BAD_JSON),
        (b'{"a": 9007199254740992}', BAD_JSON),
        (b'{"a": "%s"}' % (b"x" * 66_000), (413, "M_TOO_LARGE")),
        (b'{"a": "%s"}' % (b"x" * 1_100_000), (413, "M_TOO_LARGE")),
        (b"[]", BAD_JSON),
        (b"null", BAD_JSON),
        (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, (400, "M_NOT_JSON")),
    ],
)
def test_what_no_event_can_hold(alice: Device, body: bytes, refusal: tuple[int, str]) -> None:
    room_id = alice.create_room()
    assert alice.refused("PUT", send_path(room_id, "m.room.message"), body) == refusal
    assert alice.refused("PUT", state_path(room_id, "org.example"), body) == refusal


def test_what_an_event_may_hold(alice: Device) -> None:
    room_id = alice.create_room()
    content: Any
    for content in (
        {},
        {"nul": "\0"},
        {"deep": [[[[{}]]]]},
        {"big": 2**53 - 1},
        {"x": "x" * 64_000},
    ):
        sent = alice.send(room_id, "org.example", content)
        seen = alice.call("GET", f"/rooms/{part(room_id)}/event/{part(sent)}")
        assert seen["content"] == content
    assert alice.refused("PUT", send_path(room_id, "t" * 256), {}) == (413, "M_TOO_LARGE")


def test_a_reaction_counts_once(alice: Device) -> None:
    room_id = alice.create_room()
    target = alice.say(room_id, "cake?")
    relation = {"rel_type": "m.annotation", "event_id": target, "key": "👍"}
    path = send_path(room_id, "m.reaction", "r1")
    first = alice.call("PUT", path, {"m.relates_to": relation})
    assert alice.call("PUT", path, {"m.relates_to": relation}) == first
    again = alice.refused("PUT", send_path(room_id, "m.reaction"), {"m.relates_to": relation})
    assert again == (400, "M_DUPLICATE_ANNOTATION")
    alice.send(room_id, "m.reaction", {"m.relates_to": relation | {"key": "👎"}})
    alice.call("PUT", f"/rooms/{part(room_id)}/redact/{part(first['event_id'])}/x", {})
    alice.send(room_id, "m.reaction", {"m.relates_to": relation})


@pytest.mark.parametrize("room_id", ["!nothing:elsewhere.org", "nonsense", "!" + "x" * 2_000])
def test_rooms_that_we_are_not_in_say_nothing(alice: Device, room_id: str) -> None:
    room = f"/rooms/{part(room_id)}"
    for path in ("state", "messages?dir=b", "members", "joined_members", "event/$x", "context/$x"):
        assert alice.refused("GET", f"{room}/{path}") == FORBIDDEN
    assert alice.refused("PUT", send_path(room_id, "m.room.message"), {}) == FORBIDDEN
    assert alice.refused("PUT", state_path(room_id, "m.room.topic"), {}) == FORBIDDEN
    assert alice.refused("POST", f"{room}/invite", {"user_id": "@x:y"}) == FORBIDDEN
