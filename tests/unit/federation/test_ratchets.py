"""The same verbs on both Olm libraries, and between them."""

import itertools

import pytest

from federation.ratchets.interface import (
    NORMAL,
    PRE_KEY,
    OlmMessage,
    PickleKeys,
    Ratchets,
    Undecryptable,
)
from federation.ratchets.libolm import Libolm
from federation.ratchets.vodozemac import Vodozemac
from homeserver import errors
from homeserver.testing.fast_ratchets import FastRatchets

LIBRARIES: list[Ratchets] = [Libolm(), Vodozemac()]
# The stand-in of simulations understands nobody but itself.
STAND_IN: Ratchets = FastRatchets("a seed")
A_KEYS, B_KEYS = (PickleKeys(bytes([n]) * 32, bytes([n + 1]) * 32) for n in (1, 3))
BINARY = bytes(range(256)) + "é\ud800".encode("utf-8", "surrogatepass") + b"\xff\x00"


@pytest.fixture(
    params=[*itertools.product(LIBRARIES, LIBRARIES), (STAND_IN, STAND_IN)],
    ids=lambda pair: "-".join(type(one).__name__ for one in pair),
)
def pair(request: pytest.FixtureRequest) -> tuple[Ratchets, Ratchets]:
    chosen: tuple[Ratchets, Ratchets] = request.param
    return chosen


class Talk:
    """A session between two sides."""

    def __init__(self, a: Ratchets, b: Ratchets) -> None:
        self.a, self.b = a, b
        self.account_a = a.create_account(A_KEYS.account)
        account_b = b.create_account(B_KEYS.account)
        one_time_key, self.account_b = b.create_one_time_key(account_b, B_KEYS.account)
        self.identity_a = a.identity_key(self.account_a, A_KEYS.account)
        self.identity_b = b.identity_key(self.account_b, B_KEYS.account)
        self.session_a = a.start_session(self.account_a, A_KEYS, self.identity_b, one_time_key)
        self.first, self.session_a = a.encrypt(self.session_a, A_KEYS.session, b"first")
        accepted = b.accept_session(self.account_b, B_KEYS, self.identity_a, self.first)
        assert accepted.plaintext == b"first"
        self.account_b_before, self.account_b = self.account_b, accepted.account
        self.session_b = accepted.session

    def to_b(self, plaintext: bytes) -> bytes:
        message, self.session_a = self.a.encrypt(self.session_a, A_KEYS.session, plaintext)
        read, self.session_b = self.b.decrypt(self.session_b, B_KEYS.session, message)
        return read

    def to_a(self, plaintext: bytes) -> bytes:
        message, self.session_b = self.b.encrypt(self.session_b, B_KEYS.session, plaintext)
        read, self.session_a = self.a.decrypt(self.session_a, A_KEYS.session, message)
        return read


def test_any_bytes_travel_both_ways(pair: tuple[Ratchets, Ratchets]) -> None:
    talk = Talk(*pair)
    for size in (0, 1, 5_000):
        assert talk.to_b(BINARY * size) == BINARY * size
        assert talk.to_a(BINARY * size) == BINARY * size


def test_messages_are_pre_key_until_the_first_answer(pair: tuple[Ratchets, Ratchets]) -> None:
    talk = Talk(*pair)
    assert talk.first.kind == PRE_KEY
    message, talk.session_a = talk.a.encrypt(talk.session_a, A_KEYS.session, b"x")
    assert message.kind == PRE_KEY
    _, talk.session_b = talk.b.decrypt(talk.session_b, B_KEYS.session, message)
    talk.to_a(b"answer")
    message, _ = talk.a.encrypt(talk.session_a, A_KEYS.session, b"x")
    assert message.kind == NORMAL


def test_a_one_time_key_opens_one_session(pair: tuple[Ratchets, Ratchets]) -> None:
    talk = Talk(*pair)
    with pytest.raises(Undecryptable):
        talk.b.accept_session(talk.account_b, B_KEYS, talk.identity_a, talk.first)


def test_the_sender_named_has_to_be_the_sender(pair: tuple[Ratchets, Ratchets]) -> None:
    talk = Talk(*pair)
    with pytest.raises(Undecryptable):
        talk.b.accept_session(talk.account_b_before, B_KEYS, talk.identity_b, talk.first)


def test_a_replay_is_refused_and_changes_nothing(pair: tuple[Ratchets, Ratchets]) -> None:
    talk = Talk(*pair)
    message, talk.session_a = talk.a.encrypt(talk.session_a, A_KEYS.session, b"once")
    _, talk.session_b = talk.b.decrypt(talk.session_b, B_KEYS.session, message)
    with pytest.raises(Undecryptable):
        talk.b.decrypt(talk.session_b, B_KEYS.session, message)
    assert talk.to_b(b"next") == b"next"


def test_damaged_messages_are_refused(pair: tuple[Ratchets, Ratchets]) -> None:
    talk = Talk(*pair)
    message, _ = talk.a.encrypt(talk.session_a, A_KEYS.session, b"text")
    for body in (b"", b"\x03", message.body[:-1], bytes([message.body[0]]) * 50):
        for kind in (PRE_KEY, NORMAL):
            damaged = OlmMessage(kind, body)
            with pytest.raises(Undecryptable):
                talk.b.decrypt(talk.session_b, B_KEYS.session, damaged)
            with pytest.raises(Undecryptable):
                talk.b.accept_session(talk.account_b_before, B_KEYS, talk.identity_a, damaged)


def test_wrong_keys_start_no_session(pair: tuple[Ratchets, Ratchets]) -> None:
    a, _ = pair
    account = a.create_account(A_KEYS.account)
    with pytest.raises(errors.InvalidParam):
        a.start_session(account, A_KEYS, "no key", "no key either")


def test_a_group_is_read_by_whoever_holds_its_key(pair: tuple[Ratchets, Ratchets]) -> None:
    a, b = pair
    key_a, key_b = A_KEYS.session, B_KEYS.session
    group = a.create_group(key_a)
    early, group = a.encrypt_group(group, key_a, b"before")
    inbound = b.accept_group(a.group_key(group, key_a), key_b)
    late, group = a.encrypt_group(group, key_a, BINARY)
    with pytest.raises(Undecryptable):
        b.decrypt_group(inbound, key_b, early)
    read, inbound = b.decrypt_group(inbound, key_b, late)
    assert (read.plaintext, read.index) == (BINARY, 1)
    assert a.group_id(group, key_a)
    with pytest.raises(Undecryptable):
        b.decrypt_group(inbound, key_b, b"nothing")
    with pytest.raises(Undecryptable):
        b.accept_group("no key", key_b)
