"""Room aliases of this server, its room directory, and the way from an alias to a room.

Spec: client-server-api#room-aliases
"""

from dataclasses import dataclass

from homeserver import errors
from homeserver.matrix import identifiers
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import RoomAlias, RoomId, ServerName, UserId
from homeserver.ports import PeerNetwork, Requester
from homeserver.rooms import drafting, seeing, state
from homeserver.rooms.local_server import LocalServer
from homeserver.storage import peers, room_state, rooms
from homeserver.storage.database import Database
from homeserver.storage.rooms import Alias, Room
from homeserver.storage.unit_of_work import UnitOfWork, View

_DIRECTORY_LIMIT = 500
_SHOWN = {
    "name": ("m.room.name", "name"),
    "topic": ("m.room.topic", "topic"),
    "avatar_url": ("m.room.avatar", "url"),
    "canonical_alias": ("m.room.canonical_alias", "alias"),
    "join_rule": ("m.room.join_rules", "join_rule"),
    "room_type": ("m.room.create", "type"),
}


@dataclass(frozen=True, slots=True)
class ResolvedAlias:
    """The room behind an alias, and servers that know it."""

    room_id: RoomId
    servers: tuple[ServerName, ...]


class RoomAliases:
    """Gives rooms names and finds rooms by name."""

    def __init__(self, database: Database, local: LocalServer, network: PeerNetwork) -> None:
        self._database = database
        self._local = local
        self._network = network

    async def resolve(self, alias: RoomAlias) -> ResolvedAlias:
        """Find the room behind an alias; a connected peer is asked for its own ones.

        Spec: client-server-api#get_matrixclientv3directoryroomroomalias
        """
        server = identifiers.server_of(alias)
        if server == self._local.server_name:
            return self._database.read(lambda view: self.resolve_here(view, alias))
        if server not in self._database.read(peers.connected_servers):
            raise errors.NotFound("There is no room with that alias.")
        answer = await self._network.ask(server, "query/directory", {"room_alias": alias})
        servers = answer.get("servers")
        named = servers if isinstance(servers, list) else []
        return ResolvedAlias(
            identifiers.parse_room_id(str(answer.get("room_id"))),
            (server, *(ServerName(one) for one in named[:20] if isinstance(one, str))),
        )

    def resolve_here(self, view: View, alias: RoomAlias) -> ResolvedAlias:
        """Find the room behind an alias of this server; also answers peers."""
        found = rooms.find_alias(view, alias)
        if found is None:
            raise errors.NotFound("There is no room with that alias.")
        others = rooms.servers_in_room(view, found.room_id, rooms.JOINED)
        servers = (self._local.server_name, *sorted(others - {self._local.server_name}))
        return ResolvedAlias(found.room_id, servers)

    async def create(self, requester: Requester, alias: RoomAlias, room_id: RoomId) -> None:
        """Give a room that the owner is in another name."""

        def create(work: UnitOfWork) -> None:
            seeing.load_readable(work, room_id, requester.user_id)
            if rooms.find_alias(work, alias) is not None:
                raise errors.Conflict("That alias is taken already.")
            save(work, self._local, alias, room_id, requester.user_id)

        await self._database.write(create)

    async def check_canonical(self, room_id: RoomId, content: JsonObject) -> None:
        """Raise `BadAlias` where a new name of a room does not lead there.

        Spec: client-server-api#put_matrixclientv3roomsroomidstateeventtypestatekey
        """
        before = self._database.read(lambda view: _canonical_aliases(view, room_id))
        for alias in sorted(named_in(content) - before):
            try:
                found = await self.resolve(identifiers.parse_room_alias(alias))
            except (errors.NotFound, errors.PeerUnreachable, errors.PeerRefused):
                found = None
            if found is None or found.room_id != room_id:
                raise errors.BadAlias(f"{alias} does not lead to this room.")

    async def delete(self, alias: RoomAlias) -> None:
        """Take a name away; every user of this server is its owner."""

        def delete(work: UnitOfWork) -> None:
            if rooms.find_alias(work, alias) is None:
                raise errors.NotFound("There is no room with that alias.")
            rooms.delete_alias(work, alias)

        await self._database.write(delete)

    def of_room(self, requester: Requester, room_id: RoomId) -> list[RoomAlias]:
        """The names this server gave a room."""

        def find(view: View) -> list[RoomAlias]:
            seeing.load_readable(view, room_id, requester.user_id)
            return rooms.aliases_of(view, room_id)

        return self._database.read(find)

    def is_published(self, room_id: RoomId) -> bool:
        """Whether a room stands in the directory."""
        room = self._database.read(lambda view: rooms.find_room(view, room_id))
        if room is None:
            raise errors.NotFound("There is no such room.")
        return room.is_published

    async def publish(self, requester: Requester, room_id: RoomId, *, is_published: bool) -> None:
        """Put a room into the directory, or take it out."""

        def publish(work: UnitOfWork) -> None:
            seeing.load_readable(work, room_id, requester.user_id)
            rooms.publish(work, room_id, is_published=is_published)

        await self._database.write(publish)

    async def published_rooms(self, server: str | None = None) -> list[JsonObject]:
        """The rooms in the directory, as clients list them; other servers' are not asked for.

        Spec: client-server-api#get_matrixclientv3publicrooms
        """
        if server not in (None, self._local.server_name):
            raise errors.NotFound("Only the rooms of your own server are listed here.")
        return await self._database.scan(
            lambda view: [
                _listing(view, room) for room in rooms.published_rooms(view, _DIRECTORY_LIMIT)
            ]
        )


def named_in(content: JsonObject) -> frozenset[str]:
    """The aliases in an `m.room.canonical_alias`.

    Spec: client-server-api#mroomcanonical_alias
    """
    alias, others = content.get("alias"), content.get("alt_aliases", [])
    if not isinstance(others, list):
        raise errors.InvalidParam("alt_aliases is a list of aliases.")
    named = [*others, *([alias] if alias not in (None, "") else [])]
    if not all(isinstance(one, str) for one in named):
        raise errors.InvalidParam("An alias is a text.")
    return frozenset(identifiers.parse_room_alias(one) for one in named)


def _canonical_aliases(view: View, room_id: RoomId) -> frozenset[str]:
    current = room_state.load_state(view, drafting.load_room(view, room_id).current_state_id)
    event = state.load_entry(view, current, ("m.room.canonical_alias", ""))
    try:
        return named_in(event.content) if event is not None else frozenset()
    except errors.InvalidParam:
        return frozenset()  # some other server let it pass


def save(
    work: UnitOfWork, local: LocalServer, alias: RoomAlias, room_id: RoomId, creator: UserId
) -> None:
    """Keep a new alias; raises `AliasInUse` where it is taken."""
    if not local.owns(identifiers.parse_room_alias(alias)):
        raise errors.InvalidParam("That alias belongs to another server.")
    if rooms.find_alias(work, alias) is not None:
        raise errors.AliasInUse
    drafting.load_room(work, room_id)
    rooms.save_alias(work, Alias(alias, room_id, creator))


def _listing(view: View, room: Room) -> JsonObject:
    current = room_state.load_state(view, room.current_state_id)
    keys = {event_type: (event_type, "") for event_type, _ in _SHOWN.values()}
    readable = ("m.room.history_visibility", "history_visibility", "world_readable")
    open_to_guests = ("m.room.guest_access", "guest_access", "can_join")
    found = state.load_entries(
        view, current, [*keys.values(), (readable[0], ""), (open_to_guests[0], "")]
    )
    listing: JsonObject = {
        "room_id": room.room_id,
        "num_joined_members": len(rooms.joined_users(view, room.room_id)),
    }
    for name, (event_type, key) in _SHOWN.items():
        event = found.get((event_type, ""))
        value = event.content.get(key) if event is not None else None
        if isinstance(value, str):
            listing[name] = value
    for name, (event_type, key, yes) in {
        "world_readable": readable,
        "guest_can_join": open_to_guests,
    }.items():
        event = found.get((event_type, ""))
        listing[name] = event is not None and event.content.get(key) == yes
    return listing
