"""What an Olm message holds: a head, a body, and bytes attached to it."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from federation import payloads
from homeserver import errors

_LENGTH = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A frame that is to be sealed; `body` is JSON and stays the same when it is sealed anew.

    Where events go beside the Olm message, `spoken` is the body without them, which is sealed.
    """

    kind: str
    sent_at: int
    body: bytes
    attachment: bytes = b""
    settles: bytes = b"{}"
    spoken: bytes | None = None
    group_messages: bytes = b""


def write(
    direction: str, epoch: int, sequence: int, frame: Outgoing, more: Mapping[str, str]
) -> bytes:
    """The plaintext of a frame; `more` stands in its head as well."""
    head = {
        "direction": direction,
        "epoch": epoch,
        "sequence": sequence,
        "sent_at": frame.sent_at,
        "kind": frame.kind,
        "body": orjson.Fragment(frame.body if frame.spoken is None else frame.spoken),
    }
    text = orjson.dumps({**head, **more})
    return _LENGTH.pack(len(text)) + text + frame.attachment


def read(plaintext: bytes) -> tuple[payloads.Frame, bytes]:
    """The head and body of a frame, and what is attached."""
    try:
        (length,) = _LENGTH.unpack_from(plaintext)
        parsed = orjson.loads(plaintext[_LENGTH.size : _LENGTH.size + length])
    except (struct.error, ValueError, RecursionError) as error:
        raise errors.BadJson from error
    return payloads.read(payloads.Frame, parsed), plaintext[_LENGTH.size + length :]
