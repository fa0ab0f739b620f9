"""Fill the gaps in a room's history by asking the peers that are in the room.

Spec: server-server-api#backfilling-and-retrieving-missing-events
"""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial

from homeserver import errors
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.events import Event
from homeserver.matrix.identifiers import EventId, RoomId, ServerName
from homeserver.matrix.room_versions import RoomVersion, room_version
from homeserver.ports import PeerNetwork
from homeserver.rooms import appending, taking_in
from homeserver.rooms.joining import Verify
from homeserver.rooms.state import MissingEvents
from homeserver.storage import events, meetings, rooms
from homeserver.storage.database import Database
from homeserver.storage.gaps import Gap
from homeserver.storage.unit_of_work import View

_EVENTS_PER_ASK = 100
_GAPS_PER_ASK = 20
_MOST_PEERS_ASKED = 3
_MOST_ROUNDS = 10
# Somebody is looking at a screen: so long for each question, and for all of them.
_ANSWER_WITHIN_S = 6.0
_ALL_WITHIN_S = 15.0


class Backfilling:
    """Fetches history."""

    def __init__(self, database: Database, network: PeerNetwork, verify: Verify) -> None:
        self._database = database
        self._network = network
        self._verify = verify

    async def fill(self, room_id: RoomId, gaps: Sequence[Gap]) -> bool:
        """Try to fill some gaps of a room from one peer or another; return whether it helped."""
        wanted = list(dict.fromkeys(gap.missing for gap in gaps))[:_GAPS_PER_ASK]
        version = self._database.read(lambda view: _version(view, room_id))
        end = asyncio.get_running_loop().time() + _ALL_WITHIN_S
        for peer in self._peers(room_id)[:_MOST_PEERS_ASKED]:
            try:
                asked = _Asked(self._network, peer, end)
                if await self._fill_from(asked, room_id, version, wanted):
                    return True
            except (
                errors.PeerUnreachable,
                errors.PeerRefused,
                errors.NotConnected,
                MissingEvents,
            ):
                continue
        return False

    def _peers(self, room_id: RoomId) -> list[ServerName]:
        """Connected servers in the room, those first that are awake."""

        def find(view: View) -> frozenset[ServerName]:
            there = rooms.servers_in_room(view, room_id, rooms.JOINED)
            return there & meetings.carrying(view, room_id)

        found = self._database.read(find)
        return sorted(found, key=lambda peer: (not self._network.is_awake(peer), peer))

    async def _fill_from(
        self, asked: "_Asked", room_id: RoomId, version: RoomVersion, wanted: list[EventId]
    ) -> bool:
        body: JsonObject = {"room_id": room_id, "v": wanted, "limit": _EVENTS_PER_ASK}
        pdus = (await asked.ask("backfill", body)).get("pdus")
        if not isinstance(pdus, list) or not pdus:
            return False
        history = await self._verify(asked.peer, room_id, version, pdus[:_EVENTS_PER_ASK])
        authorities = await self._authorities(asked, room_id, version, history)
        placed = await self._database.write(
            lambda work: taking_in.take_in_backfill(work, room_id, history, authorities)
        )
        return placed > 0

    async def _authorities(
        self, asked: "_Asked", room_id: RoomId, version: RoomVersion, history: list[Event]
    ) -> list[Event]:
        """What allowed these events, as far as it is not here, and what allowed that."""
        fetched: dict[EventId, Event] = {}
        for _ in range(_MOST_ROUNDS):
            here = [*history, *fetched.values()]
            missing = self._database.read(partial(_missing_authorities, here=here))
            if not missing:
                break
            body: JsonObject = {"room_id": room_id, "event_ids": missing[:_EVENTS_PER_ASK]}
            pdus = (await asked.ask("event", body)).get("pdus")
            given = pdus[:_EVENTS_PER_ASK] if isinstance(pdus, list) else []
            verified = await self._verify(asked.peer, room_id, version, given)
            fresh = {one.event_id: one for one in verified if one.event_id in missing}
            if not fresh:
                raise MissingEvents(missing)
            fetched |= fresh
        return list(fetched.values())


@dataclass(frozen=True, slots=True)
class _Asked:
    """One peer, and when asking has to end altogether."""

    network: PeerNetwork
    peer: ServerName
    end: float

    async def ask(self, operation: str, body: JsonObject) -> JsonObject:
        """Raise PeerUnreachable where no answer comes in time."""
        left = self.end - asyncio.get_running_loop().time()
        if left <= 0:
            raise errors.PeerUnreachable
        return await self.network.ask(self.peer, operation, body, min(_ANSWER_WITHIN_S, left))


def _missing_authorities(view: View, here: Collection[Event]) -> list[EventId]:
    known = {event.event_id for event in here}
    wanted = {one for event in here for one in appending.authorities_of(event)} - known
    return sorted(wanted - events.load_bodies(view, wanted).keys())


def _version(view: View, room_id: RoomId) -> RoomVersion:
    room = rooms.find_room(view, room_id)
    if room is None:
        raise errors.NotInRoom
    return room_version(room.version_id)
