"""Olm and Megolm behind a few verbs: (pickle, input) -> (output, pickle afterwards).

A pickle is opaque bytes, encrypted by the library under the 32-byte key given with it. No verb
keeps anything: a result that is not stored has not happened. Messages are raw bytes.
"""

from dataclasses import dataclass
from typing import Protocol

from homeserver import errors

PRE_KEY = 0
NORMAL = 1


class Undecryptable(errors.HomeserverError):
    """An encrypted message could not be read."""


@dataclass(frozen=True, slots=True)
class OlmMessage:
    """One Olm message: `PRE_KEY` until the first answer was read, `NORMAL` afterwards."""

    kind: int
    body: bytes


@dataclass(frozen=True, slots=True)
class PickleKeys:
    """The keys that lock an account and a session that belongs to it."""

    account: bytes
    session: bytes


@dataclass(frozen=True, slots=True)
class AcceptedSession:
    """What the first pre-key message of a session brings."""

    account: bytes
    session: bytes
    plaintext: bytes


@dataclass(frozen=True, slots=True)
class GroupMessage:
    """What a group ciphertext held, and its index in the session: the same one only once."""

    plaintext: bytes
    index: int


class Ratchets(Protocol):
    """What an Olm library does for us. Keys are unpadded base64, as Matrix writes them."""

    def create_account(self, key: bytes) -> bytes:
        """Make an account with an identity key of its own."""
        ...

    def identity_key(self, account: bytes, key: bytes) -> str:
        """The account's Curve25519 key."""
        ...

    def create_one_time_key(self, account: bytes, key: bytes) -> tuple[str, bytes]:
        """Make one one-time key and return it with the account that now holds it."""
        ...

    def start_session(
        self, account: bytes, keys: PickleKeys, identity_key: str, one_time_key: str
    ) -> bytes:
        """Start a session with the owner of these keys."""
        ...

    def accept_session(
        self, account: bytes, keys: PickleKeys, identity_key: str, message: OlmMessage
    ) -> AcceptedSession:
        """Read the first pre-key message; its one-time key is used up afterwards."""
        ...

    def encrypt(self, session: bytes, key: bytes, plaintext: bytes) -> tuple[OlmMessage, bytes]:
        """Encrypt and step the ratchet."""
        ...

    def decrypt(self, session: bytes, key: bytes, message: OlmMessage) -> tuple[bytes, bytes]:
        """Decrypt and step the ratchet; raises `Undecryptable` and changes nothing."""
        ...

    def create_group(self, key: bytes) -> bytes:
        """Start an outbound group session."""
        ...

    def group_id(self, group: bytes, key: bytes) -> str:
        """The outbound session's ID."""
        ...

    def group_key(self, group: bytes, key: bytes) -> str:
        """The session key to share: it reads everything from the present index on."""
        ...

    def encrypt_group(self, group: bytes, key: bytes, plaintext: bytes) -> tuple[bytes, bytes]:
        """Encrypt once for everyone who holds the session key."""
        ...

    def accept_group(self, session_key: str, key: bytes) -> bytes:
        """Take a peer's session key in as an inbound group session."""
        ...

    def decrypt_group(
        self, inbound: bytes, key: bytes, ciphertext: bytes
    ) -> tuple[GroupMessage, bytes]:
        """Decrypt one group message. Replays are not noticed here."""
        ...
