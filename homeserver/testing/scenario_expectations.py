"""What a scenario expects, and how it is looked up: by the client API and the admin API."""

import contextlib
from dataclasses import dataclass, field
from typing import Any

from homeserver.testing.client import Refused
from homeserver.testing.person import Person

EXPECTATIONS = frozenset({"hears", "counts", "boxes", "standing", "member", "same_state"})


class Wrong(Exception):
    """What is wrong with a step."""


@dataclass(slots=True)
class Expectations:
    """Looks whether something is so, for people and rooms by their names in the scenario."""

    people: dict[str, Person] = field(default_factory=dict, kw_only=True)
    rooms: dict[str, str] = field(default_factory=dict, kw_only=True)

    def person(self, name: str) -> Person:
        """Somebody by name."""
        return self.people[name]

    async def look(self, word: str, expected: Any) -> None:
        """Raises `Wrong` if it is not so."""
        await getattr(self, f"look_for_{word}")(expected)

    async def look_for_hears(self, expected: Any) -> None:
        """Exactly these texts."""
        texts = await self.person(expected.who).texts(self.rooms[expected.room])
        if sorted(texts) != sorted(expected.texts):
            raise Wrong(f"expected {sorted(expected.texts)}, found {sorted(texts)}")

    async def look_for_counts(self, expected: Any) -> None:
        """So many texts."""
        texts = await self.person(expected.who).texts(self.rooms[expected.room])
        if len(texts) != expected.texts:
            raise Wrong(f"expected {expected.texts} texts, found {len(texts)}")

    async def look_for_standing(self, expected: Any) -> None:
        """What stands between two."""
        found = await self.person(expected.who).standing(self.person(expected.peer))
        if found != expected.standing:
            raise Wrong(f"expected {expected.standing}, found {found}")

    async def look_for_member(self, expected: Any) -> None:
        """Somebody's own membership."""
        found = await self.person(expected.who).membership(self.rooms[expected.room])
        if found != expected.membership:
            raise Wrong(f"expected {expected.membership}, found {found or 'nothing'}")

    async def look_for_same_state(self, room: str) -> None:
        """Everybody who sees a room sees the same state of it."""
        states = {}
        for name, person in self.people.items():
            with contextlib.suppress(Refused):
                states[name] = await person.state(self.rooms[room])
        if any(state != next(iter(states.values())) for state in states.values()):
            raise Wrong(f"{', '.join(states)} do not have the same state")
