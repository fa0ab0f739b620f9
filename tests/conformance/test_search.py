"""Search finds what may be seen, newest first or best first, and nothing else."""

import secrets
from typing import Any

import pytest

from tests.conformance.device import Device, part


def ids(found: dict[str, Any]) -> list[str]:
    return [one["result"]["event_id"] for one in found["results"]]


def search(device: Device, term: str, next_batch: str | None = None, **more: Any) -> Any:
    query = {} if next_batch is None else {"next_batch": next_batch}
    body = {"search_categories": {"room_events": {"search_term": term, **more}}}
    return device.call("POST", "/search", body, **query)["search_categories"]["room_events"]


@pytest.fixture
def word() -> str:
    """A word that nobody has said yet."""
    return "w" + secrets.token_hex(8)


def test_every_word_has_to_be_there_in_any_order_and_case(alice: Device, word: str) -> None:
    room_id = alice.create_room()
    one = alice.say(room_id, f"The {word} is blue")
    alice.say(room_id, f"The {word} is red")
    found = search(alice, f"BLUE {word.upper()}")
    assert ids(found) == [one]
    assert found["count"] == 1
    assert set(found["highlights"]) == {"blue", word}
    assert search(alice, f"green {word}")["results"] == []


def test_results_come_in_pages_each_once(alice: Device, word: str) -> None:
    room_id = alice.create_room()
    sent = [alice.say(room_id, f"{word} {number}") for number in range(7)]
    seen: list[str] = []
    token = None
    while True:
        found = search(alice, word, token, order_by="recent", filter={"limit": 3})
        seen += ids(found)
        token = found.get("next_batch")
        if token is None:
            break
    assert seen == sent[::-1]


def test_the_best_comes_first_where_it_is_asked_for(alice: Device, word: str) -> None:
    room_id = alice.create_room()
    short = alice.say(room_id, word)
    long = alice.say(room_id, f"{word} and a great deal of other words")
    assert ids(search(alice, word, order_by="rank")) == [short, long]
    assert ids(search(alice, word, order_by="recent")) == [long, short]


def test_names_and_topics_are_found_too(alice: Device, word: str) -> None:
    room_id = alice.create_room(name=f"Room {word}", topic=f"About {word}")
    alice.say(room_id, word)
    assert len(search(alice, word)["results"]) == 3
    assert len(search(alice, word, keys=["content.name"])["results"]) == 1
    assert len(search(alice, word, filter={"types": ["m.room.topic"]})["results"]) == 1
    assert search(alice, word, filter={"not_rooms": [room_id]})["results"] == []


def test_context_state_and_groups_come_along(alice: Device, word: str) -> None:
    room_id = alice.create_room()
    before = alice.say(room_id, "before")
    hit = alice.say(room_id, word)
    after = alice.say(room_id, "after")
    found = search(
        alice,
        word,
        event_context={"before_limit": 1, "after_limit": 1, "include_profile": True},
        include_state=True,
        groupings={"group_by": [{"key": "room_id"}, {"key": "sender"}]},
    )
    context = found["results"][0]["context"]
    assert [one["event_id"] for one in context["events_before"]] == [before]
    assert [one["event_id"] for one in context["events_after"]] == [after]
    assert list(context["profile_info"]) == [alice.user_id]
    assert found["groups"]["room_id"] == {room_id: {"order": 1, "results": [hit]}}
    assert found["groups"]["sender"][alice.user_id]["results"] == [hit]
    assert "m.room.create" in {one["type"] for one in found["state"][room_id]}


def test_what_was_redacted_or_left_behind_is_not_found(alice: Device, word: str) -> None:
    room_id = alice.create_room()
    gone = alice.say(room_id, f"{word} gone")
    alice.call("PUT", f"/rooms/{part(room_id)}/redact/{part(gone)}/{word}", {})
    assert search(alice, word)["results"] == []
    alice.say(room_id, f"{word} said")
    assert len(search(alice, word)["results"]) == 1
    alice.call("POST", f"/rooms/{part(room_id)}/leave", {})
    alice.call("POST", f"/rooms/{part(room_id)}/forget", {})
    assert search(alice, word)["results"] == []


def test_a_search_for_nothing_is_refused(alice: Device) -> None:
    body = {"search_categories": {"room_events": {"search_term": " … "}}}
    assert alice.ask("POST", "/search", body).refusal == (400, "M_INVALID_PARAM")
    assert alice.ask("POST", "/search", {}).refusal == (400, "M_BAD_JSON")
    assert alice.call("POST", "/search", {"search_categories": {}}) == {"search_categories": {}}


def test_the_directory_holds_connected_owners_and_nobody_else(alice: Device, bob: Device) -> None:
    for term in ("bob", "@bob", "BO", bob.user_id):
        found = alice.call("POST", "/user_directory/search", {"search_term": term})
        assert [one["user_id"] for one in found["results"]] == [bob.user_id]
        assert found["limited"] is False
    for term in ("nobody", ""):
        found = alice.call("POST", "/user_directory/search", {"search_term": term})
        assert found["results"] == []
    found = alice.call("POST", "/user_directory/search", {"search_term": "bob", "limit": 0})
    assert found == {"limited": True, "results": []}
