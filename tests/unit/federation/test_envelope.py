"""Boxes: exact sizes, both directions apart, and no bytes that crash."""

import nacl.bindings
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation import envelope
from federation.envelope import SIZES, BadEnvelope, Envelope
from homeserver import errors

KEYS = envelope.door_keys(b"k" * 32)
NONCE = b"n" * 24

envelopes = st.builds(
    Envelope,
    answers=st.binary(min_size=24, max_size=24),
    epoch=st.integers(0, 2**32 - 1),
    sequence=st.integers(0, 2**64 - 1),
    acknowledged=st.integers(0, 2**64 - 1),
    receipt=st.binary(min_size=16, max_size=16),
    settled=st.integers(0, 2**64 - 1),
    patience_s=st.integers(0, 2**16 - 1),
    is_full=st.booleans(),
    is_restored=st.booleans(),
    lacks_group=st.booleans(),
    note=st.binary(max_size=300),
    olm_kind=st.integers(0, 1),
    olm=st.binary(max_size=2_000),
    group_messages=st.lists(st.binary(max_size=100), max_size=5).map(tuple),
)


@given(content=envelopes)
def test_what_is_sealed_opens_again(content: Envelope) -> None:
    box = envelope.seal(KEYS.request, NONCE, content)
    assert len(box) in SIZES
    assert envelope.nonce_of(box) == NONCE
    assert envelope.open_box(KEYS.request, box) == content


@pytest.mark.parametrize("size", SIZES)
def test_a_box_has_one_of_five_sizes(size: int) -> None:
    def sealed(olm: int) -> bytes:
        return envelope.seal(KEYS.request, NONCE, Envelope(olm=b"o" * olm))

    empty = 24 + 16 + 24 + envelope._HEADER.size
    assert len(sealed(size - empty)) == size
    if size == SIZES[-1]:
        with pytest.raises(errors.TooLarge):
            sealed(size - empty + 1)
    else:
        assert len(sealed(size - empty + 1)) == size * 4


def test_the_two_directions_have_keys_of_their_own() -> None:
    box = envelope.seal(KEYS.request, NONCE, Envelope())
    with pytest.raises(BadEnvelope):
        envelope.open_box(KEYS.answer, box)
    with pytest.raises(BadEnvelope):
        envelope.open_box(envelope.door_keys(b"j" * 32).request, box)


@given(at=st.integers(0, SIZES[0] - 1), bit=st.integers(0, 7))
def test_one_changed_bit_closes_a_box(at: int, bit: int) -> None:
    box = bytearray(envelope.seal(KEYS.request, NONCE, Envelope(olm=b"text")))
    box[at] ^= 1 << bit
    with pytest.raises(BadEnvelope):
        envelope.open_box(KEYS.request, bytes(box))


@given(box=st.binary(max_size=64) | st.binary(min_size=SIZES[0], max_size=SIZES[0]))
def test_other_bytes_do_not_open(box: bytes) -> None:
    with pytest.raises(BadEnvelope):
        envelope.open_box(KEYS.request, box)


@settings(max_examples=300)
@given(content=st.binary(max_size=SIZES[0] - 40))
def test_whatever_the_holder_of_the_key_writes_is_read_or_refused(content: bytes) -> None:
    padded = content.ljust(SIZES[0] - 40, b"\0")
    box = NONCE + nacl.bindings.crypto_secretbox(padded, NONCE, KEYS.request)
    try:
        read = envelope.open_box(KEYS.request, box)
    except BadEnvelope:
        return
    assert envelope.open_box(KEYS.request, envelope.seal(KEYS.request, NONCE, read)) == read


def test_bytes_after_the_end_are_refused() -> None:
    box = envelope.seal(KEYS.request, NONCE, Envelope(olm=b"text"))
    content = bytearray(nacl.bindings.crypto_secretbox_open(box[24:], NONCE, KEYS.request))
    content[-1] = 1
    damaged = NONCE + nacl.bindings.crypto_secretbox(bytes(content), NONCE, KEYS.request)
    with pytest.raises(BadEnvelope):
        envelope.open_box(KEYS.request, damaged)


def damaged(at: int, value: int) -> bytes:
    """A box of the key's holder, with one byte of its content changed."""
    box = envelope.seal(KEYS.request, NONCE, Envelope(olm=b"text"))
    content = bytearray(nacl.bindings.crypto_secretbox_open(box[24:], NONCE, KEYS.request))
    content[at] = value
    return NONCE + nacl.bindings.crypto_secretbox(bytes(content), NONCE, KEYS.request)


@pytest.mark.parametrize(
    ("at", "value"),
    [(24, 2), (25, 0), (72, 255), (76, 255)],
    ids=[
        "another version",
        "an olm message nobody spoke of",
        "a note that is too long",
        "an olm message that is too long",
    ],
)
def test_a_damaged_header_is_refused(at: int, value: int) -> None:
    with pytest.raises(BadEnvelope):
        envelope.open_box(KEYS.request, damaged(at, value))
