"""Every question that peers may ask, and who answers it.

The grant that each one needs stands in `payloads.OPERATIONS`; it was checked before this is
asked. An operation without a grant does not start.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial

from federation import payloads
from federation.replication import browsing, history, joining, media_parts, states
from federation.replication.browsing import Browsing
from federation.replication.cards import Cards
from federation.replication.joining import Joining
from federation.replication.people import People
from homeserver import errors
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import ServerName
from homeserver.media import Media
from homeserver.storage import meetings, peers, room_media
from homeserver.storage.database import Database
from homeserver.storage.unit_of_work import View

# The body of an answer and the bytes attached to it.
Answered = tuple[JsonObject, bytes]
Reader = Callable[[View, ServerName, JsonObject], JsonObject]
Answerer = Callable[[ServerName, JsonObject], Awaitable[JsonObject]]

READERS: Mapping[str, Reader] = {
    "backfill": history.answer_backfill,
    "get_missing_events": history.answer_get_missing_events,
    "state_ids": states.answer_state_ids,
    "state": states.answer_state,
    "event": states.answer_event,
    "event_auth": states.answer_event_auth,
    "timestamp_to_event": browsing.answer_timestamp_to_event,
}


@dataclass(frozen=True, slots=True)
class Outside:
    """What a peer may have without being in a room: files, and a look at rooms."""

    media: Media
    browsing: Browsing


class Answers:
    """Answers peers."""

    def __init__(
        self, database: Database, cards: Cards, rooms: Joining, people: People, outside: Outside
    ) -> None:
        self._database = database
        self._media = outside.media
        self._cards = cards
        self._answerers: dict[str, Answerer] = {
            "query/profile": people.answer_profile,
            "query/directory": people.answer_directory,
            "publicRooms": outside.browsing.answer_public_rooms,
            "hierarchy": outside.browsing.answer_hierarchy,
            "user/keys/query": people.answer_keys_query,
            "user/keys/claim": people.answer_keys_claim,
        }
        for name, reader in {**READERS, "cards": cards.answer}.items():
            self._answerers[name] = partial(self._read, reader)
        for name in joining.MADE:
            self._answerers[name] = partial(rooms.answer_make, name)
        for name in joining.SENT:
            self._answerers[name] = partial(rooms.answer_send, name)
        self.operations = frozenset({*self._answerers, "media/download"})
        without_grant = self.operations - payloads.OPERATIONS.keys()
        if without_grant:
            raise TypeError(f"No grant is named for {sorted(without_grant)}.")

    async def answer(self, peer: ServerName, operation: str, body: JsonObject) -> Answered:
        """Answer one question; what is refused is raised."""
        if operation == "media/download":
            self._database.read(lambda view: self._check_file(view, peer, body))
            return await media_parts.answer_download(self._media, body)
        answerer = self._answerers.get(operation)
        if answerer is None:
            raise errors.Unrecognized
        return await answerer(peer, body), b""

    def _check_file(self, view: View, peer: ServerName, body: JsonObject) -> None:
        """Whom we met in rooms gets no file that is named in others only.

        What encrypted messages name no server sees; there only who has read the ID can ask.
        """
        known = peers.find_peer(view, peer)
        if known is None or known.room_id is None:
            return
        media_id = str(body.get("media_id"))
        naming = room_media.rooms_naming(view, self._cards.own_name, media_id)
        if naming and not any(meetings.is_carried(view, one, peer) for one in naming):
            raise errors.NotFound("There is no such file.")

    async def _read(self, reader: Reader, peer: ServerName, body: JsonObject) -> JsonObject:
        return await self._database.scan(lambda view: reader(view, peer, body))
