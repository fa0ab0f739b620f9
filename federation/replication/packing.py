"""Cut lists so that they fit into one answer."""

from collections.abc import Sequence
from typing import TypeVar

from homeserver.matrix import canonical_json

T = TypeVar("T")

# An envelope holds 256 KiB, and one event beside the list may take 64 of them.
ANSWER_BYTES = 128 * 1024
# Cards that stand beside something else; the others are asked for.
CARDS_BYTES = 32 * 1024


def fitting(entries: Sequence[T], limit: int = ANSWER_BYTES) -> list[T]:
    """The first entries that fit into so many bytes of JSON, at least one of them."""
    size = 0
    for count, entry in enumerate(entries):
        size += len(canonical_json.encode_checked(entry)) + 1
        if size > limit:
            return list(entries[: max(count, 1)])
    return list(entries)
