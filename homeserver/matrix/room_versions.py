"""What differs between the room versions 10, 11 and 12, as data.

The rules read a flag; no rule compares version numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from homeserver.errors import UnsupportedRoomVersion


@dataclass(frozen=True, slots=True)
class RoomVersion:
    """One version of the rules of a room.

    Spec: rooms#feature-matrix
    """

    id: str
    # From v12: the room ID is the create event's hash, and no event cites the create event.
    room_id_is_create_event: bool
    # From v12: power over everyone, and no place in m.room.power_levels.
    creators_are_above_all: bool
    # v10 alone: m.room.create repeats its sender as content.creator.
    create_names_creator: bool
    # From v11: content.redacts instead of a top-level key.
    redacts_in_content: bool
    # From v12: state resolution v2.1.
    resolution_starts_empty: bool
    # What survives redaction: keys of the event, and of the content for some types.
    kept_keys: frozenset[str] = field(repr=False, compare=False)
    kept_content: Mapping[str, frozenset[str]] = field(repr=False, compare=False)
    # From v11: m.room.create keeps all of its content.
    redaction_keeps_create: bool
    # From v11: content.third_party_invite.signed of a membership survives.
    redaction_keeps_signed_invite: bool


_KEPT_KEYS = frozenset(
    {
        "event_id",
        "type",
        "room_id",
        "sender",
        "state_key",
        "content",
        "hashes",
        "signatures",
        "depth",
        "prev_events",
        "auth_events",
        "origin_server_ts",
    }
)

_POWER_LEVELS = frozenset(
    {
        "ban",
        "events",
        "events_default",
        "kick",
        "redact",
        "state_default",
        "users",
        "users_default",
    }
)

_KEPT_CONTENT = {
    "m.room.member": frozenset({"membership", "join_authorised_via_users_server"}),
    "m.room.join_rules": frozenset({"join_rule", "allow"}),
    "m.room.history_visibility": frozenset({"history_visibility"}),
}

_KEPT_CONTENT_FROM_V11 = _KEPT_CONTENT | {
    "m.room.power_levels": _POWER_LEVELS | {"invite"},
    "m.room.redaction": frozenset({"redacts"}),
}

ROOM_VERSIONS: Mapping[str, RoomVersion] = {
    "10": RoomVersion(
        id="10",
        room_id_is_create_event=False,
        creators_are_above_all=False,
        create_names_creator=True,
        redacts_in_content=False,
        resolution_starts_empty=False,
        kept_keys=_KEPT_KEYS | {"prev_state", "origin", "membership"},
        kept_content=_KEPT_CONTENT
        | {"m.room.power_levels": _POWER_LEVELS, "m.room.create": frozenset({"creator"})},
        redaction_keeps_create=False,
        redaction_keeps_signed_invite=False,
    ),
    "11": RoomVersion(
        id="11",
        room_id_is_create_event=False,
        creators_are_above_all=False,
        create_names_creator=False,
        redacts_in_content=True,
        resolution_starts_empty=False,
        kept_keys=_KEPT_KEYS,
        kept_content=_KEPT_CONTENT_FROM_V11,
        redaction_keeps_create=True,
        redaction_keeps_signed_invite=True,
    ),
    "12": RoomVersion(
        id="12",
        room_id_is_create_event=True,
        creators_are_above_all=True,
        create_names_creator=False,
        redacts_in_content=True,
        resolution_starts_empty=True,
        kept_keys=_KEPT_KEYS,
        kept_content=_KEPT_CONTENT_FROM_V11,
        redaction_keeps_create=True,
        redaction_keeps_signed_invite=True,
    ),
}

DEFAULT = "12"


def room_version(version_id: str) -> RoomVersion:
    """Return the rules of a version, or refuse a room we could not take part in."""
    version = ROOM_VERSIONS.get(version_id)
    if version is None:
        raise UnsupportedRoomVersion
    return version
