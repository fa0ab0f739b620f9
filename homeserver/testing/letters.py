"""What stands in the boxes of servers: remembered when it is sealed, found by the ciphertext.

Only the harness can read along; nothing is decrypted for it.
"""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from federation import frames, group_frames
from homeserver import errors

_MOST = 10_000


@dataclass(frozen=True, slots=True)
class Letter:
    """A frame that left: its kind, its body, and the group messages beside it by session."""

    kind: str = ""
    body: dict[str, Any] = field(default_factory=dict)
    group_messages: tuple[tuple[str, bytes], ...] = ()

    def listed(self, name: str) -> list[dict[str, Any]]:
        """The objects in a list of its body."""
        found = self.body.get(name)
        return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []

    def controls(self, kind: str) -> list[dict[str, Any]]:
        """The bodies of its control messages of one kind."""
        items = self.listed("items") if self.kind == "control" else []
        bodies = [item.get("body") for item in items if item.get("kind") == kind]
        return [body for body in bodies if isinstance(body, dict)]


class Letters:
    """Plaintexts that have been sealed and have not left."""

    def __init__(self) -> None:
        self._sealed: OrderedDict[bytes, bytes] = OrderedDict()

    def keep(self, ciphertext: bytes, plaintext: bytes) -> None:
        """Something was encrypted. It may never leave."""
        self._sealed[_digest(ciphertext)] = plaintext
        if len(self._sealed) > _MOST:
            self._sealed.popitem(last=False)

    def take(self, ciphertext: bytes) -> bytes | None:
        """What it says, the first time that it leaves."""
        return self._sealed.pop(_digest(ciphertext), None)


def read(plaintext: bytes, group_messages: tuple[bytes, ...]) -> Letter:
    """The frame that a plaintext holds."""
    try:
        frame, _ = frames.read(plaintext)
    except errors.BadJson:
        return Letter()  # of an adversary
    named = frame.body.get("groups")
    by_hash = {group_frames.hash_of(message): message for message in group_messages}
    said = named.get("messages", ()) if isinstance(named, dict) else ()
    beside = tuple(
        (str(one["session_id"]), by_hash[one["sha256"]])
        for one in said
        if isinstance(one, dict) and one.get("sha256") in by_hash
    )
    return Letter(frame.kind, frame.body, beside)


def _digest(ciphertext: bytes) -> bytes:
    return hashlib.blake2b(ciphertext, digest_size=16).digest()
