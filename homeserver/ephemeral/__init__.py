"""What belongs to a moment: typing, receipts, presence.

What a peer told of its own users comes in through the `take_in_…` functions; ours goes to the
connected servers of a room, the newest only, and typing only if it can go at once.
"""

from homeserver.ephemeral.presence import Presences, take_in_presence
from homeserver.ephemeral.receipts import Receipts, take_in_receipts
from homeserver.ephemeral.typing_board import TypingBoard
from homeserver.ephemeral.typing_notices import Typing

__all__ = ["Presences", "Receipts", "Typing", "TypingBoard", "take_in_presence", "take_in_receipts"]
