from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.errors import BadJson
from homeserver.matrix import canonical_json
from homeserver.matrix.canonical_json import MAX_INTEGER

_integers = st.integers(-MAX_INTEGER, MAX_INTEGER)
_texts = st.text()
canonical_values = st.recursive(
    st.none() | st.booleans() | _integers | _texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_texts, inner, max_size=4),
    max_leaves=12,
)


# The examples are those of the appendices, and a few of their edges.
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({}, "{}"),
        ({"one": 1, "two": "Two"}, '{"one":1,"two":"Two"}'),
        ({"b": "2", "a": "1"}, '{"a":"1","b":"2"}'),
        (
            {
                "auth": {
                    "success": True,
                    "mxid": "@john.doe:example.com",
                    "profile": {
                        "display_name": "John Doe",
                        "three_pids": [
                            {"medium": "email", "address": "john.doe@example.org"},
                            {"medium": "msisdn", "address": "123456789"},
                        ],
                    },
                }
            },
            (
                '{"auth":{"mxid":"@john.doe:example.com","profile":{"display_name":"John Doe",'
                '"three_pids":[{"address":"john.doe@example.org","medium":"email"},'
                '{"address":"123456789","medium":"msisdn"}]},"success":true}}'
            ),
        ),
        ({"a": "日本語"}, '{"a":"日本語"}'),
        ({"本": 2, "日": 1}, '{"日":1,"本":2}'),
        ({"a": "\u65e5"}, '{"a":"日"}'),
        ({"a": None}, '{"a":null}'),
        ({"a": -0, "b": 10**10}, '{"a":0,"b":10000000000}'),
        ({"\U00010000": 1, "\uffff": 2}, '{"\uffff":2,"\U00010000":1}'),
        ({"a": '\x00\x1f\b\t\n\f\r"\\\x7f'}, '{"a":"\\u0000\\u001f\\b\\t\\n\\f\\r\\"\\\\\x7f"}'),
    ],
)
def test_the_examples_of_the_specification(value: Any, expected: str) -> None:
    assert canonical_json.encode(value) == expected.encode()


@given(canonical_values)
def test_what_is_encoded_reads_back_the_same(value: Any) -> None:
    encoded = canonical_json.encode(value)
    assert canonical_json.decode(encoded) == value
    assert canonical_json.encode(canonical_json.decode(encoded)) == encoded


@given(st.dictionaries(_texts, _integers, min_size=2))
def test_the_order_of_keys_does_not_matter(value: dict[str, int]) -> None:
    backwards = dict(reversed(value.items()))
    assert canonical_json.encode(backwards) == canonical_json.encode(value)


_refused = st.one_of(
    st.floats(),
    st.integers(min_value=MAX_INTEGER + 1),
    st.integers(max_value=-MAX_INTEGER - 1),
    st.binary(),
    st.just(()),
    st.dictionaries(st.integers(), st.none(), min_size=1),
    st.text(st.characters(categories=["Cs"]), min_size=1),
)


@given(refused=_refused, nest=st.sampled_from(["bare", "list", "object", "deep"]))
def test_what_canonical_json_cannot_say_is_refused_at_any_depth(refused: Any, nest: str) -> None:
    value = {
        "bare": refused,
        "list": [1, refused],
        "object": {"a": refused},
        "deep": {"a": [{"b": [refused]}]},
    }[nest]
    with pytest.raises(BadJson):
        canonical_json.encode(value)


def test_nesting_without_end_is_refused_instead_of_crashing() -> None:
    value: Any = 1
    for _ in range(100_000):
        value = [value]
    with pytest.raises(BadJson):
        canonical_json.encode(value)


@pytest.mark.parametrize(
    "text", [b"", b"{", b"nul", b"[NaN]", b'"\xff"', b'"\\ud800"', b"[" * 100_000]
)
def test_what_is_not_json_is_refused(text: bytes) -> None:
    with pytest.raises(BadJson):
        canonical_json.decode(text)


def test_a_huge_integer_does_not_slip_through_as_a_float() -> None:
    with pytest.raises(BadJson):
        canonical_json.encode(canonical_json.decode(b"[18446744073709551616]"))
