"""A stand-in for Olm and Megolm that hides nothing and costs next to nothing, for simulations.

What it makes is marked, keeps the order of keys and indices that the real ones keep (a one-time key
works once, a message is read once, a wrong key or a changed byte is noticed), and travels in the
clear. No setting names it: only a `World` can be told to use it.
"""

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from typing import Any

import orjson

from federation.ratchets.interface import (
    NORMAL,
    PRE_KEY,
    AcceptedSession,
    GroupMessage,
    OlmMessage,
    PickleKeys,
    Undecryptable,
)
from homeserver import errors
from homeserver.testing import chance

MARK = b"NOT ENCRYPTED "
_KEY, _TAG = 32, 16
_MOST_SKIPPED = 40  # as libolm keeps them
_HEAD = len(MARK) + _TAG

_Opened = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Wire:
    """A message as it travels: which session and direction, which index; at first whose it is."""

    root: str
    from_starter: bool
    index: int
    introduction: str  # the starter's identity key and the one-time key, until an answer came
    plaintext: bytes


class FastRatchets:
    """The verbs of `Ratchets` without any secrecy. For simulations only."""

    def __init__(self, seed: object) -> None:
        self._chance = chance.stream(seed, "fast ratchets")

    def create_account(self, key: bytes) -> bytes:
        """Make an account."""
        return _pickled({"identity": self._fresh_key(), "keys": []}, key)

    def identity_key(self, account: bytes, key: bytes) -> str:
        """The account's key."""
        return str(_opened(account, key)["identity"])

    def create_one_time_key(self, account: bytes, key: bytes) -> tuple[str, bytes]:
        """Make one one-time key."""
        opened, created = _opened(account, key), self._fresh_key()
        opened["keys"].append(created)
        return created, _pickled(opened, key)

    def start_session(
        self, account: bytes, keys: PickleKeys, identity_key: str, one_time_key: str
    ) -> bytes:
        """Start a session with the owner of these keys."""
        ours = _opened(account, keys.account)["identity"]
        _check_key(identity_key)
        _check_key(one_time_key)
        session = _begun_session(self._fresh_key(), f"{ours} {one_time_key}", is_starter=True)
        return _pickled(session, keys.session)

    def accept_session(
        self, account: bytes, keys: PickleKeys, identity_key: str, message: OlmMessage
    ) -> AcceptedSession:
        """Read the first pre-key message; its one-time key is used up afterwards."""
        opened, wire = _opened(account, keys.account), _read(message.body)
        named, _, one_time_key = wire.introduction.partition(" ")
        if named != identity_key or one_time_key not in opened["keys"]:
            raise Undecryptable
        opened["keys"].remove(one_time_key)
        session = _begun_session(wire.root, wire.introduction, is_starter=False)
        _take(session, wire)
        return AcceptedSession(
            _pickled(opened, keys.account), _pickled(session, keys.session), wire.plaintext
        )

    def encrypt(self, session: bytes, key: bytes, plaintext: bytes) -> tuple[OlmMessage, bytes]:
        """Take the next index."""
        opened = _opened(session, key)
        is_first = opened["is_starter"] and not opened["has_heard"]
        wire = _Wire(
            opened["root"],
            opened["is_starter"],
            opened["sent"],
            opened["introduction"] if is_first else "",
            plaintext,
        )
        opened["sent"] += 1
        kind = PRE_KEY if is_first else NORMAL
        return OlmMessage(kind, _written(wire)), _pickled(opened, key)

    def decrypt(self, session: bytes, key: bytes, message: OlmMessage) -> tuple[bytes, bytes]:
        """Read a message that was not read before; else raises `Undecryptable`."""
        opened, wire = _opened(session, key), _read(message.body)
        if wire.root != opened["root"] or wire.from_starter == opened["is_starter"]:
            raise Undecryptable
        _take(opened, wire)
        return wire.plaintext, _pickled(opened, key)

    def create_group(self, key: bytes) -> bytes:
        """Start an outbound group session."""
        return _pickled({"root": self._fresh_key(), "index": 0}, key)

    def group_id(self, group: bytes, key: bytes) -> str:
        """The session's ID."""
        return _digest(_opened(group, key)["root"].encode())

    def group_key(self, group: bytes, key: bytes) -> str:
        """The key to share: it reads everything from the present index on."""
        return base64.b64encode(_pickled(_opened(group, key), b"")).decode().rstrip("=")

    def encrypt_group(self, group: bytes, key: bytes, plaintext: bytes) -> tuple[bytes, bytes]:
        """Take the next index."""
        opened = _opened(group, key)
        wire = _Wire(opened["root"], True, opened["index"], "", plaintext)  # noqa: FBT003
        opened["index"] += 1
        return _written(wire), _pickled(opened, key)

    def accept_group(self, session_key: str, key: bytes) -> bytes:
        """Take a peer's session key in."""
        try:
            given = base64.b64decode(session_key + "=" * (-len(session_key) % 4), validate=True)
            return _pickled(_opened(given, b""), key)
        except (ValueError, binascii.Error) as error:
            raise Undecryptable from error

    def decrypt_group(
        self, inbound: bytes, key: bytes, ciphertext: bytes
    ) -> tuple[GroupMessage, bytes]:
        """Read one group message. Replays are not noticed here."""
        opened, wire = _opened(inbound, key), _read(ciphertext)
        if wire.root != opened["root"] or wire.index < opened["index"]:
            raise Undecryptable
        return GroupMessage(wire.plaintext, wire.index), inbound

    def _fresh_key(self) -> str:
        return base64.b64encode(self._chance.randbytes(_KEY)).decode().rstrip("=")


def _begun_session(root: str, introduction: str, *, is_starter: bool) -> _Opened:
    return {
        "root": root,
        "introduction": introduction,
        "is_starter": is_starter,
        "has_heard": False,
        "sent": 0,
        "received": 0,  # the next index to come
        "skipped": [],  # earlier ones that may still come
    }


def _take(session: _Opened, wire: _Wire) -> None:
    """Each index once; what was overtaken may still come."""
    expected, skipped = session["received"], session["skipped"]
    if wire.index >= expected:
        skipped += range(max(expected, wire.index - _MOST_SKIPPED), wire.index)
        del skipped[:-_MOST_SKIPPED]
        session["received"] = wire.index + 1
    elif wire.index in skipped:
        skipped.remove(wire.index)
    else:
        raise Undecryptable
    session["has_heard"] = True


def _written(wire: _Wire) -> bytes:
    told = [wire.root, wire.from_starter, wire.index, wire.introduction]
    return _marked(orjson.dumps(told) + b"\n" + wire.plaintext, wire.root.encode())


def _read(body: bytes) -> _Wire:
    told, _, plaintext = body[_HEAD:].partition(b"\n")
    try:
        root, from_starter, index, introduction = orjson.loads(told)
        wire = _Wire(root, from_starter, index, introduction, plaintext)
        genuine = _marked(body[_HEAD:], wire.root.encode())
    except (ValueError, TypeError, AttributeError) as error:
        raise Undecryptable from error
    if not hmac.compare_digest(body, genuine):
        raise Undecryptable
    return wire


def _pickled(opened: _Opened, key: bytes) -> bytes:
    return _marked(orjson.dumps(opened), key)


def _opened(pickle: bytes, key: bytes) -> _Opened:
    if not hmac.compare_digest(pickle, _marked(pickle[_HEAD:], key)):
        raise ValueError("This pickle was made under another key, or by other ratchets.")
    opened: _Opened = orjson.loads(pickle[_HEAD:])
    return opened


def _marked(content: bytes, key: bytes) -> bytes:
    return MARK + hashlib.blake2b(content, digest_size=_TAG, key=key[:64]).digest() + content


def _check_key(text: str) -> None:
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (ValueError, binascii.Error) as error:
        raise errors.InvalidParam("Those Olm keys are not valid.") from error
    if len(raw) != _KEY:
        raise errors.InvalidParam("Those Olm keys are not valid.")


def _digest(content: bytes) -> str:
    return (
        base64.b64encode(hashlib.blake2b(content, digest_size=_KEY).digest()).decode().rstrip("=")
    )
