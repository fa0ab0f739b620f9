"""The key of the data directory, and the keys derived from it.

One master key lies in a file that only the owner can read, locked by a passphrase if the owner
wants one. Everything secret in the database is sealed under a key of its own, derived by purpose
and row, so that no two rows share a key.
"""

import hashlib
import hmac
import json
import os
from pathlib import Path

import nacl.exceptions
import nacl.pwhash
import nacl.secret
import nacl.utils

from homeserver import errors

_FILE = "master.key"
_KEY_BYTES = 32
# What stretching a passphrase costs today, and the most that a file may ask for.
OPERATIONS = nacl.pwhash.argon2id.OPSLIMIT_MODERATE
MEMORY = nacl.pwhash.argon2id.MEMLIMIT_MODERATE
MOST_OPERATIONS = 64
MOST_MEMORY = 1 << 30


class KeyringLocked(errors.HomeserverError):
    """The data directory is locked. Give the passphrase it was locked with."""


class KeyringDamaged(errors.HomeserverError):
    """The master key file is damaged, or something was sealed under another master key."""


def hkdf(secret: bytes, info: bytes, *, salt: bytes = b"") -> bytes:
    """Derive 32 bytes from a secret; another `info` gives an unrelated key (RFC 5869, SHA-256)."""
    extracted = hmac.digest(salt or bytes(_KEY_BYTES), secret, hashlib.sha256)
    return hmac.digest(extracted, info + b"\x01", hashlib.sha256)


class Keyring:
    """Derives every key that protects something at rest."""

    def __init__(self, master: bytes) -> None:
        if len(master) != _KEY_BYTES:
            raise KeyringDamaged
        self._master = master

    def derive(self, purpose: str, row: str = "") -> bytes:
        """The 32 bytes for one purpose and one row."""
        return hkdf(self._master, f"homeserver/{purpose}\0{row}".encode())

    def seal(self, purpose: str, row: str, plaintext: bytes) -> bytes:
        """Encrypt what is stored in one row; it opens for the same purpose and row only."""
        return bytes(nacl.secret.SecretBox(self.derive(purpose, row)).encrypt(plaintext))

    def open(self, purpose: str, row: str, sealed: bytes) -> bytes:
        """Decrypt what `seal` made."""
        try:
            return nacl.secret.SecretBox(self.derive(purpose, row)).decrypt(sealed)
        except (nacl.exceptions.CryptoError, ValueError) as error:
            raise KeyringDamaged from error


def open_keyring(directory: Path, passphrase: str | None = None) -> Keyring:
    """Read the master key of a data directory, or make one in a new directory."""
    path = directory / _FILE
    if not path.exists():
        master = nacl.utils.random(_KEY_BYTES)
        _write(path, master, passphrase)
        return Keyring(master)
    return Keyring(_read(path, passphrase))


def change_passphrase(directory: Path, before: str | None, after: str | None) -> None:
    """Lock the master key with another passphrase, or with none."""
    path = directory / _FILE
    _write(path, _read(path, before), after)


def is_locked(directory: Path) -> bool:
    """Whether the master key needs a passphrase."""
    path = directory / _FILE
    return path.exists() and "salt" in _parse(path)


def _read(path: Path, passphrase: str | None) -> bytes:
    stored = _parse(path)
    try:
        key = bytes.fromhex(stored["key"])
        if "salt" not in stored:
            return key
        salt, operations, memory = (
            bytes.fromhex(stored["salt"]),
            int(stored["operations"]),
            int(stored["memory"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise KeyringDamaged from error
    if not passphrase or memory > MOST_MEMORY:
        raise KeyringLocked
    try:
        return _lock(passphrase, salt, operations, memory).decrypt(key)
    except nacl.exceptions.CryptoError as error:
        raise KeyringLocked from error


def _write(path: Path, master: bytes, passphrase: str | None) -> None:
    """Replace the file at once, so that a crash leaves the one before or the one after."""
    stored: dict[str, object] = {"version": 1, "key": master.hex()}
    if passphrase:
        salt = nacl.utils.random(nacl.pwhash.argon2id.SALTBYTES)
        locked = _lock(passphrase, salt, OPERATIONS, MEMORY).encrypt(master)
        stored |= {
            "key": bytes(locked).hex(),
            "salt": salt.hex(),
            "operations": OPERATIONS,
            "memory": MEMORY,
        }
    write_private(path, json.dumps(stored).encode())


def stretch(passphrase: str, salt: bytes, operations: int, memory: int) -> bytes:
    """Make a key of a passphrase, slowly (argon2id): 32 bytes."""
    return nacl.pwhash.argon2id.kdf(
        _KEY_BYTES, passphrase.encode(), salt, opslimit=operations, memlimit=memory
    )


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, durably and in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".writing")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def _lock(passphrase: str, salt: bytes, operations: int, memory: int) -> nacl.secret.SecretBox:
    return nacl.secret.SecretBox(stretch(passphrase, salt, operations, memory))


def _parse(path: Path) -> dict[str, str]:
    try:
        stored = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise KeyringDamaged from error
    if not isinstance(stored, dict):
        raise KeyringDamaged
    return stored
