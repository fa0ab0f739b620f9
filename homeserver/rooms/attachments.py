"""Which files an event names, so that they can go when its room does.

The files of encrypted messages are named inside, where no server sees it.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from homeserver import errors
from homeserver.matrix import canonical_json, identifiers
from homeserver.matrix.events import Event
from homeserver.matrix.identifiers import MxcUri, UserId
from homeserver.storage import account_data, accounts, room_media
from homeserver.storage.media import StoredFile
from homeserver.storage.unit_of_work import UnitOfWork, View

_SCHEME = "mxc://"
_DEEPEST = 5
_MOST = 100
_NEWEST = 2**62


def note(work: UnitOfWork, event: Event) -> None:
    """Remember the files that an event names. A person's picture is no room's."""
    if event.type == "m.room.member":
        return
    named = list(dict.fromkeys(media_in(event.content)))[:_MOST]
    if named:
        sender = identifiers.server_of(event.sender)
        room_media.save_uses(work, event.room_id, named, sender)


def named_by_owner(view: View, owner: UserId, files: Iterable[StoredFile]) -> set[str]:
    """The file IDs of those that the owner's profile or account data may name."""
    profile = canonical_json.encode(accounts.find_profile(view, owner) or {})
    entries = account_data.account_data_since(view, owner, 0, _NEWEST)
    said = [profile, *(entry.content for entry in entries)]
    return {
        one.file_id for one in files if any(one.media_id.encode() in content for content in said)
    }


def media_in(value: Any, depth: int = 0) -> Iterator[MxcUri]:
    """Every mxc URI in an event's content."""
    if isinstance(value, str):
        if value.startswith(_SCHEME):
            try:
                yield identifiers.parse_mxc_uri(value)
            except errors.InvalidParam:
                return
    elif depth < _DEEPEST and isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from media_in(part, depth + 1)
