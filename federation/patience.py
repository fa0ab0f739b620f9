"""How long to wait before a message of a handshake is repeated. Pure.

Quick at first. Once the other side has said that its owner decides, a knock is repeated at most
hourly, and at a link that asks the pauses grow with the time waited, so that a yes that comes soon
is found soon. What was said is kept with the handshake: a restart is no reason to ask faster.
"""

from dataclasses import dataclass

import orjson

from federation import handshake_messages as messages
from homeserver.storage.invitations import Handshake

START = 1.0  # doubled before it is first waited
_LONGEST = 600.0
_HOUR = 3_600.0
_PARTS = 12  # of the time waited so far
_KNOCK = "knock"


@dataclass(frozen=True, slots=True)
class Word:
    """What the other side said in place of ACCEPT, and when it was last heard of a knock."""

    is_knock: bool
    at: int


def word_of(asking: Handshake) -> Word | None:
    """What was said to a REQUEST; None where the other side has said nothing yet."""
    if not asking.accept:
        return None
    kept = orjson.loads(asking.accept)
    return Word(kept["how"] == _KNOCK, kept["at"])


def heard(asking: Handshake, note: bytes, now_ms: int) -> bytes:
    """What is to be kept now that `wait` was said, perhaps not for the first time."""
    word, how = word_of(asking), messages.note_how(note)
    is_known = word is not None and not word.is_knock and how != _KNOCK
    return asking.accept if is_known else orjson.dumps({"how": how, "at": now_ms})


def next_pause(asking: Handshake, word: Word | None, now_ms: int, pause: float) -> float:
    """What follows a pause."""
    if word is None:
        return min(pause * 2, _LONGEST)
    if word.is_knock:
        return _HOUR
    return min(max((now_ms - asking.created_at) / 1000 / _PARTS, 2 * START), _HOUR)


def left_of(word: Word | None, now_ms: int) -> float:
    """What is left to wait after a restart; a clock that was set back makes it no longer."""
    if word is None or not word.is_knock:
        return 0.0
    return min(max(word.at / 1000 + _HOUR - now_ms / 1000, 0.0), _HOUR)
