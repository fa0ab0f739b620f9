"""How identities and secrets are shown to people: groups with check characters, words to compare.

Words are pronounceable syllables (proquints), so that no word list in one language is needed.
"""

import base64
import hashlib

from homeserver import errors

_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
_GROUP = 4
_CONSONANTS = "bdfghjklmnprstvz"
_VOWELS = "aiou"


class MistypedGroup(errors.InvalidParam):
    """One of the groups is mistyped."""


def encode_base32(content: bytes) -> str:
    """Lower-case base32 without padding."""
    return base64.b32encode(content).decode().rstrip("=").lower()


def decode_base32(text: str) -> bytes:
    """Undo `encode_base32`; refuses every other spelling of the same bytes."""
    try:
        content = base64.b32decode(text.upper() + "=" * (-len(text) % 8))
    except ValueError as error:
        raise errors.InvalidParam("That is not base32.") from error
    if encode_base32(content) != text:
        raise errors.InvalidParam("That is not base32.")
    return content


def in_groups(text: str) -> str:
    """Write base32 in groups of four, each followed by its check character."""
    groups = [text[start : start + _GROUP] for start in range(0, len(text), _GROUP)]
    return " ".join(group + _check(index, group) for index, group in enumerate(groups))


def from_groups(written: str) -> str:
    """Read what `in_groups` wrote; says which group is mistyped."""
    read = []
    for index, group in enumerate(written.lower().replace("-", " ").split()):
        if _check(index, group[:-1]) != group[-1:]:
            raise MistypedGroup(f"Group {index + 1} ({group}) is mistyped.")
        read.append(group[:-1])
    return "".join(read)


def words(*parts: bytes, count: int = 4) -> str:
    """Four words that two people compare aloud: equal only if both computers saw the same."""
    digest = hashlib.sha256(b"homeserver/words\0")
    for part in parts:
        digest.update(len(part).to_bytes(4) + part)
    drawn = digest.digest()
    return " ".join(
        _word(int.from_bytes(drawn[2 * index : 2 * index + 2])) for index in range(count)
    )


def _check(index: int, group: str) -> str:
    digest = hashlib.sha256(f"{index} {group}".encode()).digest()
    return _ALPHABET[digest[0] % len(_ALPHABET)]


def _word(number: int) -> str:
    return (
        _CONSONANTS[number >> 12]
        + _VOWELS[number >> 10 & 3]
        + _CONSONANTS[number >> 6 & 15]
        + _VOWELS[number >> 4 & 3]
        + _CONSONANTS[number & 15]
    )


def words_between(one: str, other: str) -> str:
    """The words two people compare, made of both node ids: the same on either side."""
    return words(*(node_id.encode() for node_id in sorted((one, other))))
