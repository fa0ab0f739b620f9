"""Files that open with a passphrase only, written and read as a stream.

Each part is sealed in its place: one that was changed, left out, doubled or moved is noticed, and
so is a missing end. Nothing of a part is given out before it has been verified.
"""

import struct
from typing import BinaryIO

import nacl.bindings as sodium
import nacl.exceptions
import nacl.utils

from homeserver import errors, keyring

_MAGIC = b"homeserver sealed file 1\n"
_SALT_BYTES = 16
_HEAD = struct.Struct(f">{_SALT_BYTES}sQQ")
_PART = 1 << 16
_MORE = sodium.crypto_secretstream_xchacha20poly1305_TAG_MESSAGE
_END = sodium.crypto_secretstream_xchacha20poly1305_TAG_FINAL
_OVERHEAD = sodium.crypto_secretstream_xchacha20poly1305_ABYTES


class NotASealedFile(errors.HomeserverError):
    """That file is not a backup of this program."""


class CannotOpen(errors.HomeserverError):
    """That passphrase does not open the file, or the file is damaged."""


class SealedWriter:
    """Seals what is written to it. `finish` writes the end, without which nobody can read it."""

    def __init__(self, target: BinaryIO, passphrase: str) -> None:
        self._target = target
        self._waiting = bytearray()
        salt = nacl.utils.random(_SALT_BYTES)
        head = _MAGIC + _HEAD.pack(salt, keyring.OPERATIONS, keyring.MEMORY)
        key = keyring.stretch(passphrase, salt, keyring.OPERATIONS, keyring.MEMORY)
        self._state = sodium.crypto_secretstream_xchacha20poly1305_state()
        start = sodium.crypto_secretstream_xchacha20poly1305_init_push(self._state, key)
        self._head = head
        target.write(head + start)

    def write(self, content: bytes) -> int:
        """Take more of the content."""
        self._waiting += content
        while len(self._waiting) > _PART:
            self._seal(bytes(self._waiting[:_PART]), _MORE)
            del self._waiting[:_PART]
        return len(content)

    def finish(self) -> None:
        """Write what is left and the end."""
        self._seal(bytes(self._waiting), _END)
        self._waiting.clear()

    def _seal(self, part: bytes, tag: int) -> None:
        sealed = sodium.crypto_secretstream_xchacha20poly1305_push(
            self._state, part, self._head, tag
        )
        self._target.write(sealed)


class SealedReader:
    """Reads what `SealedWriter` wrote. Raises CannotOpen where it does not verify."""

    def __init__(self, source: BinaryIO, passphrase: str) -> None:
        self._source = source
        self._open = b""
        self._has_ended = False
        self._head = source.read(len(_MAGIC) + _HEAD.size)
        if not self._head.startswith(_MAGIC) or len(self._head) < len(_MAGIC) + _HEAD.size:
            raise NotASealedFile
        salt, operations, memory = _HEAD.unpack(self._head[len(_MAGIC) :])
        if memory > keyring.MOST_MEMORY or operations > keyring.MOST_OPERATIONS:
            raise CannotOpen
        start = source.read(sodium.crypto_secretstream_xchacha20poly1305_HEADERBYTES)
        self._state = sodium.crypto_secretstream_xchacha20poly1305_state()
        try:
            key = keyring.stretch(passphrase, salt, operations, memory)
            sodium.crypto_secretstream_xchacha20poly1305_init_pull(self._state, start, key)
        except (nacl.exceptions.CryptoError, ValueError) as error:
            raise CannotOpen from error

    def read(self, size: int) -> bytes:
        """At most so many bytes of the content; none at its end."""
        while not self._open and not self._has_ended:
            self._open = self._next_part()
        taken, self._open = self._open[:size], self._open[size:]
        return taken

    def check_end(self) -> None:
        """Read to the end; raises CannotOpen where the file ends too early or goes on."""
        while self.read(_PART):
            pass
        if self._source.read(1):
            raise CannotOpen

    def _next_part(self) -> bytes:
        sealed = self._source.read(_PART + _OVERHEAD)
        try:
            part, tag = sodium.crypto_secretstream_xchacha20poly1305_pull(
                self._state, sealed, self._head
            )
        except (nacl.exceptions.CryptoError, ValueError, RuntimeError) as error:
            raise CannotOpen from error
        self._has_ended = tag == _END
        return bytes(part)
