"""Glob patterns, matched in time proportional to the text, whoever wrote pattern and text.

Between stars the leftmost match is always as good as a later one, so nothing is tried twice:
the groups are atomic, and `a*a*a*a` is no attack.

Spec: appendices#glob-style-matching
"""

import re
from functools import lru_cache

_FLAGS = re.IGNORECASE | re.DOTALL
_NO_WORD_BEFORE = r"(?<![A-Za-z0-9_])"
_NO_WORD_AFTER = r"(?![A-Za-z0-9_])"


def matches_whole(pattern: str, text: str) -> bool:
    """Whether a pattern matches a text from its start to its end, in whatever case."""
    return _whole(pattern).fullmatch(text) is not None


def matches_words(pattern: str, text: str) -> bool:
    """Whether a pattern matches somewhere between word boundaries.

    Spec: client-server-api#conditions-1
    """
    return _words(pattern).match(text) is not None


def contains_words(phrase: str, text: str) -> bool:
    """Whether a text contains this phrase between word boundaries; nothing in it is special."""
    bounded = _NO_WORD_BEFORE + re.escape(phrase) + _NO_WORD_AFTER
    return re.search(bounded, text, _FLAGS) is not None


@lru_cache(maxsize=512)
def _whole(pattern: str) -> re.Pattern[str]:
    first, *others = _segments(pattern)
    if not others:
        return re.compile(first, _FLAGS)
    return re.compile(first + _leftmost(others[:-1]) + ".*" + others[-1], _FLAGS)


@lru_cache(maxsize=512)
def _words(pattern: str) -> re.Pattern[str]:
    first, *others = _segments(pattern)
    if not others:
        return re.compile(f".*?{_NO_WORD_BEFORE}{first}{_NO_WORD_AFTER}", _FLAGS)
    start = _leftmost([_NO_WORD_BEFORE + first, *others[:-1]])
    return re.compile(f"{start}.*?{others[-1]}{_NO_WORD_AFTER}", _FLAGS)


def _segments(pattern: str) -> list[str]:
    """The parts between stars, as regular expressions of a fixed length."""
    return [re.escape(part).replace(r"\?", ".") for part in re.split(r"\*+", pattern)]


def _leftmost(segments: list[str]) -> str:
    return "".join(f"(?>.*?{segment})" for segment in segments)
