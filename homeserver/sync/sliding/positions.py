"""The positions of sliding sync: a sync token, and which version of which connection it is of.

`s{position}_{typing}_{run}_c{connection}v{version}{extensions}`: it begins like a token of classic
sync, so pages and the changes of device lists take it too. The letters at the end say which
extensions the device has had something of.
"""

import re
from dataclasses import dataclass

from homeserver import errors

_POS = re.compile(r"s(\d{1,18})_(\d{1,18})_([0-9a-f]{1,32})_c(\d{1,18})v(\d{1,9})([a-z]{0,5})")


class UnknownPos(errors.HomeserverError):
    """That position is not known any more. Begin the sync anew."""

    errcode = "M_UNKNOWN_POS"


@dataclass(frozen=True, slots=True)
class Pos:
    """Up to where a device knows everything it was told about, on one connection."""

    position: int
    typing: int
    run: str
    connection_id: int
    version: int
    extensions: frozenset[str] = frozenset()

    def typing_in(self, run: str) -> int:
        """Up to where the device knows who types; 0 where the server began anew since."""
        return self.typing if self.run == run else 0

    def __str__(self) -> str:
        letters = "".join(sorted(self.extensions))
        return (
            f"s{self.position}_{self.typing}_{self.run}"
            f"_c{self.connection_id}v{self.version}{letters}"
        )


def parse(text: str) -> Pos:
    """Read a position; what is none is as unknown as one that was given up."""
    match = _POS.fullmatch(text)
    if match is None:
        raise UnknownPos
    position, typing, run, connection_id, version, letters = match.groups()
    return Pos(
        int(position), int(typing), run, int(connection_id), int(version), frozenset(letters)
    )
