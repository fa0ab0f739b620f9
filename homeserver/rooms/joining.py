"""Join, or knock at, a room through a peer that is in it: template, signed event, the room.

Spec: server-server-api#joining-rooms
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from homeserver import errors
from homeserver.matrix import events as matrix_events
from homeserver.matrix import identifiers
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.events import Draft, Event
from homeserver.matrix.identifiers import EventId, RoomId, ServerName, UserId
from homeserver.matrix.room_versions import ROOM_VERSIONS, RoomVersion, room_version
from homeserver.ports import PeerNetwork
from homeserver.rooms import drafting
from homeserver.rooms.local_server import LocalServer

# A room's state may take a while.
_ANSWER_WITHIN_S = 60.0
_LEAST_DEPTH = 1
_MOST_NAMED = 5
# How many events a newcomer may name as the newest it has of a room.
MOST_NEWEST = 20


class Verify(Protocol):
    """Check what a peer hands us as events of a room: format, signatures, content hash."""

    async def __call__(
        self, peer: ServerName, room_id: RoomId, version: RoomVersion, pdus: Sequence[Any]
    ) -> list[Event]:
        """Return those that pass, in their order; those that do not are only counted."""
        ...


@dataclass(frozen=True, slots=True)
class Entry:
    """A room that one of our users wants to enter: as what, and what we have of it already."""

    room_id: RoomId
    user_id: UserId
    content: JsonObject
    # Our forward extremities, if somebody of ours was in it before.
    newest: tuple[EventId, ...] = ()


@dataclass(frozen=True, slots=True)
class JoinedRoom:
    """A room as a peer told it to us, every event of it verified."""

    version: RoomVersion
    join: Event
    state_events: list[Event]
    auth_chain: list[Event]


class Asking:
    """Asks one peer to let one of our users into a room."""

    def __init__(self, network: PeerNetwork, verify: Verify, local: LocalServer) -> None:
        self._network = network
        self._verify = verify
        self._local = local

    async def join(self, peer: ServerName, entry: Entry, now_ms: int) -> JoinedRoom:
        """Have our membership accepted, and return the room with the state before it.

        Spec: server-server-api#put_matrixfederationv2send_joinroomideventid
        """
        event = await self._signed(peer, "join", entry, now_ms)
        body = {"room_id": entry.room_id, "event_id": event.event_id, "event": event.pdu}
        answer = await self._network.ask(peer, "send_join", body, _ANSWER_WITHIN_S)
        version = event.version
        countersigned = answer.get("event")
        if isinstance(countersigned, dict):
            checked = await self._verify(peer, entry.room_id, version, [countersigned])
            event = next((one for one in checked if one.event_id == event.event_id), event)
        return JoinedRoom(
            version,
            event,
            await self._whole(peer, event, _listed(answer, "state")),
            await self._whole(peer, event, _listed(answer, "auth_chain")),
        )

    async def _whole(self, peer: ServerName, join: Event, pdus: Sequence[Any]) -> list[Event]:
        """All of these as events of the room: with a part of it we would hold another room."""
        passed = await self._verify(peer, join.room_id, join.version, pdus)
        lost = _lost(pdus, passed, join.version) if len(passed) < len(pdus) else []
        if lost:
            raise errors.PeerRefused(
                f"Your server could not check {len(lost)} of the events that make up that room,"
                f" and did not enter it. They are by {_named(lost)}."
            )
        return passed

    async def knock(
        self, peer: ServerName, entry: Entry, now_ms: int
    ) -> tuple[Event, list[JsonObject]]:
        """Ask to be invited; returns our event and what the peer shows of the room.

        Spec: server-server-api#put_matrixfederationv1send_knockroomideventid
        """
        event = await self._signed(peer, "knock", entry, now_ms)
        body = {"room_id": entry.room_id, "event_id": event.event_id, "event": event.pdu}
        answer = await self._network.ask(peer, "send_knock", body, _ANSWER_WITHIN_S)
        shown = _listed(answer, "knock_room_state")
        return event, [entry for entry in shown if isinstance(entry, dict)]

    async def _signed(self, peer: ServerName, membership: str, entry: Entry, now_ms: int) -> Event:
        """Our membership, placed where the peer's template puts it; the rest of it is ours."""
        body = {
            "room_id": entry.room_id,
            "user_id": entry.user_id,
            "ver": sorted(ROOM_VERSIONS),
            "newest": list(entry.newest[:MOST_NEWEST]),
        }
        answer = await self._network.ask(peer, f"make_{membership}", body, _ANSWER_WITHIN_S)
        version = room_version(str(answer.get("room_version")))
        template = answer.get("event")
        if not isinstance(template, dict):
            raise errors.PeerRefused("The other server's answer makes no sense.")
        content = entry.content | {"membership": membership}
        authorising_user = _content_of(template).get("join_authorised_via_users_server")
        if isinstance(authorising_user, str):
            content = content | {"join_authorised_via_users_server": authorising_user}
        depth = template.get("depth")
        placed = Draft(
            room_id=entry.room_id,
            sender=entry.user_id,
            type="m.room.member",
            state_key=entry.user_id,
            content=content,
            prev_events=_event_ids(template, "prev_events"),
            auth_events=_event_ids(template, "auth_events"),
            depth=depth if isinstance(depth, int) else _LEAST_DEPTH,
            origin_server_ts=now_ms,
        )
        return drafting.build(self._local, placed, version.id)


def _lost(pdus: Sequence[Any], passed: Sequence[Event], version: RoomVersion) -> list[Any]:
    """Those that are not among the events that passed; the same twice is not lost."""
    ids = {event.event_id for event in passed}
    return [pdu for pdu in pdus if _event_id(pdu, version) not in ids]


def _event_id(pdu: Any, version: RoomVersion) -> EventId | None:
    try:
        return matrix_events.parse(pdu, version).event_id
    except errors.BadEvent:
        return None


def _named(lost: Sequence[Any]) -> str:
    """The servers that lost events say they come from, as many as a sentence bears."""
    senders = [str(pdu.get("sender")) for pdu in lost if isinstance(pdu, dict)]
    servers = sorted({identifiers.server_of(one) for one in senders if identifiers.is_user_id(one)})
    shown = ", ".join(servers[:_MOST_NAMED]) or "nobody"
    more = len(servers) - _MOST_NAMED
    return f"{shown} and {more} more servers" if more > 0 else shown


def _listed(answer: JsonObject, name: str) -> list[Any]:
    value = answer.get(name)
    return value if isinstance(value, list) else []


def _event_ids(template: JsonObject, name: str) -> tuple[EventId, ...]:
    return tuple(EventId(one) for one in _listed(template, name) if isinstance(one, str))


def _content_of(template: JsonObject) -> JsonObject:
    content = template.get("content")
    return content if isinstance(content, dict) else {}
