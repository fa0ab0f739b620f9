"""What I let one peer send me or learn from me. The owner may edit it at any moment."""

from typing import Any, Literal

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from homeserver import errors
from homeserver.config import DefaultGrants
from homeserver.matrix.canonical_json import JsonObject

NOTE_CHARACTERS = 1_000
# What a grant's value has to be, where that is not on or off.
_MEANT = {
    "media_max_bytes": "a size from 0 to 8 PiB, in bytes",
    "profile": "all, name or none",
    "rate": "a number of items a minute, at least 1",
    "expires_at": "a time in milliseconds since 1970, or nothing",
    "note": f"a text of at most {NOTE_CHARACTERS} characters",
}


class Grants(BaseModel):
    """Directional: the peer has grants of its own for us, and tells us what they are."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    messages: bool = True
    room_invites: bool = True
    media_max_bytes: int = Field(25 << 20, ge=0, le=2**53 - 1)
    typing: bool = True
    receipts: bool = True
    presence: bool = False
    profile: Literal["all", "name", "none"] = "all"
    route: bool = True
    introduce: bool = False
    rate: int = Field(30_000, ge=1, le=2**53 - 1)  # items a minute
    expires_at: int | None = Field(None, ge=0, le=2**53 - 1)  # then the connection pauses
    note: str = Field("", max_length=NOTE_CHARACTERS)  # private


def by_default(settings: DefaultGrants) -> Grants:
    """What a new connection starts with."""
    return Grants(**settings.model_dump())


def edit(grants: JsonObject, changes: JsonObject) -> Grants:
    """Apply the owner's changes; an unknown name or a wrong kind of value changes nothing."""
    unknown = sorted(set(changes) - set(Grants.model_fields))
    if unknown:
        known = ", ".join(Grants.model_fields)
        raise errors.InvalidParam(f"There is no grant {unknown[0]}. There are: {known}.")
    try:
        return Grants.model_validate({**grants, **changes})
    except pydantic.ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        raise errors.InvalidParam(f"{name} must be {_MEANT.get(name, 'on or off')}.") from error


def as_told(grants: JsonObject) -> dict[str, Any]:
    """What the peer may know of its grants: everything but the note."""
    return {name: value for name, value in grants.items() if name != "note"}
