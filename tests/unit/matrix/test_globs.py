import fnmatch
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.matrix import globs


@pytest.mark.parametrize("text", ["Lunch plans", "LUNCH", "lunch\nand more"])
def test_a_glob_matches_the_whole_in_any_case(text: str) -> None:
    assert globs.matches_whole("lunc?*", text)


@pytest.mark.parametrize("text", [" lunch", "lunc", ""])
def test_a_glob_does_not_match_a_part(text: str) -> None:
    assert not globs.matches_whole("lunc?*", text)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("ex*ple", "An example event."),
        ("ex*ple", "exple"),
        ("ex*ple", "An exciting triple-whammy"),
        ("cake", "CAKE!"),
        ("cake", "cake"),
        ("cake", "pancake, cake"),
        ("c?ke", "a coke"),
        ("a*b*c", "x a1 b c-"),
        ("*", ""),
        ("foo*", "a foobar"),
        ("*bar", "a foobar"),
        ("a.b", "say a.b"),
    ],
)
def test_words_are_found_between_boundaries(pattern: str, text: str) -> None:
    assert globs.matches_words(pattern, text)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("cake", "pancakes"),
        ("cake", "cake_s"),
        ("ex*ple", "vexing people"),
        ("a.b", "axb"),
        ("a*b*c", "a c b"),
    ],
)
def test_parts_of_words_are_not_found(pattern: str, text: str) -> None:
    assert not globs.matches_words(pattern, text)


def test_a_phrase_has_no_special_characters() -> None:
    assert globs.contains_words("Al*ce (she)", "ask AL*CE (she)!")
    assert not globs.contains_words("Al*ce", "Alice")
    assert not globs.contains_words("Al", "Alice")


_alphabet = st.text("ab*?_ -", max_size=8)


@given(pattern=_alphabet, text=st.text("ab_ -", max_size=12))
def test_globs_agree_with_the_obvious_implementation(pattern: str, text: str) -> None:
    whole = re.compile(fnmatch.translate(pattern.replace("[", "[[]")), re.IGNORECASE)
    assert globs.matches_whole(pattern, text) is (whole.match(text) is not None)
    word = set("ab_")
    expected = any(
        whole.match(text[start:end])
        for start in range(len(text) + 1)
        for end in range(start, len(text) + 1)
        if (start == 0 or text[start - 1] not in word)
        and (end == len(text) or text[end] not in word)
    )
    assert globs.matches_words(pattern, text) is expected


def test_a_pattern_made_to_be_slow_is_not() -> None:
    text = "a " * 30_000
    started = time.process_time()
    assert not globs.matches_words("a*a*a*a*a*a*a*a*b", text)
    assert not globs.matches_whole("*a*a*a*a*a*a*a*a*b", text)
    assert time.process_time() - started < 1
