"""Read changes of grants as a person writes them: `media=0 presence=on expires_at=2026-12-31`."""

import datetime as dt
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from federation.grants import Grants
from homeserver import errors
from homeserver.matrix.canonical_json import JsonObject

_SHORT = {"media": "media_max_bytes", "invites": "room_invites", "expires": "expires_at"}
_YES = frozenset({"on", "yes", "true", "1"})
_NO = frozenset({"off", "no", "false", "0"})
_UNITS = {"": 1, "b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}
_UNITS |= {"kb": 10**3, "mb": 10**6, "gb": 10**9, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_SIZE = re.compile(r"([0-9]{1,15}) ?([a-z]{0,3})")
_PROFILES = ("all", "name", "none")


def read(words: Sequence[str], now_ms: int) -> JsonObject:
    """Changes for `grants.edit`. Raises `InvalidParam` with a sentence that says what may stand."""
    changes: JsonObject = {}
    for word in words:
        name, found, text = word.partition("=")
        grant = _SHORT.get(name.strip(), name.strip())
        if not found:
            raise errors.InvalidParam(f"Write each change as NAME=VALUE, not {word}.")
        if grant not in Grants.model_fields:
            known = ", ".join([*_SHORT, *(one for one in Grants.model_fields)])
            raise errors.InvalidParam(f"There is no grant {name}. There are: {known}.")
        changes[grant] = _READERS.get(grant, _yes_or_no)(grant, text.strip(), now_ms)
    if not changes:
        raise errors.InvalidParam("Say what to change, such as media=0 or presence=on.")
    return changes


def _yes_or_no(grant: str, text: str, _now_ms: int) -> bool:
    if text.lower() not in _YES | _NO:
        raise errors.InvalidParam(f"{grant} must be on or off, not {text}.")
    return text.lower() in _YES


def _size(_grant: str, text: str, _now_ms: int) -> int:
    match = _SIZE.fullmatch(text.lower())
    if match is None or match[2] not in _UNITS:
        raise errors.InvalidParam(f"media must be a size such as 0, 500KiB or 25MiB, not {text}.")
    return int(match[1]) * _UNITS[match[2]]


def _number(grant: str, text: str, _now_ms: int) -> int:
    if not re.fullmatch(r"[0-9]{1,15}", text):
        raise errors.InvalidParam(f"{grant} must be a whole number, not {text}.")
    return int(text)


def _profile(grant: str, text: str, _now_ms: int) -> str:
    if text not in _PROFILES:
        raise errors.InvalidParam(f"{grant} must be all, name or none, not {text}.")
    return text


def _moment(grant: str, text: str, now_ms: int) -> int | None:
    """A day counts to its end, by this machine's clock."""
    if text in ("never", "none", ""):
        return None
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise errors.InvalidParam(
            f"{grant} must be a day such as 2026-12-31, a time such as 2026-12-31T18:00, or never."
        ) from None
    if re.fullmatch(r"[0-9-]+", text):
        moment += dt.timedelta(days=1)
    ends = int(moment.timestamp() * 1000)
    if ends <= now_ms:
        raise errors.InvalidParam(f"{grant} lies in the past: {text}.")
    return ends


def _text(_grant: str, text: str, _now_ms: int) -> str:
    return text


_READERS: Mapping[str, Callable[[str, str, int], Any]] = {
    "media_max_bytes": _size,
    "rate": _number,
    "profile": _profile,
    "expires_at": _moment,
    "note": _text,
}
