"""Ask a peer for events of a room that we lack. What comes back is verified.

No unit of work may be open while asking.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from federation.replication import bodies, verification
from federation.replication.asking import Ask, Patient
from federation.replication.cards import Cards
from federation.replication.edges import Edge
from federation.replication.verification import Room
from homeserver import errors
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.events import Event
from homeserver.matrix.identifiers import EventId, RoomId, ServerName
from homeserver.matrix.room_versions import RoomVersion
from homeserver.ports import Clock
from homeserver.storage import events
from homeserver.storage.database import Database

# A room with a larger state is not for a personal server; nor may a peer answer without end. Each
# answer has 200 KiB at most. A part of a state is none: what is beyond is refused.
_MOST_STATE = 50_000
_MOST_PAGES = 300
# Others have their turn between so many signatures.
_CHECKED_AT_ONCE = 50
_EVENTS_PER_ASK = 300


@dataclass(frozen=True, slots=True)
class ToldState:
    """The state before an event as a peer tells it, and the events of it that we lacked."""

    state_ids: frozenset[EventId]
    outliers: list[Event]


class Fetching:
    """Questions about a room's graph."""

    def __init__(self, database: Database, ask: Ask, cards: Cards) -> None:
        self._database = database
        self._ask = ask
        self._cards = cards

    def patient(self, clock: Clock, until: float) -> "Fetching":
        """The same, asking again where the peer is away for a moment, and never beyond another."""
        return Fetching(self._database, Patient(self._ask, clock, until), self._cards)

    @property
    def own_name(self) -> ServerName:
        """Our own server's name."""
        return self._cards.own_name

    async def verify(
        self, peer: ServerName, room_id: RoomId, version: RoomVersion, pdus: Sequence[Any]
    ) -> list[Event]:
        """`verified`, as `homeserver.rooms.joining.Verify` wants it."""
        return await self.verified(peer, Room(room_id, version), pdus)

    async def verified(self, peer: ServerName, room: Room, pdus: Sequence[Any]) -> list[Event]:
        """Those of some PDUs that are events of this room, as their senders signed them."""
        key_at = await self._cards.keys_for(self._ask, peer, room.room_id, pdus)
        found: dict[EventId, Event] = {}
        for start in range(0, len(pdus), _CHECKED_AT_ONCE):
            some = verification.check_all(pdus[start : start + _CHECKED_AT_ONCE], room, key_at)
            for event in some:
                found.setdefault(event.event_id, event)
            await asyncio.sleep(0)
        return list(found.values())

    async def ask_missing_events(self, peer: ServerName, room: Room, edge: Edge) -> list[Event]:
        """What lies between events that we have and events whose past we lack."""
        body: JsonObject = {
            "room_id": room.room_id,
            "earliest_events": list(edge.earliest[: bodies.EVENTS_PER_QUESTION]),
            "latest_events": list(edge.latest[: bodies.EVENTS_PER_QUESTION]),
            "limit": _EVENTS_PER_ASK,
            "min_depth": edge.min_depth,
        }
        answer = await self._ask(peer, "get_missing_events", body)
        return await self.verified(peer, room, bodies.listed(answer, "events")[:_EVENTS_PER_ASK])

    async def ask_backfill(
        self, peer: ServerName, room: Room, wanted: Sequence[EventId]
    ) -> list[Event]:
        """Events by their IDs and what came before them, from whom does not know what follows."""
        body: JsonObject = {
            "room_id": room.room_id,
            "v": list(wanted[: bodies.EVENTS_PER_QUESTION]),
            "limit": bodies.EVENTS_PER_QUESTION,
        }
        answer = await self._ask(peer, "backfill", body)
        return await self.verified(peer, room, bodies.listed(answer, "pdus")[:_EVENTS_PER_ASK])

    async def ask_state_before(self, peer: ServerName, room: Room, event: Event) -> ToldState:
        """The state before an event, and the events of it and of its authority that we lack."""
        state_ids, chain_ids = await self._ask_state_ids(peer, room, event.event_id)
        needed = state_ids | chain_ids | set(event.auth_events)
        known = self._database.read(lambda view: events.load_events(view, needed))
        lacking = [one for one in sorted(needed) if one not in known]
        return ToldState(frozenset(state_ids), await self.ask_events(peer, room, lacking))

    async def ask_events(
        self, peer: ServerName, room: Room, event_ids: Sequence[EventId]
    ) -> list[Event]:
        """Events by their IDs; those that the peer does not give are missing."""
        found: dict[EventId, Event] = {}
        waiting = list(event_ids)
        for _ in range(_MOST_PAGES):
            if not waiting:
                break
            asked = waiting[: bodies.EVENTS_PER_QUESTION]
            body: JsonObject = {"room_id": room.room_id, "event_ids": asked}
            answer = await self._ask(peer, "event", body)
            given = await self.verified(peer, room, bodies.listed(answer, "pdus")[: len(asked)])
            fresh = {one.event_id: one for one in given if one.event_id in asked}
            if not fresh:
                break
            found |= fresh
            waiting = [one for one in waiting if one not in found]
        return list(found.values())

    async def _ask_state_ids(
        self, peer: ServerName, room: Room, event_id: EventId
    ) -> tuple[set[EventId], set[EventId]]:
        state: set[EventId] = set()
        chain: set[EventId] = set()
        offset = 0
        for _ in range(_MOST_PAGES):
            body: JsonObject = {"room_id": room.room_id, "event_id": event_id, "offset": offset}
            answer = await self._ask(peer, "state_ids", body)
            state |= {EventId(one) for one in bodies.texts(answer, "pdu_ids")}
            chain |= {EventId(one) for one in bodies.texts(answer, "auth_chain_ids")}
            _check_size(len(state) + len(chain))
            following = _further(answer.get("next"), offset)
            if following is None:
                return state, chain
            offset = following
        raise _too_large()


async def complete_join(
    ask: Ask, peer: ServerName, room_id: RoomId, event_id: EventId, answer: JsonObject
) -> JsonObject:
    """The answer to `send_join` with every page of the state, still to be verified."""
    state, chain = bodies.listed(answer, "state"), bodies.listed(answer, "auth_chain")
    offset = _further(answer.get("next"), 0)
    for _ in range(_MOST_PAGES):
        _check_size(len(state) + len(chain))
        if offset is None:
            return answer | {"state": state, "auth_chain": chain, "next": None}
        body: JsonObject = {"room_id": room_id, "event_id": event_id, "offset": offset}
        page = await ask(peer, "state", body)
        state = state + bodies.listed(page, "pdus")
        chain = chain + bodies.listed(page, "auth_chain")
        offset = _further(page.get("next"), offset)
    raise _too_large()


def _check_size(told: int) -> None:
    if told > _MOST_STATE:
        raise _too_large()


def _too_large() -> errors.PeerRefused:
    return errors.PeerRefused(
        "The state of that room is larger than this server takes in: more than"
        f" {_MOST_STATE:,} events, or {_MOST_PAGES} answers."
    )


def _further(following: Any, offset: int) -> int | None:
    """The next offset. One that does not go forward would never end."""
    if not isinstance(following, int):
        return None
    if following <= offset:
        raise errors.PeerRefused("The other server's answer makes no sense.")
    return following
