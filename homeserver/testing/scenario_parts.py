"""What may stand under the words of a scenario's story, and the kinds of values in it.

`docs/harness.md` explains every step.
"""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from federation.consent import Standing

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def _seconds(given: Any) -> float:
    if isinstance(given, int | float) and not isinstance(given, bool) and given >= 0:
        return float(given)
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([smhd])", str(given))
    if match is None:
        raise ValueError("must be a time such as 20s, 5m, 3h or 30d")
    return float(match[1]) * _UNITS[match[2]]


def _is_name(name: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,30}", name):
        raise ValueError("must be a short lower-case name")
    return name


Seconds = Annotated[float, BeforeValidator(_seconds)]
Name = Annotated[str, AfterValidator(_is_name)]
Chance = Annotated[float, Field(ge=0, le=1)]


class Part(BaseModel):
    """A part of a scenario. Names that mean nothing are mistakes."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    def persons(self) -> Iterator[str]:
        """Whom this part names."""
        for field in ("who", "whom", "peer", "to", "owner"):
            if isinstance(value := getattr(self, field, None), str):
                yield value

    def rooms(self) -> Iterator[str]:
        """The rooms that this part names."""
        if isinstance(value := getattr(self, "room", None), str):
            yield value


class Say(Part):
    """Somebody says something in a room, once or several times."""

    who: Name
    room: Name = Field(alias="in")
    text: str
    times: int = Field(1, ge=1, le=20_000)


class Moderate(Part):
    """Somebody invites, kicks, bans or unbans somebody."""

    who: Name
    whom: Name
    room: Name = Field(alias="in")


class Entrance(Part):
    """Somebody joins or leaves a room."""

    who: Name
    room: Name = Field(alias="in")


class SetState(Part):
    """Somebody sets a piece of a room's state."""

    who: Name
    room: Name = Field(alias="in")
    type: str
    key: str = ""
    content: dict[str, Any]


class Pair(Part):
    """Somebody does something about a peer."""

    who: Name
    peer: Name = Field(alias="with")


class Revoke(Pair):
    """Somebody ends a connection for good, and what becomes of the rooms that both are in."""

    rooms_: Literal["cut", "leave", "eject"] = Field("cut", alias="rooms")
    goodbye: bool = False
    erase: bool = False


class Grant(Part):
    """Somebody changes what a peer may do."""

    who: Name
    to: Name
    change: dict[str, Any]


class NetworkFaults(Part):
    """What the network does from now on: everywhere, between two, or in one direction."""

    between: tuple[Name, Name] | None = None
    one_way: tuple[Name, Name] | None = None
    latency: Seconds | None = None
    jitter: Seconds | None = None
    loss: Chance | None = None
    duplication: Chance | None = None
    reordering: Chance | None = None
    corruption: Chance | None = None
    bytes_per_second: float | None = Field(None, gt=0)
    cut: bool | None = None

    def persons(self) -> Iterator[str]:
        """Whom the links join."""
        yield from self.between or ()
        yield from self.one_way or ()


class Nat(Part):
    """Somebody can call from now on, and cannot be called; or can be again."""

    who: Name
    behind: bool = True


class FilePart(Part):
    """Somebody sends a file of so many bytes into a room."""

    who: Name
    room: Name = Field(alias="in")
    size: int = Field(ge=1, le=100 << 20, alias="bytes")


class Hears(Part):
    """Exactly these texts stand in a room for somebody, in any order."""

    who: Name
    room: Name = Field(alias="in")
    texts: list[str]


class Count(Part):
    """So many texts stand in a room for somebody."""

    who: Name
    room: Name = Field(alias="in")
    texts: int = Field(ge=0)


class Boxes(Part):
    """So many boxes have had this fate since the beginning."""

    fate: Literal["arrived", "lost", "refused", "doubled", "held", "damaged", "nobody there"]
    at_least: int = Field(1, ge=0)
    at_most: int | None = Field(None, ge=0)


class IsStanding(Part):
    """What stands between somebody and a peer."""

    who: Name
    peer: Name = Field(alias="with")
    standing: Standing = Field(alias="is")


class IsMember(Part):
    """Somebody's membership, as the own server has it."""

    who: Name
    room: Name = Field(alias="in")
    membership: Literal["join", "invite", "leave", "ban"] = Field(alias="is")


class Skew(Part):
    """Somebody's clock is wrong by so much; a minus in front makes it slow."""

    who: Name
    by: Seconds
    is_slow: bool = False


class DiskPart(Part):
    """What somebody's disk is like from now on."""

    who: Name
    full: bool = False
    seconds_per_write: Seconds = 0.0
