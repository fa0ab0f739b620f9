"""Which files an event names, so that they can go when its room does.

The files of encrypted messages are named inside, where no server sees it.
"""

from collections.abc import Iterator
from typing import Any

from homeserver import errors
from homeserver.matrix import identifiers
from homeserver.matrix.events import Event
from homeserver.matrix.identifiers import MxcUri
from homeserver.storage import room_media
from homeserver.storage.unit_of_work import UnitOfWork

_SCHEME = "mxc://"
_DEEPEST = 5
_MOST = 100


def note(work: UnitOfWork, event: Event) -> None:
    """Remember the files that an event names. A person's picture is no room's."""
    if event.type == "m.room.member":
        return
    named = list(dict.fromkeys(media_in(event.content)))[:_MOST]
    if named:
        room_media.save_uses(work, event.room_id, named)


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
