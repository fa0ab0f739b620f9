"""A sealed file opens with its passphrase, whole and unchanged, or not at all."""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeserver import keyring
from homeserver.app import sealed_files
from homeserver.app.sealed_files import CannotOpen, NotASealedFile, SealedReader, SealedWriter

PASSPHRASE = "correct horse battery staple"
PART = 1 << 16


@pytest.fixture(autouse=True, scope="module")
def cheap() -> None:
    """Stretch the passphrase cheaply: these tests are not about guessing."""
    patch = pytest.MonkeyPatch()
    patch.setattr(keyring, "OPERATIONS", 1)
    patch.setattr(keyring, "MEMORY", 1 << 13)


def sealed(*pieces: bytes, passphrase: str = PASSPHRASE) -> bytes:
    target = io.BytesIO()
    writer = SealedWriter(target, passphrase)
    for piece in pieces:
        writer.write(piece)
    writer.finish()
    return target.getvalue()


def opened(content: bytes, passphrase: str = PASSPHRASE) -> bytes:
    reader = SealedReader(io.BytesIO(content), passphrase)
    read = bytearray()
    while part := reader.read(10_000):
        read += part
    reader.check_end()
    return bytes(read)


@pytest.mark.parametrize("size", [0, 1, PART - 1, PART, PART + 1, 3 * PART, 200_001])
def test_what_was_written_is_read(size: int) -> None:
    content = bytes(range(256)) * (size // 256 + 1)
    assert opened(sealed(content[:size])) == content[:size]


@given(st.lists(st.binary(max_size=5_000), max_size=8))
def test_the_size_of_the_writes_does_not_matter(pieces: list[bytes]) -> None:
    assert opened(sealed(*pieces)) == b"".join(pieces)


def test_another_passphrase_opens_nothing() -> None:
    with pytest.raises(CannotOpen):
        opened(sealed(b"secret"), "correct horse battery stable")


def test_something_else_is_not_taken_for_a_sealed_file() -> None:
    for content in (b"", b"PK\x03\x04", b"homeserver sealed file 1"):
        with pytest.raises(NotASealedFile):
            opened(content)


@settings(max_examples=60)
@given(st.data())
def test_no_changed_byte_is_read(data: st.DataObject) -> None:
    content = bytearray(sealed(b"a" * PART + b"b" * 300))
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises((CannotOpen, NotASealedFile)):
        opened(bytes(content))


@pytest.mark.parametrize("memory", [0, 1, 8_191])
def test_a_header_that_asks_for_hardly_any_memory_is_refused(memory: int) -> None:
    content = bytearray(sealed(b"a"))
    place = len(sealed_files._MAGIC) + sealed_files._HEAD.size - 8
    content[place : place + 8] = memory.to_bytes(8, "big")
    with pytest.raises(CannotOpen):
        opened(bytes(content))


@settings(max_examples=60)
@given(st.data())
def test_no_end_may_be_missing(data: st.DataObject) -> None:
    content = sealed(b"a" * PART, b"b" * PART, b"c")
    length = data.draw(st.integers(0, len(content) - 1))
    with pytest.raises((CannotOpen, NotASealedFile)):
        opened(content[:length])


def test_nothing_may_follow_the_end() -> None:
    with pytest.raises(CannotOpen):
        opened(sealed(b"whole") + b"more")


def test_parts_keep_their_places() -> None:
    content = sealed(b"a" * PART, b"b" * PART, b"c")
    part = PART + sealed_files._OVERHEAD
    start = len(content) - 2 * part - 1 - sealed_files._OVERHEAD
    one, two = content[start : start + part], content[start + part : start + 2 * part]
    swapped = content[:start] + two + one + content[start + 2 * part :]
    assert len(swapped) == len(content)
    with pytest.raises(CannotOpen):
        opened(swapped)


def test_a_file_cannot_ask_for_all_the_memory_there_is() -> None:
    content = bytearray(sealed(b"x"))
    place = len(sealed_files._MAGIC) + sealed_files._SALT_BYTES + 8
    content[place : place + 8] = (1 << 40).to_bytes(8, "big")
    with pytest.raises(CannotOpen):
        opened(bytes(content))
