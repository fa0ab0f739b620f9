"""Which part of a room's state a client wants to have.

Several wishes for one room are met together: an entry that any of them wants is sent.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from homeserver.matrix.events import StateKey

V = TypeVar("V")

# A type and a state key; None stands for any.
Pattern = tuple[str | None, str | None]


@dataclass(frozen=True, slots=True)
class Rule:
    """Entries that match a pattern of `include` and none of `exclude`."""

    include: frozenset[Pattern]
    exclude: frozenset[Pattern] = frozenset()

    def matches(self, key: StateKey) -> bool:
        """Whether the entry at this place is wanted."""
        return _any_matches(self.include, key) and not _any_matches(self.exclude, key)

    @property
    def places(self) -> list[StateKey] | None:
        """The places that are wanted, where each is named; None where some are not."""
        named = [(kind, key) for kind, key in self.include if kind is not None and key is not None]
        return named if len(named) == len(self.include) else None


@dataclass(frozen=True, slots=True)
class RequiredState:
    """What is wanted of a room's state. `is_lazy`: and the members that speak."""

    rules: frozenset[Rule] = frozenset()
    is_lazy: bool = False

    def __or__(self, other: "RequiredState") -> "RequiredState":
        return RequiredState(self.rules | other.rules, self.is_lazy or other.is_lazy)

    def __le__(self, other: "RequiredState") -> bool:
        """Whether the other one plainly asks for all of this."""
        return self.rules <= other.rules and (other.is_lazy or not self.is_lazy)

    def matches(self, key: StateKey) -> bool:
        """Whether the entry at this place is wanted."""
        return any(rule.matches(key) for rule in self.rules)

    def select(self, state: Mapping[StateKey, V]) -> dict[StateKey, V]:
        """The entries that are wanted; named ones are looked up, not looked for."""
        chosen: dict[StateKey, V] = {}
        for rule in self.rules:
            places = rule.places
            several: Iterable[StateKey] = state if places is None else places
            for key in several:
                if key in state and rule.matches(key):
                    chosen[key] = state[key]
        return chosen

    def to_json(self) -> list[object]:
        """To be stored; see `from_json`."""
        return [
            [[sorted_patterns(rule.include), sorted_patterns(rule.exclude)] for rule in self.rules],
            self.is_lazy,
        ]


NOTHING = RequiredState()


def from_json(stored: list[list[list[list[Pattern]]]]) -> RequiredState:
    """Read what `to_json` wrote."""
    rules, is_lazy = stored
    return RequiredState(
        frozenset(Rule(_patterns(include), _patterns(exclude)) for include, exclude in rules),
        bool(is_lazy),
    )


def sorted_patterns(patterns: Iterable[Pattern]) -> list[Pattern]:
    """In an order that does not change from run to run."""
    return sorted(patterns, key=lambda one: (one[0] or "", one[1] or ""))


def _patterns(stored: Iterable[Pattern]) -> frozenset[Pattern]:
    return frozenset((kind, key) for kind, key in stored)


def _any_matches(patterns: frozenset[Pattern], key: StateKey) -> bool:
    kind, state_key = key
    return (
        key in patterns
        or (kind, None) in patterns
        or (None, state_key) in patterns
        or (None, None) in patterns
    )
