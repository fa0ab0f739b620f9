"""Counters that anyone may bump; read by the admin API and the tests."""

from collections import Counter

counters: Counter[str] = Counter()


def bump(name: str, by: int = 1) -> None:
    """Add to a named counter. Names are fixed in the code, never taken from input."""
    counters[name] += by
