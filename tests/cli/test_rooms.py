"""`homeserver rooms`, against a stand-in for the admin API."""

import json
from typing import Any

from tests.cli.conftest import Admin, Run

ROOM = "!attic:example.org"


def room(**more: Any) -> dict[str, Any]:
    return {
        "room_id": ROOM,
        "name": "Attic",
        "membership": "join",
        "is_forgotten": False,
        "events": 12,
        "state": 7,
        "media": 1,
        "event_bytes": 3_000,
        "state_bytes": 500,
        "media_bytes": 7_000,
        "total_bytes": 10_500,
    } | more


def test_rooms_are_listed_with_what_they_take(admin: Admin, run: Run) -> None:
    admin.answer("GET", "/rooms", {"rooms": [room(), room(name=None, is_forgotten=True)]})
    head, first, second = run("rooms").stdout.splitlines()
    assert head.split() == ["room", "name", "you", "events", "state", "files", "size"]
    assert first.split() == [ROOM, "Attic", "join", "12", "7", "1", "11", "KiB"]
    assert "forgotten" in second


def test_rooms_in_json_are_the_whole_answer(admin: Admin, run: Run) -> None:
    admin.answer("GET", "/rooms", {"rooms": [room()]})
    assert json.loads(run("rooms", "--json").stdout) == [room()]


def test_a_room_is_purged(admin: Admin, run: Run) -> None:
    admin.answer("POST", f"/rooms/{ROOM.replace('!', '%21').replace(':', '%3A')}/purge", {})
    result = run("rooms", "purge", ROOM)
    assert (result.exit_code, result.stdout) == (0, f"{ROOM} is gone.\n")


def test_a_refusal_is_told_in_the_servers_words(admin: Admin, run: Run) -> None:
    path = f"/rooms/{ROOM.replace('!', '%21').replace(':', '%3A')}/purge"
    admin.answer("POST", path, {"error": "Leave the room before you purge it."}, 409)
    result = run("rooms", "purge", ROOM)
    assert result.exit_code == 1
    assert "Leave the room" in result.stderr
