"""What a scenario may hold: people, connections, rooms, and the steps of its story.

`docs/harness.md` explains every step.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from homeserver.crash_points import Point

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_ALONE = ("settle", "heal", "check")


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

    def persons(self) -> Iterator[str]:
        """Whom the links join."""
        yield from self.between or ()
        yield from self.one_way or ()


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


class IsStanding(Part):
    """What stands between somebody and a peer."""

    who: Name
    peer: Name = Field(alias="with")
    standing: Literal["none", "requested", "offered", "active", "paused", "revoked"] = Field(
        alias="is"
    )


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


class CrashPart(Part):
    """Somebody's server loses power the next time it passes a crash point, by its name."""

    who: Name
    point: Point


class Step(Part):
    """One thing that happens, or one expectation; each has one word."""

    say: Say | None = None
    join: Entrance | None = None
    leave: Entrance | None = None
    invite: Moderate | None = None
    kick: Moderate | None = None
    ban: Moderate | None = None
    set: SetState | None = None
    connect: tuple[Name, Name] | None = None
    pause: Pair | None = None
    resume: Pair | None = None
    revoke: Pair | None = None
    grant: Grant | None = None
    stop: Name | None = None
    start: Name | None = None
    crash: Name | None = None
    restart: Name | None = None
    move: Name | None = None
    disk: DiskPart | None = None
    copy_: Name | None = Field(None, alias="copy")
    go_back: Name | None = None
    crash_at: CrashPart | None = None
    clock: Skew | None = None
    faults: NetworkFaults | None = None
    partition: list[list[Name]] | None = None
    wait: Seconds | None = None
    settle: Literal[True] | None = None
    heal: Literal[True] | None = None
    check: Literal[True] | None = None
    hears: Hears | None = None
    counts: Count | None = None
    standing: IsStanding | None = None
    member: IsMember | None = None
    same_state: Name | None = None

    @model_validator(mode="before")
    @classmethod
    def _take_a_word_alone(cls, given: Any) -> Any:
        return {given: True} if given in _ALONE else given

    @model_validator(mode="after")
    def _has_one_word(self) -> "Step":
        if len(self.model_fields_set) != 1:
            raise ValueError("must hold one word, such as say, wait or hears")
        return self

    @property
    def word(self) -> str:
        """What kind of step this is."""
        return next(iter(self.model_fields_set)).removesuffix("_")

    @property
    def content(self) -> Any:
        """What stands under the word."""
        return getattr(self, next(iter(self.model_fields_set)))

    def persons(self) -> Iterator[str]:
        """Whom this step names."""
        if isinstance(self.content, Part):
            yield from self.content.persons()
        elif self.word in ("stop", "start", "crash", "restart", "move", "copy", "go_back"):
            yield self.content
        elif self.word in ("connect", "partition"):
            for one in self.content:
                yield from [one] if isinstance(one, str) else one

    def rooms(self) -> Iterator[str]:
        """The rooms that this step names."""
        if isinstance(self.content, Part):
            yield from self.content.rooms()
        elif self.word == "same_state":
            yield self.content


class PersonPart(Part):
    """Somebody who is not like the others."""

    is_reachable: bool = Field(default=True, alias="reachable")


class RoomPart(Part):
    """A room that exists before the story begins."""

    owner: Name
    members: list[Name] = []
    version: Literal["10", "11", "12"] = "12"

    def persons(self) -> Iterator[str]:
        """Who is in it."""
        yield self.owner
        yield from self.members


class Scenario(Part):
    """A whole scenario."""

    scenario: str
    shows: str
    needs: list[str] = []
    seed: int = 1
    people: int | list[Name] | dict[Name, PersonPart | None]
    connections: Literal["all", "none", "ring"] | list[tuple[Name, Name]] = "all"
    rooms_: dict[Name, RoomPart] = Field({}, alias="rooms")
    story: list[Step]

    def names(self, servers: int | None = None) -> list[str]:
        """Everybody's name. Where the file only counts people, `servers` counts them anew."""
        if isinstance(self.people, int):
            return [f"p{number}" for number in range(1, (servers or self.people) + 1)]
        return list(self.people)

    def pairs(self, names: Sequence[str]) -> list[tuple[str, str]]:
        """Who is connected with whom before the story begins."""
        if self.connections == "all":
            return [(one, two) for place, one in enumerate(names) for two in names[place + 1 :]]
        if self.connections == "ring":
            return list(zip(names, [*names[1:], names[0]], strict=True))
        return [] if self.connections == "none" else list(self.connections)
