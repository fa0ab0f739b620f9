"""What a receiver makes of group messages: one room, one peer, each index once, or nothing."""

import orjson
import pytest

from federation import group_receiving
from federation.group_frames import Groups, hash_of, write_plaintext
from federation.payloads import Frame
from federation.ratchets.interface import Undecryptable
from federation.turn_state import TurnState
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import RoomId
from homeserver.storage.unit_of_work import UnitOfWork
from tests.federation.conftest import Meeting, digest
from tests.federation.node import ROOM, Node
from tests.federation.trio import befriended


class Told:
    """A frame with one group message, for trying what a receiver takes."""

    def __init__(self, receiver: Node, sender: Node) -> None:
        self.receiver, self.sender = receiver, sender
        self.sessions = sender.federation.party.sessions
        self.pickle, self.session_id, sealed = self.sessions.create_group("row")
        self.key = self.sessions.group_key("row", sealed)
        self.room_id = ROOM
        self.direction = sender.own.node_id
        self.keys = True

    def encrypt(self, pdu: JsonObject, room_id: str | None = None) -> bytes:
        plaintext = write_plaintext(
            self.direction, RoomId(room_id or self.room_id), orjson.dumps(pdu)
        )
        ciphertext, self.pickle = self.sessions.encrypt_group("row", self.pickle, plaintext)
        return ciphertext

    def groups(self, ciphertext: bytes, place: int = 0) -> JsonObject:
        key = {
            "room_id": self.room_id,
            "session_id": self.session_id,
            "session_key": self.key,
        }
        message = {"place": place, "session_id": self.session_id, "sha256": hash_of(ciphertext)}
        told = {"keys": [key] if self.keys else [], "messages": [message]}
        Groups.model_validate(told)
        return told

    async def take(
        self, told: object, *ciphertexts: bytes, pdus: object = (), by: Node | None = None
    ) -> list[JsonObject]:
        """What the receiver makes of it; raises `Undecryptable`."""
        sender = by or self.sender
        body = {"pdus": list(pdus) if isinstance(pdus, tuple) else pdus, "groups": told}
        frame = Frame(
            direction=sender.own.node_id,
            epoch=1,
            sequence=1,
            sent_at=1,
            kind="transaction",
            body=body,
        )

        def operation(work: UnitOfWork) -> list[JsonObject]:
            party = self.receiver.federation.party
            state = TurnState(work, party, sender.server_name, sender.own.node_id)
            read = group_receiving.read_beside(state, frame, ciphertexts)
            assert "groups" not in read.body
            found: list[JsonObject] = read.body["pdus"]
            return found

        return await self.receiver.database.write(operation)


PDU = {"room_id": ROOM, "text": "x"}


@pytest.fixture
async def told(meeting: Meeting) -> Told:
    trio = await befriended(meeting)
    return Told(trio.bob, trio.alice)


async def test_a_session_is_taken_for_one_room(told: Told) -> None:
    first = told.encrypt(PDU)
    assert await told.take(told.groups(first), first) == [PDU]
    other = {"room_id": "!other", "text": "x"}
    for ciphertext in (told.encrypt(other, "!other"), told.encrypt(other), told.encrypt(PDU, "!o")):
        with pytest.raises(Undecryptable):
            await told.take(told.groups(ciphertext), ciphertext)
    told.room_id = RoomId("!other")  # to say so again changes nothing
    moved = told.encrypt(other)
    with pytest.raises(Undecryptable):
        await told.take(told.groups(moved), moved)


async def test_a_session_is_taken_from_the_peer_whose_it_is(told: Told, meeting: Meeting) -> None:
    carol = meeting.nodes[2]
    ciphertext = told.encrypt(PDU)
    with pytest.raises(Undecryptable):
        await told.take(told.groups(ciphertext), ciphertext, by=carol)
    assert await told.take(told.groups(ciphertext), ciphertext) == [PDU]
    again = told.encrypt(PDU)
    told.keys = False
    with pytest.raises(Undecryptable):
        await told.take(told.groups(again), again, by=carol)


async def test_an_index_counts_once(told: Told) -> None:
    first, second, third = (told.encrypt(PDU) for _ in range(3))
    assert await told.take(told.groups(second), second) == [PDU]
    for used in (first, second):
        with pytest.raises(Undecryptable):
            await told.take(told.groups(used), used)
    assert await told.take(told.groups(third), third) == [PDU]


async def test_a_restored_sender_that_repeats_an_index_is_not_read(told: Told) -> None:
    before = told.pickle
    first = told.encrypt(PDU)
    assert await told.take(told.groups(first), first) == [PDU]
    told.pickle = before
    repeated = told.encrypt(PDU | {"text": "another"})
    with pytest.raises(Undecryptable):
        await told.take(told.groups(repeated), repeated)


async def test_a_session_that_has_ended_is_never_taken_again(told: Told) -> None:
    first, later = told.encrypt(PDU), told.encrypt(PDU)
    assert await told.take(told.groups(first), first) == [PDU]
    successor = Told(told.receiver, told.sender)
    opening = successor.encrypt(PDU)
    assert await successor.take(successor.groups(opening), opening) == [PDU]
    with pytest.raises(Undecryptable):
        await told.take(told.groups(later), later)


async def test_what_cannot_be_read_stores_nothing(told: Told) -> None:
    ciphertext = told.encrypt(PDU)
    sound = told.groups(ciphertext)
    before = digest(told.receiver)
    for false in (
        None,
        {},
        {"keys": [], "messages": sound["messages"]},
        {"keys": sound["keys"], "messages": sound["messages"] * 2},
        {"keys": sound["keys"], "messages": [sound["messages"][0] | {"place": 1}]},
        {"keys": sound["keys"], "messages": [sound["messages"][0] | {"sha256": "0" * 64}]},
        {"keys": [sound["keys"][0] | {"session_key": "AAAA"}], "messages": sound["messages"]},
    ):
        with pytest.raises(Undecryptable):
            await told.take(false, ciphertext)
    with pytest.raises(Undecryptable):
        await told.take(sound)
    with pytest.raises(Undecryptable):
        await told.take(sound, ciphertext, pdus=None)
    assert digest(told.receiver) == before
    assert await told.take(sound, b"more", ciphertext, pdus=(PDU,)) == [PDU, PDU]
