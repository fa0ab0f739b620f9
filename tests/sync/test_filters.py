import orjson
import pytest

from homeserver import errors
from homeserver.sync import filters
from homeserver.sync.filters import EventFilter, RoomEventFilter


@pytest.mark.parametrize(
    ("wanted", "event_type", "passes"),
    [
        ({}, "m.room.message", True),
        ({"types": ["m.room.message"]}, "m.room.message", True),
        ({"types": ["m.room.message"]}, "m.room.member", False),
        ({"types": ["m.room.*"]}, "m.room.member", True),
        ({"types": ["*"]}, "anything", True),
        ({"types": ["m.*.b"]}, "m.a.b", True),
        ({"types": ["m.*.b"]}, "m.a.c", False),
        ({"types": []}, "m.room.message", False),
        ({"not_types": ["m.room.*"]}, "m.room.member", False),
        ({"types": ["*"], "not_types": ["m.typing"]}, "m.typing", False),
        ({"types": ["m.room.message"]}, "m_room_message", False),
    ],
)
def test_types_pass_as_asked_for(wanted: dict[str, object], event_type: str, passes: bool) -> None:
    assert EventFilter.model_validate(wanted).allows(event_type) is passes


@pytest.mark.parametrize(
    ("wanted", "passes"),
    [
        ({}, True),
        ({"senders": ["@a:x"]}, True),
        ({"senders": ["@b:x"]}, False),
        ({"not_senders": ["@a:x"]}, False),
        ({"senders": ["@a:x"], "not_senders": ["@a:x"]}, False),
    ],
)
def test_senders_pass_as_asked_for(wanted: dict[str, object], passes: bool) -> None:
    assert EventFilter.model_validate(wanted).allows("m.room.message", "@a:x") is passes


@pytest.mark.parametrize(
    ("contains", "content", "passes"),
    [(None, {}, True), (True, {}, False), (True, {"url": 1}, True), (False, {"url": 1}, False)],
)
def test_content_passes_by_its_url(
    contains: bool | None, content: dict[str, object], passes: bool
) -> None:
    assert RoomEventFilter(contains_url=contains).allows_content(content) is passes


@pytest.mark.parametrize(("limit", "bounded"), [(1, 1), (7, 7), (1_000_000, 500)])
def test_limits_are_bounded(limit: int, bounded: int) -> None:
    assert EventFilter(limit=limit).bounded_limit == bounded


@pytest.mark.parametrize(
    "text", ["{", "[]", "1", '{"room": 5}', '{"room":{"rooms":[5]}}', "\ud800"]
)
def test_what_is_no_filter_is_refused(text: str) -> None:
    with pytest.raises(errors.InvalidParam):
        filters.parse(text)


def test_unknown_parts_of_a_filter_are_let_through() -> None:
    assert filters.parse('{"x": 1, "room": {"y": 2}}') == filters.EVERYTHING


@pytest.mark.parametrize(
    "definition",
    [
        {"room": {"timeline": {"limit": "10"}}},
        {"room": {"timeline": {"limit": 0}}},
        {"room": {"timeline": {"types": "m.room.message"}}},
        {"room": {"timeline": {"types": [1]}}},
        {"room": {"rooms": ["nonsense"]}},
        {"room": {"not_rooms": ["@user:example.org"]}},
        {"room": {"state": {"senders": ["!room"]}}},
        {"room": {"timeline": {"lazy_load_members": 1}}},
        {"room": {"include_leave": "yes"}},
        {"room": []},
        {"presence": {"not_senders": ["nobody"]}},
        {"event_format": "other"},
        {"event_fields": "content"},
    ],
)
def test_wrong_types_and_bad_ids_are_refused(definition: object) -> None:
    with pytest.raises(errors.InvalidParam):
        filters.parse(orjson.dumps(definition))


def test_null_is_as_if_left_out() -> None:
    wanted = filters.parse(b'{"room": {"rooms": null, "timeline": {"types": null, "limit": null}}}')
    assert wanted == filters.EVERYTHING.model_copy(update={"room": wanted.room})
    assert wanted.room.timeline.is_open
    assert wanted.room.rooms is None
