"""Room aliases of this server, and the way from an alias to a room.

Spec: client-server-api#room-aliases
"""

from dataclasses import dataclass

from homeserver import errors
from homeserver.matrix import identifiers
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import RoomAlias, RoomId, ServerName, UserId
from homeserver.ports import Clock, PeerNetwork, Requester
from homeserver.rooms import drafting, seeing, state
from homeserver.rooms.local_server import LocalServer
from homeserver.storage import aliases as stored_aliases
from homeserver.storage import peers, room_state, rooms
from homeserver.storage.aliases import Alias
from homeserver.storage.database import Database
from homeserver.storage.rooms import Room
from homeserver.storage.unit_of_work import UnitOfWork, View

CANONICAL = ("m.room.canonical_alias", "")


@dataclass(frozen=True, slots=True)
class ResolvedAlias:
    """The room behind an alias, and servers that know it."""

    room_id: RoomId
    servers: tuple[ServerName, ...]


class RoomAliases:
    """Gives rooms names and finds rooms by name."""

    def __init__(
        self, database: Database, local: LocalServer, network: PeerNetwork, clock: Clock
    ) -> None:
        self._database = database
        self._local = local
        self._network = network
        self._clock = clock

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
        found = stored_aliases.find_alias(view, alias)
        if found is None:
            raise errors.NotFound("There is no room with that alias.")
        others = rooms.servers_in_room(view, found.room_id, rooms.JOINED)
        servers = (self._local.server_name, *sorted(others - {self._local.server_name}))
        return ResolvedAlias(found.room_id, servers)

    async def create(self, requester: Requester, alias: RoomAlias, room_id: RoomId) -> None:
        """Give a room that the owner is in another name."""

        def create(work: UnitOfWork) -> None:
            seeing.load_readable(work, room_id, requester.user_id)
            if stored_aliases.find_alias(work, alias) is not None:
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

    async def delete(self, requester: Requester, alias: RoomAlias) -> None:
        """Take a name away; every user of this server is its owner.

        The room's canonical alias follows, where its rules let the owner change it.
        """
        now_ms = self._clock.now_ms()

        def delete(work: UnitOfWork) -> None:
            found = stored_aliases.find_alias(work, alias)
            if found is None:
                raise errors.NotFound("There is no room with that alias.")
            stored_aliases.delete_alias(work, alias)
            room = rooms.find_room(work, found.room_id)
            if room is not None:
                _strike(work, self._local, room, (requester.user_id, alias), now_ms)

        await self._database.write(delete)

    def of_room(self, requester: Requester, room_id: RoomId) -> list[RoomAlias]:
        """The names this server gave a room."""

        def find(view: View) -> list[RoomAlias]:
            seeing.load_readable(view, room_id, requester.user_id)
            return stored_aliases.aliases_of(view, room_id)

        return self._database.read(find)


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
    event = state.load_entry(view, current, CANONICAL)
    try:
        return named_in(event.content) if event is not None else frozenset()
    except errors.InvalidParam:
        return frozenset()  # some other server let it pass


def parted(content: JsonObject, moved: frozenset[str]) -> tuple[JsonObject, JsonObject]:
    """An `m.room.canonical_alias` in two: with these aliases only, and with the others."""
    alias, others = content.get("alias"), content.get("alt_aliases")
    listed = others if isinstance(others, list) else []
    taken: JsonObject = {"alias": alias} if alias in moved else {}
    left = {key: content[key] for key in content if key not in (*taken, "alt_aliases")}
    for part, several in (
        (taken, [one for one in listed if one in moved]),
        (left, [one for one in listed if one not in moved]),
    ):
        if several:
            part["alt_aliases"] = several
    return taken, left


def _strike(
    work: UnitOfWork,
    local: LocalServer,
    room: Room,
    who_and_what: tuple[UserId, RoomAlias],
    now_ms: int,
) -> None:
    user_id, alias = who_and_what
    current = room_state.load_state(work, room.current_state_id)
    event = state.load_entry(work, current, CANONICAL)
    if event is None:
        return
    taken, left = parted(event.content, frozenset({alias}))
    member = rooms.find_membership(work, room.room_id, user_id)
    is_joined = member is not None and member.membership == "join"
    levels = state.power_levels(work, current)
    if taken and is_joined and levels.may_send(user_id, CANONICAL[0], is_state=True):
        drafting.say(work, local, room, drafting.Intent(user_id, CANONICAL[0], left, ""), now_ms)


def save(
    work: UnitOfWork, local: LocalServer, alias: RoomAlias, room_id: RoomId, creator: UserId
) -> None:
    """Keep a new alias; raises `AliasInUse` where it is taken."""
    if not local.owns(identifiers.parse_room_alias(alias)):
        raise errors.InvalidParam("That alias belongs to another server.")
    if stored_aliases.find_alias(work, alias) is not None:
        raise errors.AliasInUse
    drafting.load_room(work, room_id)
    stored_aliases.save_alias(work, Alias(alias, room_id, creator))
