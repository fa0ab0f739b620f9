"""The tree of rooms under a space, and what is known of one room before joining it.

Rooms that we are outside of are asked for at the connected servers that are said to know them.

Spec: client-server-api#spaces
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from homeserver import errors
from homeserver.matrix import identifiers
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.events import Event
from homeserver.matrix.identifiers import RoomId, ServerName, UserId
from homeserver.ports import Clock, PeerNetwork, Requester
from homeserver.rooms import drafting, outside, summaries, veils
from homeserver.rooms.aliases import RoomAliases
from homeserver.rooms.local_server import LocalServer
from homeserver.rooms.summaries import Onlooker
from homeserver.storage import events, meetings, peers, room_state, rooms
from homeserver.storage.caches import Lru
from homeserver.storage.database import Database
from homeserver.storage.rooms import Room
from homeserver.storage.unit_of_work import View

_CHILD = "m.space.child"
_MOST_ROOMS = 500
_LARGEST_PAGE = 50
_DEEPEST = 10
_MOST_QUESTIONS = 10
_MOST_SERVERS_ASKED = 3
_ANSWER_WITHIN_S = 5.0
_REMEMBERED = 200
_REMEMBERED_S = 300.0
_LONGEST_ORDER = 50
_NO_ANSWER = (errors.PeerUnreachable, errors.PeerRefused, errors.NotFound, errors.NotConnected)


@dataclass(frozen=True, slots=True)
class HierarchyRequest:
    """Which part of a tree is asked for."""

    limit: int = _LARGEST_PAGE
    max_depth: int | None = None
    is_suggested_only: bool = False
    start: int = 0


@dataclass(slots=True)
class _Walk:
    """One walk over a tree: what it may still ask, and whom it need not."""

    requester: Requester
    questions_left: int = _MOST_QUESTIONS
    silent: set[ServerName] = field(default_factory=set)
    seen: set[RoomId] = field(default_factory=set)


class Spaces:
    """Looks into spaces and at rooms from outside."""

    def __init__(
        self,
        database: Database,
        local: LocalServer,
        network: PeerNetwork,
        clock: Clock,
        aliases: RoomAliases,
    ) -> None:
        self._database = database
        self._local = local
        self._network = network
        self._clock = clock
        self._aliases = aliases
        self._told: Lru[RoomId, tuple[float, JsonObject]] = Lru(_REMEMBERED)

    async def hierarchy(
        self, requester: Requester, room_id: RoomId, request: HierarchyRequest
    ) -> tuple[list[JsonObject], bool]:
        """A part of the tree, depth first, and whether there is more of it.

        Spec: client-server-api#get_matrixclientv1roomsroomidhierarchy
        """
        walk = _Walk(requester)
        wanted = request.start + min(max(request.limit, 1), _LARGEST_PAGE)
        deepest = _DEEPEST if request.max_depth is None else min(request.max_depth, _DEEPEST)
        found: list[JsonObject] = []
        ahead: list[tuple[RoomId, Sequence[ServerName], int]] = [(room_id, (), 0)]
        while ahead and len(found) <= min(wanted, _MOST_ROOMS) and len(walk.seen) < _MOST_ROOMS:
            next_id, via, depth = ahead.pop()
            if next_id in walk.seen:
                continue
            walk.seen.add(next_id)
            entry = await self._entry(walk, next_id, via)
            if entry is None:
                continue
            found.append(entry)
            if depth < deepest:
                children = _suggested(entry["children_state"], only=request.is_suggested_only)
                ahead += [(one, servers, depth + 1) for one, servers in reversed(children)]
        if not found:
            raise errors.Forbidden("You are not allowed to look into that room.")
        return found[request.start : wanted], len(found) > wanted

    async def summary(
        self, requester: Requester, target: str, servers: Sequence[str]
    ) -> JsonObject:
        """One room, with the owner's membership in it.

        Spec: client-server-api#get_matrixclientv1room_summaryroomidoralias
        """
        via = [identifiers.parse_server_name(server) for server in servers[:20]]
        if target.startswith("#"):
            try:
                resolved = await self._aliases.resolve(identifiers.parse_room_alias(target))
            except _NO_ANSWER:
                raise errors.NotFound("There is no room with that alias.") from None
            target, via = resolved.room_id, [*via, *resolved.servers]
        room_id = identifiers.parse_room_id(target)
        user_id = requester.user_id
        entry = await self._entry(_Walk(requester), room_id, via)
        if entry is None:
            entry = self._database.read(
                lambda view: summaries.from_stripped(view, room_id, user_id)
            )
        if entry is None:
            raise errors.NotFound("There is no such room that you may see.")
        known = self._database.read(lambda view: rooms.find_membership(view, room_id, user_id))
        shown = {key: value for key, value in entry.items() if key != "children_state"}
        return shown if known is None else shown | {"membership": known.membership}

    def answer_peer(
        self, view: View, peer: ServerName, room_id: RoomId, *, is_suggested_only: bool
    ) -> JsonObject:
        """A room and its children, as far as somebody of a peer's server may know of them.

        Spec: server-server-api#get_matrixfederationv1hierarchyroomid
        """
        onlooker = Onlooker(server=peer)
        room = self._here(view, room_id, onlooker)
        if room is None:
            raise errors.NotFound("There is no such room that you may see.")
        children: list[JsonObject] = []
        closed: list[RoomId] = []
        for child_id, _ in _suggested(room["children_state"], only=is_suggested_only):
            child = self._here(view, child_id, onlooker)
            if child is not None:
                children.append({name: child[name] for name in child if name != "children_state"})
            elif self._is_known_to(view, child_id, peer):
                closed.append(child_id)
        return {"room": room, "children": children, "inaccessible_children": closed}

    def _is_known_to(self, view: View, room_id: RoomId, peer: ServerName) -> bool:
        """Whether a peer may know that we are in a room, and no more of it."""
        is_inside = drafting.is_inside(view, room_id, self._local)
        return is_inside and meetings.is_carried(view, room_id, peer)

    async def _entry(
        self, walk: _Walk, room_id: RoomId, via: Sequence[ServerName]
    ) -> JsonObject | None:
        onlooker = Onlooker(walk.requester.user_id)
        is_inside = self._database.read(lambda view: drafting.is_inside(view, room_id, self._local))
        if is_inside:
            return self._database.read(lambda view: self._here(view, room_id, onlooker))
        remembered = self._told.find(room_id)
        if remembered is not None and remembered[0] > self._clock.monotonic():
            return remembered[1]
        return await self._ask(walk, room_id, via)

    def _here(self, view: View, room_id: RoomId, onlooker: Onlooker) -> JsonObject | None:
        room = rooms.find_room(view, room_id)
        if room is None or not drafting.is_inside(view, room_id, self._local):
            return None
        if not summaries.may_hear_of(view, room, onlooker):
            return None
        summary = summaries.summarise(view, room, onlooker)
        if not summaries.may_see(view, summary, onlooker):
            return None
        children = _children(view, room, onlooker)
        return summary | {
            "children_state": [_stripped(one) for one in children if _via(one.content)]
        }

    async def _ask(
        self, walk: _Walk, room_id: RoomId, via: Sequence[ServerName]
    ) -> JsonObject | None:
        """What the first peer that knows the room says of it, and of its children."""
        candidates = self._database.read(
            lambda view: self._servers(view, room_id, walk.requester.user_id, via)
        )
        for peer in candidates[:_MOST_SERVERS_ASKED]:
            if peer in walk.silent or not walk.questions_left:
                continue
            walk.questions_left -= 1
            try:
                body: JsonObject = {"room_id": room_id}
                answer = await self._network.ask(peer, "hierarchy", body, _ANSWER_WITHIN_S)
            except errors.PeerUnreachable:
                walk.silent.add(peer)
                continue
            except _NO_ANSWER:
                continue
            entry = self._take_in(answer, room_id)
            if entry is not None:
                return entry
        return None

    def _servers(
        self, view: View, room_id: RoomId, user_id: UserId, via: Sequence[ServerName]
    ) -> list[ServerName]:
        membership = rooms.find_membership(view, room_id, user_id)
        inviter = outside.inviting_server(view, membership) if membership is not None else None
        named = [*via, *([inviter] if inviter is not None else [])]
        if ":" in room_id:
            named.append(identifiers.server_of(room_id))
        connected = peers.connected_servers(view) - {self._local.server_name}
        return [one for one in dict.fromkeys(named) if one in connected]

    def _take_in(self, answer: JsonObject, room_id: RoomId) -> JsonObject | None:
        given: Any = answer.get("room")
        room = summaries.told_by_peer(given, room_id)
        if room is None:
            return None
        until = self._clock.monotonic() + _REMEMBERED_S
        entry = room | {"children_state": _children_told(given.get("children_state"))}
        self._told.keep(room_id, (until, entry))
        others = answer.get("children")
        for one in (others if isinstance(others, list) else [])[: _REMEMBERED // 2]:
            child = summaries.told_by_peer(one)
            if child is not None and "room_type" not in child:
                self._told.keep(RoomId(child["room_id"]), (until, child | {"children_state": []}))
        return entry


def _children(view: View, room: Room, onlooker: Onlooker) -> Iterable[Event]:
    """What a space names as its children: to peers as it is, to the owner as far as shown."""
    current = room_state.load_state(view, room.current_state_id)
    named = [event_id for key, event_id in current.items() if key[0] == _CHILD]
    named = named[: summaries.MOST_CHILDREN]
    if onlooker.user_id is None:
        return events.load_bodies(view, named).values()
    return veils.shown_entries(view, onlooker.user_id, room.room_id, named)


def _stripped(event: Event) -> JsonObject:
    return {
        "type": event.type,
        "state_key": event.state_key,
        "content": event.content,
        "sender": event.sender,
        "origin_server_ts": event.origin_server_ts,
    }


def _children_told(given: Any) -> list[JsonObject]:
    """The children that a peer names, in the form that clients expect."""
    told = given[: summaries.MOST_CHILDREN] if isinstance(given, list) else []
    return [
        {key: one[key] for key in ("type", "state_key", "content", "sender", "origin_server_ts")}
        for one in told
        if isinstance(one, dict)
        and one.get("type") == _CHILD
        and isinstance(one.get("state_key"), str)
        and isinstance(one.get("content"), dict)
        and isinstance(one.get("sender"), str)
        and type(one.get("origin_server_ts")) is int
        and _via(one["content"])
    ]


def _via(content: JsonObject) -> list[ServerName]:
    """The servers that know a child; a child without any is none.

    Spec: client-server-api#mspacechild
    """
    via = content.get("via")
    return (
        [ServerName(one) for one in via[:20] if isinstance(one, str)]
        if isinstance(via, list)
        else []
    )


def _suggested(
    children: Sequence[JsonObject], *, only: bool
) -> list[tuple[RoomId, list[ServerName]]]:
    """The children in their order, perhaps only the suggested ones.

    Spec: client-server-api#ordering-of-children-within-a-space
    """
    wanted = [one for one in children if not only or one["content"].get("suggested") is True]
    ordered = sorted(wanted, key=_order)
    return [(RoomId(one["state_key"]), _via(one["content"])) for one in ordered]


def _order(child: JsonObject) -> tuple[bool, str, int, str]:
    order = child["content"].get("order")
    is_fit = (
        isinstance(order, str)
        and 0 < len(order) <= _LONGEST_ORDER
        and all(" " <= one <= "~" for one in order)
    )
    return (not is_fit, order if is_fit else "", child["origin_server_ts"], child["state_key"])
