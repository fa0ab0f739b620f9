"""The sealed bytes that a transport sees: one NaCl secret box of one of five sizes.

Pure: the nonce is an argument. Inside stand a header, a note (the few things that must be said
when every ratchet is lost), the Olm message, group ciphertexts, and padding.
"""

import hashlib
import hmac
import struct
from dataclasses import dataclass

import nacl.bindings
import nacl.exceptions

from homeserver import errors

SIZES = (1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10)
NONCE_BYTES = 24
NO_NONCE = bytes(NONCE_BYTES)
RECEIPT_BYTES = 16
NO_RECEIPT = bytes(RECEIPT_BYTES)
VERSION = 1

_MAC_BYTES = 16
# version, flags, patience in seconds, epoch, sequence, acknowledged, its receipt, settled, note
# length, Olm length, number of group messages; before them the nonce of the last box received.
_HEADER = struct.Struct(f">BBHIQQ{RECEIPT_BYTES}sQIIB")
_LENGTH = struct.Struct(">I")
_HAS_OLM, _IS_NORMAL, _IS_FULL, _IS_RESTORED, _LACKS_GROUP = 1, 2, 4, 8, 16


class BadEnvelope(errors.HomeserverError):
    """That does not open, or is damaged inside."""


@dataclass(frozen=True, slots=True)
class DoorKeys:
    """What a door key is made into: one key for requests, one for their answers."""

    request: bytes
    answer: bytes


@dataclass(frozen=True, slots=True)
class Envelope:
    """What a box holds. Without an Olm message it is a poll, or carries positions only."""

    answers: bytes = NO_NONCE  # the nonce of the last box received from the other side
    epoch: int = 0  # the Olm session in use, counted
    sequence: int = 0  # of the frame in the Olm message; 0 where it is not one of the queue
    acknowledged: int = 0  # the highest sequence taken from the other side
    receipt: bytes = NO_RECEIPT  # the other side's own mark of that frame
    settled: int = 0  # the highest sequence the other side has acknowledged to us
    patience_s: int = 0  # how long the answer may take if there is nothing to say
    is_full: bool = False  # no transaction, please: our inbox has to be worked off first
    is_restored: bool = False  # the sender found out that its database is an old copy
    lacks_group: bool = False  # the sender could not read a group message of the frame in flight
    note: bytes = b""
    olm_kind: int = 0
    olm: bytes = b""
    group_messages: tuple[bytes, ...] = ()


def door_keys(door_key: bytes) -> DoorKeys:
    """The two keys of an address."""
    return DoorKeys(
        hmac.digest(door_key, b"homeserver/box/1/request", hashlib.sha256),
        hmac.digest(door_key, b"homeserver/box/1/answer", hashlib.sha256),
    )


def seal(key: bytes, nonce: bytes, envelope: Envelope) -> bytes:
    """Encrypt into the smallest of the five sizes."""
    flags = (
        (_HAS_OLM if envelope.olm else 0)
        | (_IS_NORMAL if envelope.olm_kind else 0)
        | (_IS_FULL if envelope.is_full else 0)
        | (_IS_RESTORED if envelope.is_restored else 0)
        | (_LACKS_GROUP if envelope.lacks_group else 0)
    )
    header = _HEADER.pack(
        VERSION,
        flags,
        envelope.patience_s,
        envelope.epoch,
        envelope.sequence,
        envelope.acknowledged,
        envelope.receipt,
        envelope.settled,
        len(envelope.note),
        len(envelope.olm),
        len(envelope.group_messages),
    )
    parts = [envelope.answers, header, envelope.note, envelope.olm]
    for message in envelope.group_messages:
        parts += [_LENGTH.pack(len(message)), message]
    content = b"".join(parts)
    overhead = NONCE_BYTES + _MAC_BYTES
    size = next((size for size in SIZES if len(content) + overhead <= size), None)
    if size is None:
        raise errors.TooLarge
    padded = content.ljust(size - overhead, b"\0")
    return nonce + nacl.bindings.crypto_secretbox(padded, nonce, key)


def nonce_of(box: bytes) -> bytes:
    """The nonce in front of a box, by which its receiver names it."""
    return box[:NONCE_BYTES]


def open_box(key: bytes, box: bytes) -> Envelope:
    """Decrypt and read; raises `BadEnvelope` for anything but the bytes `seal` makes."""
    if len(box) not in SIZES:
        raise BadEnvelope
    try:
        content = nacl.bindings.crypto_secretbox_open(box[NONCE_BYTES:], nonce_of(box), key)
        return _read(content)
    except (nacl.exceptions.CryptoError, struct.error, ValueError) as error:
        raise BadEnvelope from error


def _read(content: bytes) -> Envelope:
    answers = content[:NONCE_BYTES]
    version, flags, patience, epoch, sequence, acknowledged, receipt, settled, *lengths = (
        _HEADER.unpack_from(content, NONCE_BYTES)
    )
    if version != VERSION:
        raise BadEnvelope
    note, at = _take(content, NONCE_BYTES + _HEADER.size, lengths[0])
    olm, at = _take(content, at, lengths[1])
    group_messages = []
    for _ in range(lengths[2]):
        (length,) = _LENGTH.unpack_from(content, at)
        message, at = _take(content, at + _LENGTH.size, length)
        group_messages.append(message)
    if content.count(0, at) != len(content) - at:
        raise BadEnvelope
    if bool(flags & _HAS_OLM) != bool(olm):
        raise BadEnvelope
    return Envelope(
        answers=answers,
        epoch=epoch,
        sequence=sequence,
        acknowledged=acknowledged,
        receipt=receipt,
        settled=settled,
        patience_s=patience,
        is_full=bool(flags & _IS_FULL),
        is_restored=bool(flags & _IS_RESTORED),
        lacks_group=bool(flags & _LACKS_GROUP),
        note=note,
        olm_kind=int(bool(flags & _IS_NORMAL)),
        olm=olm,
        group_messages=tuple(group_messages),
    )


def _take(content: bytes, at: int, length: int) -> tuple[bytes, int]:
    if at + length > len(content):
        raise BadEnvelope
    return content[at : at + length], at + length
