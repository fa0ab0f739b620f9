"""Cut lists so that they fit into one answer."""

from collections.abc import Sequence
from typing import TypeVar

from homeserver.matrix import canonical_json

T = TypeVar("T")

# A frame holds 200 KiB. A list alone may fill most of it; in the answer to a join there are an
# event of up to 64 KiB and cards beside it.
ANSWER_BYTES = 160 * 1024
JOIN_BYTES = 96 * 1024
CARDS_BYTES = 32 * 1024


def fitting(entries: Sequence[T], limit: int = ANSWER_BYTES) -> list[T]:
    """The first entries that fit into so many bytes of JSON, at least one of them."""
    size = 0
    for count, entry in enumerate(entries):
        size += len(canonical_json.encode_checked(entry)) + 1
        if size > limit:
            return list(entries[: max(count, 1)])
    return list(entries)
