"""The one byte form of JSON that is hashed, signed and stored."""

from typing import Any

import orjson

from homeserver.errors import BadJson

JsonObject = dict[str, Any]

MAX_INTEGER = 2**53 - 1
_OPTIONS = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER
_PLAIN = frozenset({str, bool, type(None)})


def encode(value: Any) -> bytes:
    """Return the canonical bytes of a value, refusing what canonical JSON cannot say.

    Spec: appendices#canonical-json
    """
    check_integers_only(value)
    return encode_checked(value)


def encode_checked(value: Any) -> bytes:
    """Return the canonical bytes of a value that `check_integers_only` has passed already."""
    try:
        return orjson.dumps(value, option=_OPTIONS)
    except TypeError as error:
        # Lone surrogates, more than 254 levels: whatever the walk does not look at.
        raise BadJson(f"Not canonical JSON: {error}") from error


def decode(encoded: bytes | str) -> Any:
    """Read JSON from outside. Floats pass: account data may hold them, events may not."""
    try:
        return orjson.loads(encoded)
    except (ValueError, RecursionError) as error:
        raise BadJson(f"Not JSON: {error}") from error


def check_kept_exactly(value: Any) -> None:
    """Refuse numbers that would come back as others: huge integers were read as floats."""
    waiting = [value]
    for item in waiting:
        if isinstance(item, dict):
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
        elif isinstance(item, float) and abs(item) > MAX_INTEGER:
            raise BadJson("Numbers as large as that are not kept exactly.")


def check_integers_only(value: Any) -> None:
    """Refuse floats, integers beyond 2^53 - 1 and anything that is not JSON, by a walk.

    orjson alone would write NaN as null and 1.0 as 1.0, and would have read 2^64 as a float.
    """
    waiting = [value]
    for item in waiting:  # grows while it is walked: no recursion, so no depth limit
        kind = type(item)
        if kind is dict:
            for key, entry in item.items():
                if type(key) is not str:
                    raise BadJson("The keys of a JSON object must be strings.")
                if type(entry) is not str:
                    waiting.append(entry)
        elif kind is list:
            waiting.extend(item)
        elif kind not in _PLAIN:
            _check_integer(item)


def _check_integer(item: object) -> None:
    if type(item) is not int:
        raise BadJson(f"Canonical JSON has no {type(item).__name__} values.")
    if not -MAX_INTEGER <= item <= MAX_INTEGER:
        raise BadJson("Integers must lie between -(2^53 - 1) and 2^53 - 1.")
