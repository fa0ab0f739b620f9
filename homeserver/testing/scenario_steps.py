"""A whole scenario: people, connections, rooms, and the steps of its story.

`docs/harness.md` explains every step.
"""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from homeserver.crash_points import Point
from homeserver.testing import scenario_parts as parts
from homeserver.testing.scenario_parts import Name, Part, Seconds

_ALONE = ("settle", "heal", "check", "replay")
# Words that are followed by somebody's name and nothing else.
_OF_SOMEBODY = frozenset(
    {
        *("stop", "start", "crash", "restart", "move"),
        *("copy", "go_back", "backup", "restore"),
    }
)
_MOST_PEOPLE = 5_000


class CrashPart(Part):
    """Somebody's server loses power when it next passes a crash point, by its name.

    Where a step stands under `while`, it is that step which the owner sees fail.
    """

    who: Name
    point: Point
    step: "Step | None" = Field(None, alias="while")

    def persons(self) -> Iterator[str]:
        """Whose server it is, and whom the step names."""
        yield self.who
        if self.step is not None:
            yield from self.step.persons()

    def rooms(self) -> Iterator[str]:
        """The rooms that the step names."""
        if self.step is not None:
            yield from self.step.rooms()


class Step(Part):
    """One thing that happens, or one expectation; each has one word."""

    say: parts.Say | None = None
    types: parts.Entrance | None = None
    reads: parts.Entrance | None = None
    sends_file: parts.FilePart | None = None
    opens_file: parts.Entrance | None = None
    join: parts.Entrance | None = None
    leave: parts.Entrance | None = None
    invite: parts.Moderate | None = None
    kick: parts.Moderate | None = None
    ban: parts.Moderate | None = None
    unban: parts.Moderate | None = None
    set: parts.SetState | None = None
    connect: tuple[Name, Name] | None = None
    pause: parts.Pair | None = None
    resume: parts.Pair | None = None
    revoke: parts.Revoke | None = None
    block: parts.Pair | None = None
    unblock: parts.Pair | None = None
    grant: parts.Grant | None = None
    stop: Name | None = None
    start: Name | None = None
    crash: Name | None = None
    restart: Name | None = None
    move: Name | None = None
    disk: parts.DiskPart | None = None
    copy_: Name | None = Field(None, alias="copy")
    go_back: Name | None = None
    backup: Name | None = None
    restore: Name | None = None
    crash_at: CrashPart | None = None
    clock: parts.Skew | None = None
    faults: parts.NetworkFaults | None = None
    partition: list[list[Name]] | None = None
    nat: parts.Nat | None = None
    replay: Literal[True] | None = None
    wait: Seconds | None = None
    settle: Literal[True] | None = None
    heal: Literal[True] | None = None
    check: Literal[True] | None = None
    hears: parts.Hears | None = None
    counts: parts.Count | None = None
    boxes: parts.Boxes | None = None
    standing: parts.IsStanding | None = None
    member: parts.IsMember | None = None
    same_state: Name | None = None

    @model_validator(mode="before")
    @classmethod
    def _take_a_word_alone(cls, given: Any) -> Any:
        return {given: True} if isinstance(given, str) and given in _ALONE else given

    @model_validator(mode="after")
    def _has_one_word(self) -> "Step":
        if len(self.model_fields_set) != 1:
            raise ValueError("a step holds one word, such as say, wait or hears")
        return self

    @property
    def word(self) -> str:
        """What kind of step this is."""
        return next(iter(self.model_fields_set)).removesuffix("_")

    @classmethod
    def words(cls) -> list[str]:
        """Every word that there is."""
        return sorted(field.alias or name for name, field in cls.model_fields.items())

    @property
    def content(self) -> Any:
        """What stands under the word."""
        return getattr(self, next(iter(self.model_fields_set)))

    def persons(self) -> Iterator[str]:
        """Whom this step names."""
        if isinstance(self.content, Part):
            yield from self.content.persons()
        elif self.word in _OF_SOMEBODY:
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


def _as_text(given: Any) -> Any:
    """12 and "12" are the same version."""
    return str(given) if type(given) is int else given


class RoomPart(Part):
    """A room that exists before the story begins."""

    owner: Name
    members: list[Name] = Field([])
    version: Annotated[Literal["10", "11", "12"], BeforeValidator(_as_text)] = "12"

    def persons(self) -> Iterator[str]:
        """Who is in it."""
        yield self.owner
        yield from self.members


def _how_counted(given: Any) -> str:
    """How people are told: by their number, by name, or each with what is special."""
    if isinstance(given, list | dict):
        return "names" if isinstance(given, list) else "special"
    return "number"


People = Annotated[
    Annotated[int, Field(ge=1, le=_MOST_PEOPLE), Tag("number")]
    | Annotated[list[Name], Field(min_length=1), Tag("names")]
    | Annotated[dict[Name, PersonPart | None], Field(min_length=1), Tag("special")],
    Discriminator(_how_counted),
]


def _how_connected(given: Any) -> str:
    return "pairs" if isinstance(given, list) else "shape"


Connections = Annotated[
    Annotated[Literal["all", "none", "ring"], Tag("shape")]
    | Annotated[list[tuple[Name, Name]], Tag("pairs")],
    Discriminator(_how_connected),
]


class Scenario(Part):
    """A whole scenario."""

    scenario: str
    shows: str
    needs: list[str] = Field([])
    seed: int = 1
    people: People
    connections: Connections = "all"
    rooms_: dict[Name, RoomPart] = Field({}, alias="rooms")
    story: Annotated[list[Step], Field(min_length=1)]

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
            pairs = zip(names, [*names[1:], names[0]], strict=True)
            return list({frozenset(pair): pair for pair in pairs if len(set(pair)) > 1}.values())
        return [] if self.connections == "none" else list(self.connections)

    def callers(self) -> set[str]:
        """Who can only call, and not be called, from the beginning."""
        if not isinstance(self.people, dict):
            return set()
        return {name for name, one in self.people.items() if one and not one.is_reachable}
