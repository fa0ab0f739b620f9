"""What goes beside an Olm message: plaintexts that name their room, events put in their places."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation import group_frames, payloads
from federation.group_frames import Groups
from homeserver import errors
from homeserver.matrix.identifiers import RoomId

ROOM = RoomId("!room")
NODE = "a" * 52
PDU = {"room_id": ROOM, "type": "m.room.message"}


def test_an_event_comes_back() -> None:
    plaintext = group_frames.write_plaintext(NODE, ROOM, orjson.dumps(PDU))
    assert group_frames.read_plaintext(plaintext, NODE, ROOM) == PDU


@pytest.mark.parametrize(
    ("direction", "room_id", "pdu"),
    [
        ("b" * 52, ROOM, PDU),
        (NODE, "!other", PDU),
        (NODE, "!other", {"room_id": "!other"}),
        (NODE, ROOM, {"room_id": "!other"}),
        (NODE, ROOM, {}),
    ],
)
def test_another_sender_or_room_is_refused(direction: str, room_id: str, pdu: object) -> None:
    plaintext = group_frames.write_plaintext(direction, RoomId(room_id), orjson.dumps(pdu))
    with pytest.raises(errors.BadJson):
        group_frames.read_plaintext(plaintext, NODE, ROOM)


@pytest.mark.parametrize(
    "plaintext", [b"", b"\xff", b"[]", b"{}", b"[" * 5_000, b'{"direction":1,"room_id":2,"pdu":3}']
)
def test_what_is_no_event_is_refused(plaintext: bytes) -> None:
    with pytest.raises(errors.BadJson):
        group_frames.read_plaintext(plaintext, NODE, ROOM)


@given(events=st.lists(st.booleans(), max_size=30))
def test_events_come_to_stand_where_they_stood(events: list[bool]) -> None:
    whole = [{"number": number} for number in range(len(events))]
    inside = [event for event, is_beside in zip(whole, events, strict=True) if not is_beside]
    beside = [(place, whole[place]) for place, is_beside in enumerate(events) if is_beside]
    assert group_frames.weave(inside, beside) == whole
    assert group_frames.weave(inside, beside[::-1]) == whole


@pytest.mark.parametrize("places", [[1], [0, 0], [0, 2], [5]])
def test_places_that_leave_a_gap_are_refused(places: list[int]) -> None:
    with pytest.raises(errors.BadJson):
        group_frames.weave([], [(place, {}) for place in places])


@given(ciphertexts=st.lists(st.binary(max_size=50), max_size=10))
def test_packed_messages_come_back(ciphertexts: list[bytes]) -> None:
    assert group_frames.unpack(group_frames.pack(ciphertexts)) == tuple(ciphertexts)


def test_a_frame_names_a_bounded_number_of_messages() -> None:
    message = {"place": 0, "session_id": "s", "sha256": "0" * 64}
    most = [message] * group_frames.MOST_MESSAGES
    assert len(payloads.read(Groups, {"messages": most}).messages) == len(most) <= 255
    for false in (
        {"messages": [*most, message]},
        {"messages": [message | {"place": 1_000}]},
        {"messages": [message | {"place": -1}]},
        {"messages": [message | {"session_id": "s" * 65}]},
        {"messages": [message | {"session_id": "s\0"}]},
        {"messages": [message | {"sha256": "0"}]},
    ):
        with pytest.raises(errors.BadJson):
            payloads.read(Groups, false)
