"""Whether any key of a ratchet is used twice: one (key, index) may stand for one ciphertext only.

Reads what is in the clear in an Olm message: the ratchet key, the index on its chain. Knows nothing
of the messages of stand-ins.
"""

import hashlib
from collections.abc import Iterator
from typing import Any

from federation.ratchets.interface import (
    PRE_KEY,
    AcceptedSession,
    GroupMessage,
    OlmMessage,
    PickleKeys,
    Ratchets,
)
from homeserver.testing.letters import Letters

_VERSIONS = (3, 4)
_RATCHET_KEY, _INDEX, _INNER = 0x0A, 0x10, 0x22
_GROUP_INDEX = 0x08


class KeyUses:
    """Every use of a key that any server of a world has shown, and what was used twice."""

    def __init__(self) -> None:
        self._uses: dict[tuple[bytes, int], bytes] = {}
        self.repeated: list[str] = []

    def note(self, kind: int, body: bytes) -> None:
        """An Olm message was sent or read."""
        fields = dict(_fields(body))
        if kind == PRE_KEY:
            body = fields.get(_INNER, b"")
            fields = dict(_fields(body))
        key, index = fields.get(_RATCHET_KEY), fields.get(_INDEX)
        if isinstance(key, bytes) and isinstance(index, int):
            self._note(key, index, body)

    def note_group(self, session: bytes, index: int, ciphertext: bytes) -> None:
        """A group message was read."""
        self._note(session, index, ciphertext)

    def note_group_message(self, session_id: str, ciphertext: bytes) -> None:
        """A group message left, to one of those who get it; all of them get the same."""
        # The first one counts: behind the ciphertext stand bytes that only look like fields.
        indices = (value for tag, value in _fields(ciphertext) if tag == _GROUP_INDEX)
        index = next(indices, None)
        if isinstance(index, int):
            self._note(session_id.encode(), index, ciphertext)

    def _note(self, key: bytes, index: int, message: bytes) -> None:
        digest = hashlib.blake2b(message, digest_size=16).digest()
        if self._uses.setdefault((key, index), digest) != digest:
            self.repeated.append(f"the key at index {index} of a ratchet was used twice")


class WatchedRatchets:
    """Ratchets, of whatever kind; what they read is noted, what they seal is remembered."""

    def __init__(self, ratchets: Ratchets, uses: KeyUses, letters: Letters) -> None:
        self._ratchets = ratchets
        self._uses = uses
        self._letters = letters
        self.create_account = ratchets.create_account
        self.identity_key = ratchets.identity_key
        self.create_one_time_key = ratchets.create_one_time_key
        self.start_session = ratchets.start_session
        self.create_group = ratchets.create_group
        self.group_id = ratchets.group_id
        self.group_key = ratchets.group_key
        self.encrypt_group = ratchets.encrypt_group
        self.accept_group = ratchets.accept_group

    def accept_session(
        self, account: bytes, keys: PickleKeys, identity_key: str, message: OlmMessage
    ) -> AcceptedSession:
        """Read the first pre-key message."""
        accepted = self._ratchets.accept_session(account, keys, identity_key, message)
        self._uses.note(message.kind, message.body)
        return accepted

    def encrypt(self, session: bytes, key: bytes, plaintext: bytes) -> tuple[OlmMessage, bytes]:
        """Encrypt and step the ratchet."""
        message, stepped = self._ratchets.encrypt(session, key, plaintext)
        self._letters.keep(message.body, plaintext)
        return message, stepped

    def decrypt(self, session: bytes, key: bytes, message: OlmMessage) -> tuple[bytes, bytes]:
        """Decrypt and step the ratchet."""
        decrypted = self._ratchets.decrypt(session, key, message)
        self._uses.note(message.kind, message.body)
        return decrypted

    def decrypt_group(
        self, inbound: bytes, key: bytes, ciphertext: bytes
    ) -> tuple[GroupMessage, bytes]:
        """Decrypt one group message; the pickle's key tells reader and session."""
        decrypted = self._ratchets.decrypt_group(inbound, key, ciphertext)
        self._uses.note_group(key, decrypted[0].index, ciphertext)
        return decrypted


def watched(library: str, uses: KeyUses, letters: Letters) -> Ratchets:
    """The ratchets of a library, watched."""
    if library == "vodozemac":
        from federation.ratchets.vodozemac import Vodozemac

        return WatchedRatchets(Vodozemac(), uses, letters)
    from federation.ratchets.libolm import Libolm

    return WatchedRatchets(Libolm(), uses, letters)


def _fields(body: bytes) -> Iterator[tuple[int, Any]]:
    """The tagged fields of an Olm message, as far as they can be read."""
    if not body or body[0] not in _VERSIONS:
        return
    at = 1
    while at < len(body):
        tag, at = body[at], at + 1
        value, at = _number(body, at)
        if tag & 7 == 2:  # noqa: PLR2004 - a length, and so many bytes
            yield tag, body[at : at + value]
            at += value
        else:
            yield tag, value
        if tag == _INNER:
            return


def _number(body: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(body):
        byte, at = body[at], at + 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            break
    return value, at
