"""What is let through as an event, what is redacted, what is refused."""

import pytest

from federation.replication import packing, verification
from federation.replication.verification import Room
from homeserver import errors
from homeserver.matrix import events, signing
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.events import Draft, Event
from homeserver.matrix.identifiers import RoomId, ServerName, UserId
from homeserver.matrix.room_versions import room_version

ALICE, BOB = ServerName("alice.example"), ServerName("bob.example")
KEYS = {
    ALICE: signing.generate(b"a" * 32, "1"),
    BOB: signing.generate(b"b" * 32, "1"),
}
RETIRED_AT = 2_000
V11 = room_version("11")
ROOM = Room(RoomId("!room:alice.example"), V11)


def key_at(server: ServerName, key_id: str, at_ms: int) -> str | None:
    key = KEYS.get(server)
    return key.public if key and key.key_id == key_id and at_ms <= RETIRED_AT else None


def message(
    sender: str = "@alice:alice.example", signer: ServerName = ALICE, **changes: object
) -> Event:
    draft = {
        "room_id": ROOM.room_id,
        "sender": UserId(sender),
        "type": "m.room.message",
        "state_key": None,
        "content": {"body": "hello"},
        "prev_events": (),
        "auth_events": (),
        "depth": 1,
        "origin_server_ts": 1_000,
    }
    return events.build(Draft(**(draft | changes)), V11, signer, KEYS[signer])  # type: ignore[arg-type]


def test_a_signed_event_passes() -> None:
    event = message()
    assert verification.check(event.pdu, ROOM, key_at) == event


def test_altered_content_leaves_the_redacted_form_under_the_same_id() -> None:
    event = message()
    checked = verification.check(event.pdu | {"content": {"body": "bye"}}, ROOM, key_at)
    assert checked.event_id == event.event_id
    assert checked.content == {}


def test_another_servers_signature_does_not_speak_for_the_sender() -> None:
    forged = message(signer=BOB)
    with pytest.raises(errors.BadSignature):
        verification.check(forged.pdu, ROOM, key_at)


def test_a_wrong_signature_is_refused() -> None:
    pdu = message().pdu
    wrong = {ALICE: {"ed25519:1": signing.unpadded_b64(b"\1" * 64)}}
    with pytest.raises(errors.BadSignature):
        verification.check(pdu | {"signatures": wrong}, ROOM, key_at)


def test_a_key_does_not_sign_what_happened_after_it_was_retired() -> None:
    late = message(origin_server_ts=RETIRED_AT + 1)
    with pytest.raises(errors.BadSignature):
        verification.check(late.pdu, ROOM, key_at)


def test_an_event_of_another_room_is_refused() -> None:
    elsewhere = message(room_id=RoomId("!other:alice.example"))
    with pytest.raises(errors.BadEvent):
        verification.check(elsewhere.pdu, ROOM, key_at)


def test_a_restricted_join_needs_the_authorising_server_too() -> None:
    content = {"membership": "join", "join_authorised_via_users_server": "@alice:alice.example"}
    join = message(
        "@bob:bob.example", BOB, type="m.room.member", state_key="@bob:bob.example", content=content
    )
    with pytest.raises(errors.BadSignature):
        verification.check(join.pdu, ROOM, key_at)
    # What signs an event is a signature over what redaction leaves of it.
    essential = signing.essential_bytes(join.pdu, V11)
    second = {KEYS[ALICE].key_id: signing.unpadded_b64(KEYS[ALICE].sign(essential))}
    signed = join.pdu | {"signatures": join.pdu["signatures"] | {ALICE: second}}
    assert verification.check(signed, ROOM, key_at).event_id == join.event_id


@pytest.mark.parametrize("junk", [None, [], "$event", {}, {"sender": 1}, {"content": []}])
def test_what_is_no_event_is_refused(junk: JsonObject) -> None:
    assert verification.check_all([junk], ROOM, key_at) == []
    assert verification.signers([junk]) == frozenset()


def test_one_bad_event_does_not_spoil_the_others_and_repeats_count_once() -> None:
    good, forged = message(), message(signer=BOB)
    checked = verification.check_all([good.pdu, forged.pdu, good.pdu], ROOM, key_at)
    assert checked == [good]


def test_the_signers_are_the_senders_and_who_authorised_a_join() -> None:
    content = {"membership": "join", "join_authorised_via_users_server": "@alice:alice.example"}
    join = message("@bob:bob.example", BOB, type="m.room.member", content=content)
    assert verification.signers([join.pdu]) == {ALICE, BOB}


def test_a_list_is_cut_where_it_would_not_fit() -> None:
    assert packing.fitting(["a" * 10] * 5, limit=30) == ["a" * 10] * 2
    assert packing.fitting(["a" * 100], limit=30) == ["a" * 100]
