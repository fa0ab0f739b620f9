"""Check what peers hand us as events before anything else looks at it.

Format, signatures by the keys their senders had then, and the content hash. Whether an event is
allowed is for `homeserver.rooms.appending`.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from homeserver import errors, metrics
from homeserver.matrix import events, identifiers
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.events import Event
from homeserver.matrix.identifiers import RoomId, ServerName
from homeserver.matrix.room_versions import RoomVersion

# The public key that a server signed events with under this key ID at this time, in milliseconds.
KeyAt = Callable[[ServerName, str, int], str | None]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Room:
    """What a received event must belong to."""

    room_id: RoomId
    version: RoomVersion


def check(pdu: Any, room: Room, key_at: KeyAt) -> Event:
    """Return the event; its redacted form if its content was changed on the way.

    Raises BadEvent or BadSignature for what is not an event of this room.

    Spec: server-server-api#checks-performed-on-receipt-of-a-pdu
    """
    if not isinstance(pdu, dict):
        raise errors.BadEvent("An event is a JSON object.")
    event = events.parse(pdu, room.version)
    if event.room_id != room.room_id:
        raise errors.BadEvent("That event belongs to another room.")

    def find_key(server: ServerName, key_id: str) -> str | None:
        return key_at(server, key_id, event.origin_server_ts)

    return events.authentic(event, find_key)


def check_all(pdus: Iterable[Any], room: Room, key_at: KeyAt) -> list[Event]:
    """Return the events that pass, in their order and each once; the others are only counted."""
    passed: dict[str, Event] = {}
    for pdu in pdus:
        try:
            event = check(pdu, room, key_at)
        except errors.HomeserverError as error:
            metrics.bump("events_refused")
            _log.info("refused an event room=%s reason=%s", room.room_id, type(error).__name__)
        else:
            passed.setdefault(event.event_id, event)
    return list(passed.values())


def signers(pdus: Sequence[Any]) -> frozenset[ServerName]:
    """The servers whose keys are needed to check these."""
    users = (user for pdu in pdus if isinstance(pdu, dict) for user in _signing_users(pdu))
    return frozenset(
        identifiers.server_of(user)
        for user in users
        if isinstance(user, str) and identifiers.is_user_id(user)
    )


def key_ids(pdus: Sequence[Any], server: ServerName) -> frozenset[str]:
    """The names of the keys that a server claims to have signed these with."""
    signed = (pdu.get("signatures") for pdu in pdus if isinstance(pdu, dict))
    by_key = (one.get(server) for one in signed if isinstance(one, dict))
    return frozenset(key_id for one in by_key if isinstance(one, dict) for key_id in one)


def _signing_users(pdu: JsonObject) -> tuple[Any, Any]:
    content = pdu.get("content")
    authorising = (
        content.get("join_authorised_via_users_server") if isinstance(content, dict) else None
    )
    return pdu.get("sender"), authorising
