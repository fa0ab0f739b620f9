"""Sync, pages, context: no event is lost, none comes twice, whatever the limit."""

import json
from typing import Any

import pytest

from tests.conformance.device import Device, part

INVALID_PARAM = (400, "M_INVALID_PARAM")
NOT_FOUND = (404, "M_NOT_FOUND")


def ids(several: list[dict[str, Any]]) -> list[str]:
    return [one["event_id"] for one in several]


def walk(device: Device, room_id: str, direction: str, limit: int, **query: Any) -> list[str]:
    """Every event of a room, page by page."""
    seen: list[str] = []
    while True:
        path = f"/rooms/{part(room_id)}/messages"
        page = device.call("GET", path, dir=direction, limit=limit, **query)
        assert len(page["chunk"]) <= limit
        seen += ids(page["chunk"])
        if "end" not in page:
            return seen
        query["from"] = page["end"]


@pytest.fixture
def talk(alice: Device) -> tuple[str, list[str]]:
    """A room and twelve messages in it."""
    room_id = alice.create_room()
    return room_id, [alice.say(room_id, str(number)) for number in range(12)]


def test_pages_lose_and_repeat_nothing(alice: Device, talk: tuple[str, list[str]]) -> None:
    room_id, sent = talk
    whole = walk(alice, room_id, "b", 1000)
    assert whole[:12] == sent[::-1]
    assert len(whole) == len(set(whole))
    for limit in (1, 3, 5):
        assert walk(alice, room_id, "b", limit) == whole
        assert walk(alice, room_id, "f", limit) == whole[::-1]
    messages = json.dumps({"types": ["m.room.message"]})
    assert walk(alice, room_id, "b", 5, filter=messages) == sent[::-1]
    nothing: Any
    for nothing in (
        {"types": ["x"]},
        {"senders": ["@x:y"]},
        {"rooms": []},
        {"not_rooms": [room_id]},
    ):
        assert walk(alice, room_id, "b", 5, filter=json.dumps(nothing)) == []


def test_a_page_begins_and_ends_where_it_is_told(
    alice: Device, talk: tuple[str, list[str]]
) -> None:
    room_id, sent = talk
    path = f"/rooms/{part(room_id)}/messages"
    page = alice.call("GET", path, dir="b", limit=5)
    assert len(alice.call("GET", path, dir="b")["chunk"]) == 10  # the default
    back = alice.call("GET", path, dir="f", limit=50, **{"from": page["end"]})
    assert ids(back["chunk"]) == sent[-5:]
    within = alice.call("GET", path, dir="b", limit=50, to=page["end"])
    assert ids(within["chunk"]) == sent[-5:][::-1]
    assert "end" not in within
    assert len(alice.call("GET", path, dir="b", limit=10**12)["chunk"]) > 12
    assert alice.call("GET", path, dir="b", limit=0)["chunk"] == []
    for query, refusal in (
        ({}, (400, "M_MISSING_PARAM")),
        ({"dir": "x"}, INVALID_PARAM),
        ({"dir": "b", "from": "nonsense"}, INVALID_PARAM),
        ({"dir": "b", "to": "nonsense"}, INVALID_PARAM),
        ({"dir": "b", "limit": "x"}, INVALID_PARAM),
        ({"dir": "b", "limit": -1}, INVALID_PARAM),
        ({"dir": "b", "filter": "{"}, INVALID_PARAM),
        ({"dir": "b", "filter": '{"limit": "x"}'}, INVALID_PARAM),
    ):
        assert alice.refused("GET", path, **query) == refusal


def test_context(alice: Device, talk: tuple[str, list[str]]) -> None:
    room_id, sent = talk
    path = f"/rooms/{part(room_id)}/context/{part(sent[6])}"
    found = alice.call("GET", path, limit=4)
    assert found["event"]["event_id"] == sent[6]
    assert ids(found["events_before"]) == [sent[5], sent[4]]
    assert ids(found["events_after"]) == [sent[7], sent[8]]
    pages = f"/rooms/{part(room_id)}/messages"
    earlier = alice.call("GET", pages, dir="b", limit=1, **{"from": found["start"]})
    later = alice.call("GET", pages, dir="f", limit=1, **{"from": found["end"]})
    assert ids(earlier["chunk"] + later["chunk"]) == [sent[3], sent[9]]
    assert {one["type"] for one in found["state"]} >= {"m.room.create", "m.room.member"}
    only = alice.call("GET", path, filter=json.dumps({"types": ["m.room.member"]}))
    assert {one["type"] for one in only["state"]} == {"m.room.member"}
    assert only["events_before"][0]["type"] == "m.room.member"
    alone = alice.call("GET", path, limit=0)
    assert alone["events_before"] == alone["events_after"] == []
    assert len(alice.call("GET", path, limit=10**9)["events_after"]) == 5
    assert alice.refused("GET", path, filter="{") == INVALID_PARAM
    assert alice.refused("GET", f"/rooms/{part(room_id)}/context/$none") == NOT_FOUND


def test_an_event_belongs_to_its_room(alice: Device, talk: tuple[str, list[str]]) -> None:
    room_id, sent = talk
    other = alice.create_room()
    found = alice.call("GET", f"/rooms/{part(room_id)}/event/{part(sent[0])}")
    assert (found["event_id"], found["room_id"]) == (sent[0], room_id)
    for place in ("event", "context"):
        assert alice.refused("GET", f"/rooms/{part(other)}/{place}/{part(sent[0])}") == NOT_FOUND


@pytest.mark.parametrize("limit", [1, 4, 50])
def test_a_limited_sync_and_the_page_before_it_make_the_whole(alice: Device, limit: int) -> None:
    room_id = alice.create_room()
    since = alice.next_batch()
    sent = [alice.say(room_id, str(number)) for number in range(9)]
    told = alice.sync(since, {"room": {"timeline": {"limit": limit}}})
    timeline = told["rooms"]["join"][room_id]["timeline"]
    assert ids(timeline["events"]) == sent[-limit:]
    assert timeline["limited"] == (limit < 9)
    if timeline["limited"]:
        gap = walk(alice, room_id, "b", 2, **{"from": timeline["prev_batch"], "to": since})
        assert gap[::-1] == sent[:-limit]
    assert room_id not in alice.sync(told["next_batch"]).get("rooms", {}).get("join", {})


def test_syncs_in_a_row_are_the_timeline(alice: Device) -> None:
    room_id, since, seen = alice.create_room(), alice.next_batch(), []
    sent = []
    for number in range(6):
        sent.append(alice.put_state(room_id, "org.example", {"number": number}))
        sent.append(alice.say(room_id, str(number)))
        told = alice.sync(since)
        since = told["next_batch"]
        seen += ids(told["rooms"]["join"][room_id]["timeline"]["events"])
    assert seen == sent


def test_state_that_a_limited_timeline_leaves_out(alice: Device) -> None:
    room_id = alice.create_room()
    since = alice.next_batch()
    alice.put_state(room_id, "m.room.topic", {"topic": "x"})
    alice.say(room_id, "1")
    wanted = {"room": {"timeline": {"limit": 1}}}
    room = alice.sync(since, wanted)["rooms"]["join"][room_id]
    assert [one["content"] for one in room["state"]["events"]] == [{"topic": "x"}]
    after = alice.sync(since, wanted, use_state_after="true")["rooms"]["join"][room_id]
    assert [one["content"] for one in after["state_after"]["events"]] == [{"topic": "x"}]
    only = {"room": {"rooms": [room_id]}}
    full = alice.sync(alice.next_batch(), only, full_state="true")["rooms"]["join"][room_id]
    assert {"m.room.create", "m.room.topic"} <= {one["type"] for one in full["state"]["events"]}


def test_a_first_sync_has_everything_once(alice: Device) -> None:
    room_id = alice.create_room(name="Attic")
    room = alice.sync(wanted={"room": {"rooms": [room_id]}})["rooms"]["join"][room_id]
    shown = room["state"]["events"] + room["timeline"]["events"]
    keys = [(one["type"], one["state_key"]) for one in shown]
    assert len(keys) == len(set(keys))
    assert {"m.room.create", "m.room.name", "m.room.power_levels"} <= {key for key, _ in keys}
    assert room["summary"] == {"m.joined_member_count": 1, "m.invited_member_count": 0}
    assert room["unread_notifications"] == {"notification_count": 0, "highlight_count": 0}


@pytest.mark.parametrize(
    "query",
    [
        {"since": "nonsense"},
        {"since": "s"},
        {"since": "s-1"},
        {"since": "s1_2_3_4_5"},
        {"timeout": "x"},
        {"timeout": -1},
        {"full_state": "x"},
        {"set_presence": "x"},
        {"filter": "{"},
        {"filter": "[]"},
        {"filter": "none"},
        {"filter": '{"room": {"timeline": {"limit": "x"}}}'},
    ],
)
def test_a_sync_that_makes_no_sense(alice: Device, query: dict[str, Any]) -> None:
    assert alice.refused("GET", "/sync", **query) == INVALID_PARAM


def test_a_token_of_the_future_is_refused(alice: Device) -> None:
    assert alice.refused("GET", "/sync", since="s999999999999", timeout=0) == INVALID_PARAM


def test_filters_filter(alice: Device) -> None:
    room_id, other = alice.create_room(), alice.create_room()
    alice.say(room_id, "1")

    def joined(**room: Any) -> dict[str, Any]:
        rooms: dict[str, Any] = alice.sync(wanted={"room": room}).get("rooms", {})
        return dict(rooms.get("join", {}))

    assert set(joined(rooms=[room_id, other])) == {room_id, other}
    assert set(joined(rooms=[room_id, other], not_rooms=[other])) == {room_id}
    assert joined(rooms=[]) == {}
    seen = joined(rooms=[room_id], timeline={"types": ["m.room.*"], "not_types": ["m.room.name"]})
    assert "m.room.message" in {one["type"] for one in seen[room_id]["timeline"]["events"]}
    none = joined(rooms=[room_id], timeline={"types": []}, state={"types": []})[room_id]
    assert none["timeline"]["events"] == none["state"]["events"] == []
    huge = joined(rooms=[room_id], timeline={"limit": 10**9})[room_id]["timeline"]
    assert not huge["limited"]


def test_saved_filters(alice: Device, bob: Device) -> None:
    filters = f"/user/{alice.me}/filter"
    definition: Any = {"room": {"rooms": []}}
    filter_id = alice.call("POST", filters, definition)["filter_id"]
    assert alice.call("GET", f"{filters}/{filter_id}") == definition
    assert "rooms" not in alice.call("GET", "/sync", filter=filter_id)
    for unknown in ("none", "123", "9" * 40):
        assert alice.refused("GET", f"{filters}/{unknown}") == NOT_FOUND
    theirs = f"/user/{bob.me}/filter"
    assert alice.refused("POST", theirs, {}) == (403, "M_FORBIDDEN")
    assert alice.refused("GET", f"{theirs}/{filter_id}") == (403, "M_FORBIDDEN")
    for bad in (
        {"room": "x"},
        {"room": {"rooms": "x"}},
        {"room": {"rooms": ["kitchen"]}},
        {"room": {"timeline": {"limit": 1.5}}},
        {"presence": {"senders": [1]}},
        {"event_format": "x"},
    ):
        assert alice.refused("POST", filters, bad) == (400, "M_BAD_JSON")
