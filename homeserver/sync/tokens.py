"""Sync tokens: a position, and where typing stood in which run of the server.

`s{position}_{typing}_{run}`, with `_{to_device}` where the device has messages to it further than
that position, because there were too many for one answer; then `_f` where it asked for the full
state and has not got it yet. What comes after that has no meaning here: sliding sync's positions
are read as tokens too.
"""

import re
from dataclasses import dataclass

from homeserver import errors

_TOKEN = re.compile(
    r"s(\d{1,18})(?:_(\d{1,18})(?:_([0-9a-f]{1,32})(?:_(\d{1,18})(_f)?)?)?)?(?:_r)?"
    r"(?:_c\d{1,18}v\d{1,9}[a-z]{0,5})?"
)


@dataclass(frozen=True, slots=True)
class SyncToken:
    """How much a device has seen."""

    position: int
    typing: int = 0
    run: str = ""
    to_device: int | None = None
    owes_state: bool = False

    @property
    def to_device_position(self) -> int:
        """Up to where the device has its messages."""
        return self.position if self.to_device is None else self.to_device

    def typing_in(self, run: str) -> int:
        """Up to where the device knows who types; 0 where the server began anew since."""
        return self.typing if self.run == run else 0

    def __str__(self) -> str:
        text = f"s{self.position}_{self.typing}_{self.run}"
        if self.to_device is not None:
            text = f"{text}_{self.to_device}"
        return f"{text}_f" if self.owes_state else text


def parse(text: str) -> SyncToken:
    """Read a token, also one of another run or with less in it."""
    match = _TOKEN.fullmatch(text)
    if match is None:
        raise errors.InvalidParam("That is not a sync token.")
    position, typing, run, to_device, owed = match.groups()
    to_device = None if to_device is None else int(to_device)
    return SyncToken(int(position), int(typing or 0), run or "", to_device, owed is not None)


def parse_given(text: str, newest: int) -> SyncToken:
    """Read a token from which a device goes on: nobody was given one beyond the newest position.

    Whoever comes with a token has what came before it, so that is forgotten.
    """
    token = parse(text)
    if max(token.position, token.to_device_position) > newest:
        raise errors.InvalidParam("That sync token is not of this server.")
    return token


def differing(token: SyncToken, since: str | None) -> str:
    """The token as text, never the one the client came with.

    For an answer that carries something though nothing is new: matrix-nio drops an answer whose
    token repeats.
    """
    text = str(token)
    return text if text != since else text + "_r"
