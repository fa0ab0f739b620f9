"""The schema of sliding sync's answers is worth what it refuses."""

from typing import Any

import pytest
from jsonschema import ValidationError

from tests import sliding_schema
from tests.sliding_schema import ACCEPTED, BEFORE

_EVENT = {
    "content": {"body": "hello"},
    "event_id": "$one",
    "origin_server_ts": 1,
    "sender": "@alice:a",
    "type": "m.room.message",
}
_ROOM = {"timeline": [_EVENT], "prev_batch": "t1", "limited": False, "num_live": 1}
_INVITED = {"stripped_state": [], "membership": "invite"}


def _answer(room: Any) -> Any:
    return {"pos": "s1", "lists": {"all": {"count": 1}}, "rooms": {"!a": room}, "extensions": {}}


def test_each_form_takes_its_own_rooms() -> None:
    sliding_schema.check(BEFORE, _answer(_ROOM | {"notification_count": 1}))
    sliding_schema.check(BEFORE, _answer({"invite_state": []}))
    sliding_schema.check(ACCEPTED, _answer(_ROOM | {"membership": "join", "lists": ["all"]}))
    sliding_schema.check(ACCEPTED, _answer(_INVITED))


@pytest.mark.parametrize(
    ("path", "room"),
    [
        (BEFORE, _ROOM | {"membership": "join"}),
        (BEFORE, _ROOM | {"expanded_timeline": True}),
        (BEFORE, _INVITED),
        (BEFORE, {"timeline": [_EVENT]}),
        (BEFORE, _ROOM | {"timeline": [{"type": "m.room.message"}]}),
        (ACCEPTED, _ROOM),
        (ACCEPTED, _ROOM | {"membership": "join", "unstable_expanded_timeline": True}),
        (ACCEPTED, _ROOM | {"membership": "join", "notification_count": 1}),
        (ACCEPTED, {"membership": "invite", "invite_state": []}),
        (ACCEPTED, _ROOM | {"membership": "join", "lists": []}),
    ],
)
def test_each_form_refuses_what_is_not_of_it(path: str, room: Any) -> None:
    with pytest.raises(ValidationError):
        sliding_schema.check(path, _answer(room))


def test_an_answer_without_a_position_is_none() -> None:
    with pytest.raises(ValidationError):
        sliding_schema.check(ACCEPTED, {"rooms": {}})
