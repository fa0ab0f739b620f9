from dataclasses import replace
from typing import Any

import pytest

from homeserver.errors import (
    BadEvent,
    BadJson,
    BadSignature,
    TooLarge,
    UnsupportedRoomVersion,
)
from homeserver.matrix import canonical_json, events, room_versions, signing
from homeserver.matrix.canonical_json import MAX_INTEGER
from homeserver.matrix.events import Draft, Event
from homeserver.matrix.identifiers import EventId, RoomId, ServerName, UserId
from homeserver.matrix.room_versions import RoomVersion

from .histories import ALL_VERSIONS, V10, V11, V12, pdu
from .test_signing import KEY

SERVER = ServerName("example.org")
OTHER_KEY = signing.generate(bytes(32), "2")
MESSAGE = Draft(
    room_id=RoomId("!room:example.org"),
    sender=UserId("@alice:example.org"),
    type="m.room.message",
    state_key=None,
    content={"body": "hello", "msgtype": "m.text"},
    prev_events=(EventId("$one"), EventId("$two")),
    auth_events=(EventId("$three"),),
    depth=7,
    origin_server_ts=1_700_000_000_000,
)


def find_key(server: ServerName, key_id: str) -> str | None:
    return KEY.public if (server, key_id) == (SERVER, "ed25519:1") else None


def built(draft: Draft = MESSAGE, version: RoomVersion = V12) -> Event:
    return events.build(draft, version, SERVER, KEY)


@pytest.mark.parametrize("version", ALL_VERSIONS, ids=lambda version: f"v{version.id}")
def test_what_we_build_a_peer_reads_and_verifies(version: RoomVersion) -> None:
    event = built(version=version)
    received = events.parse(canonical_json.decode(canonical_json.encode(event.pdu)), version)
    assert received == event
    assert hash(received) == hash(event)
    assert events.authentic(received, find_key) is received
    assert event.event_id == signing.event_id(event.pdu, version)
    assert event.prev_events == MESSAGE.prev_events
    assert event.auth_events == MESSAGE.auth_events
    assert (event.depth, event.origin_server_ts) == (7, 1_700_000_000_000)
    assert not event.is_state
    with pytest.raises(ValueError, match="no place in the state"):
        _ = event.key


def test_a_state_event_has_a_key_even_if_it_is_empty() -> None:
    event = built(replace(MESSAGE, type="m.room.topic", state_key=""))
    assert event.is_state
    assert event.key == ("m.room.topic", "")
    assert event.pdu["state_key"] == ""


def test_from_v12_a_room_is_named_by_its_create_event() -> None:
    draft = replace(
        MESSAGE, type="m.room.create", state_key="", room_id=None, content={"room_version": "12"}
    )
    create = built(draft)
    assert create.room_id == "!" + create.event_id[1:]
    assert "room_id" not in create.pdu
    with pytest.raises(BadEvent):
        built(replace(draft, room_id=RoomId("!chosen")))
    with pytest.raises(BadEvent):
        built(draft, V11)


@pytest.mark.parametrize(("version", "where"), [(V10, "pdu"), (V11, "content"), (V12, "content")])
def test_a_redaction_names_its_target_where_its_version_wants_it(
    version: RoomVersion, where: str
) -> None:
    target = EventId("$target")
    draft = replace(MESSAGE, type="m.room.redaction", content={"reason": "typo"}, redacts=target)
    event = built(draft, version)
    assert event.redacts == target
    assert (event.pdu if where == "pdu" else event.content)["redacts"] == target
    assert draft.content == {"reason": "typo"}
    assert events.redacted(event).redacts == (None if where == "pdu" else target)


def test_only_redactions_redact() -> None:
    assert events.parse(pdu(redacts="$e", content={"redacts": "$e"}), V10).redacts is None
    assert events.parse(pdu(type="m.room.redaction", content={"redacts": 7}), V11).redacts is None


def test_unsigned_is_dropped_and_the_senders_object_left_alone() -> None:
    received = pdu(unsigned={"age": 1.5})
    event = events.parse(received, V12)
    assert "unsigned" not in event.pdu
    assert "unsigned" in received
    assert event == events.parse(pdu(), V12)


def test_a_redacted_event_keeps_id_and_signature() -> None:
    event = built()
    left = events.redacted(event)
    assert left.event_id == event.event_id
    assert left.content == left.pdu["content"] == {}
    assert event.content["body"] == "hello"
    events.verify_signatures(left, find_key)
    with pytest.raises(BadEvent):
        events.check_content_hash(left)


def test_a_changed_content_is_taken_as_redacted() -> None:
    event = built()
    forged = events.parse(event.pdu | {"content": {"body": "forged"}}, V12)
    assert forged.event_id == event.event_id
    assert events.authentic(forged, find_key) == events.redacted(event)


def test_a_change_that_redaction_keeps_breaks_the_signature() -> None:
    forged = events.parse(built().pdu | {"origin_server_ts": 1}, V12)
    with pytest.raises(BadSignature):
        events.authentic(forged, find_key)


def test_signatures_by_unknown_keys_are_skipped_but_one_must_be_known() -> None:
    pdu_ = built().pdu
    good = pdu_["signatures"][SERVER]
    unknown = pdu_ | {"signatures": {SERVER: good | {"ed25519:unknown": "AAAA"}, "x": {}}}
    events.verify_signatures(events.parse(unknown, V12), find_key)
    useless: list[dict[str, dict[str, str]]] = [
        {},
        {SERVER: {}},
        {SERVER: {"ed25519:unknown": "AAAA"}},
    ]
    for signatures in useless:
        event = events.parse(pdu_ | {"signatures": signatures}, V12)
        with pytest.raises(BadSignature):
            events.verify_signatures(event, find_key)


def test_one_wrong_signature_by_a_known_key_spoils_the_event() -> None:
    pdu_ = built().pdu
    wrong = signing.unpadded_b64(OTHER_KEY.sign(b"something else"))
    signatures = {SERVER: pdu_["signatures"][SERVER] | {"ed25519:2": wrong}}
    event = events.parse(pdu_ | {"signatures": signatures}, V12)
    with pytest.raises(BadSignature):
        events.verify_signatures(
            event, lambda _, key_id: KEY.public if key_id == "ed25519:1" else OTHER_KEY.public
        )


def test_a_restricted_join_is_signed_by_the_authorising_server_too() -> None:
    content = {"membership": "join", "join_authorised_via_users_server": "@bob:other.example"}
    alice = MESSAGE.sender
    event = built(replace(MESSAGE, type="m.room.member", state_key=alice, content=content))
    keys = {"example.org": KEY.public, "other.example": OTHER_KEY.public}
    with pytest.raises(BadSignature, match=r"other\.example"):
        events.verify_signatures(event, lambda server, _: keys[server])
    signature = signing.unpadded_b64(OTHER_KEY.sign(signing.essential_bytes(event.pdu, V12)))
    both = event.pdu["signatures"] | {"other.example": {"ed25519:2": signature}}
    countersigned = events.parse(event.pdu | {"signatures": both}, V12)
    events.verify_signatures(countersigned, lambda server, _: keys[server])
    assert countersigned.event_id == event.event_id


def test_an_ordinary_join_is_signed_by_its_own_server_alone() -> None:
    alice = MESSAGE.sender
    event = built(
        replace(MESSAGE, type="m.room.member", state_key=alice, content={"membership": "join"})
    )
    events.verify_signatures(event, find_key)


@pytest.mark.parametrize("authorising_user", [7, "bob", ""])
def test_only_a_user_can_authorise_a_join(authorising_user: Any) -> None:
    content = {"membership": "join", "join_authorised_via_users_server": authorising_user}
    event = built(replace(MESSAGE, type="m.room.member", state_key="@a:b.example", content=content))
    with pytest.raises(BadSignature):
        events.verify_signatures(event, find_key)


_ID = "$" + "a" * 43


@pytest.mark.parametrize(
    "spoiled",
    [
        {"type": 1},
        {"type": "t" * 256},
        {"sender": "alice"},
        {"sender": ["@alice:example.org"]},
        {"sender": "@" + "a" * 255 + ":b"},
        {"state_key": None},
        {"state_key": "é" * 128},
        {"room_id": None},
        {"room_id": "room:example.org"},
        {"room_id": "!" + "r" * 255},
        {"content": []},
        {"content": {"pi": 3.14}},
        {"content": {"n": 2**53}},
        {"content": {"body": "x" * 66_000}},
        {"depth": -1},
        {"depth": 2**53},
        {"depth": True},
        {"depth": "1"},
        {"origin_server_ts": 1.0},
        {"origin_server_ts": None},
        {"prev_events": {}},
        {"prev_events": [1]},
        {"prev_events": [[_ID, {"sha256": ""}]]},
        {"prev_events": ["no sigil"]},
        {"prev_events": ["$" + "a" * 255]},
        {"prev_events": [_ID] * 21},
        {"auth_events": [_ID] * 11},
        {"auth_events": [None]},
        {"hashes": {}},
        {"hashes": {"sha256": 1}},
        {"hashes": None},
        {"signatures": None},
        {"signatures": {"example.org": "x"}},
        {"signatures": {"example.org": {"ed25519:1": 1}}},
        {"\ud800": 1},
    ],
)
def test_what_is_not_an_event_is_refused(spoiled: dict[str, Any]) -> None:
    with pytest.raises(BadEvent):
        events.parse(pdu() | spoiled, V11)


@pytest.mark.parametrize("thing", [None, 7, "event", [], [pdu()]])
def test_what_is_not_even_an_object_is_refused(thing: Any) -> None:
    with pytest.raises(BadEvent):
        events.parse(thing, V11)


@pytest.mark.parametrize("missing", sorted(pdu()))
def test_each_field_is_needed(missing: str) -> None:
    incomplete = pdu()
    del incomplete[missing]
    with pytest.raises(BadEvent):
        events.parse(incomplete, V11)


def test_the_limits_themselves_are_allowed() -> None:
    event = pdu(
        prev_events=[_ID] * 20,
        auth_events=[_ID] * 10,
        depth=MAX_INTEGER,
        type="t" * 255,
        state_key="é" * 127,
    )
    event["content"]["body"] = ""
    event["content"]["body"] = "x" * (65_536 - len(canonical_json.encode(event)))
    assert len(canonical_json.encode(event)) == 65_536
    assert events.parse(event, V11).depth == MAX_INTEGER
    event["content"]["body"] += "x"
    with pytest.raises(BadEvent):
        events.parse(event, V11)


@pytest.mark.parametrize(
    "draft",
    [
        replace(MESSAGE, content={"body": "x" * 65_536}),
        replace(MESSAGE, type="t" * 256),
        replace(MESSAGE, state_key="s" * 256),
        replace(MESSAGE, room_id=RoomId("!" + "r" * 255)),
    ],
)
def test_our_own_clients_hear_that_their_event_is_too_large(draft: Draft) -> None:
    with pytest.raises(TooLarge):
        built(draft)


@pytest.mark.parametrize("content", [{"n": 1.5}, {"n": 2**53}, {"s": "\ud800"}])
def test_our_own_clients_hear_that_their_json_is_bad(content: dict[str, Any]) -> None:
    with pytest.raises(BadJson):
        built(replace(MESSAGE, content=content))


def test_stripped_state_shows_four_fields() -> None:
    event = built(replace(MESSAGE, type="m.room.name", state_key="", content={"name": "n"}))
    assert events.stripped_state(event) == {
        "content": {"name": "n"},
        "sender": "@alice:example.org",
        "state_key": "",
        "type": "m.room.name",
    }


def test_a_room_version_is_known_or_refused() -> None:
    assert room_versions.room_version(room_versions.DEFAULT) is V12
    with pytest.raises(UnsupportedRoomVersion):
        room_versions.room_version("9")
