"""The owner invites, joins, knocks, leaves, removes people, and forgets rooms.

Where we are outside a room a peer that is in it is asked; no unit of work is open then.

Spec: client-server-api#room-membership
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from homeserver import errors
from homeserver.matrix import identifiers
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import EventId, RoomId, ServerName, UserId
from homeserver.ports import Clock, Requester
from homeserver.rooms import coming_back, drafting, inviting, outside, succeeding, taking_in, veils
from homeserver.rooms.aliases import RoomAliases
from homeserver.rooms.joining import Asking, Entry, JoinedRoom
from homeserver.rooms.local_server import LocalServer
from homeserver.rooms.state import MissingEvents
from homeserver.storage import peers, room_state, rooms, wake_ups
from homeserver.storage.database import Database
from homeserver.storage.unit_of_work import UnitOfWork, View

_MOST_SERVERS_ASKED = 5
_TRY_THE_NEXT = (
    errors.PeerUnreachable,
    errors.PeerRefused,
    errors.BadEvent,
    errors.BadSignature,
    errors.NotAllowed,
    MissingEvents,
)
_GONE = frozenset({"leave", "ban"})


@dataclass(frozen=True, slots=True)
class _Door:
    """A room to be entered and the servers through which that may be possible."""

    room_id: RoomId
    is_inside: bool
    servers: tuple[ServerName, ...]
    profile: JsonObject
    newest: tuple[EventId, ...]

    def entry(self, user_id: UserId, content: JsonObject) -> Entry:
        """What is asked of whoever may let us in."""
        return Entry(self.room_id, user_id, content, self.newest)


class Membership:
    """Everything about who is in a room."""

    def __init__(
        self,
        database: Database,
        local: LocalServer,
        clock: Clock,
        aliases: RoomAliases,
        asking: Asking,
    ) -> None:
        self._database = database
        self._local = local
        self._clock = clock
        self._aliases = aliases
        self._asking = asking

    def joined_rooms(self, requester: Requester) -> list[RoomId]:
        """The rooms the owner is in."""
        joined = self._database.read(
            lambda view: rooms.rooms_of(view, requester.user_id, rooms.JOINED)
        )
        return [membership.room_id for membership in joined]

    def mutual_rooms(self, requester: Requester, user_id: UserId) -> list[RoomId]:
        """The rooms that the owner and somebody else are both in.

        Spec: client-server-api#get_matrixclientv1mutual_rooms
        """
        identifiers.parse_user_id(user_id)
        if user_id == requester.user_id:
            raise errors.InvalidParam("That is you.")
        mine = set(self.joined_rooms(requester))

        def find(view: View) -> list[RoomId]:
            theirs = [one.room_id for one in rooms.rooms_of(view, user_id, rooms.JOINED)]
            return [one for one in theirs if not veils.is_hidden(view, one, user_id)]

        return sorted(mine.intersection(self._database.read(find)))

    async def invite(
        self, requester: Requester, room_id: RoomId, user_id: UserId, content: JsonObject
    ) -> None:
        """Invite somebody. That their server sleeps does not matter: it waits in the outbox."""
        identifiers.parse_user_id(user_id)
        now_ms = self._clock.now_ms()

        def invite(work: UnitOfWork) -> None:
            shown = inviting.profile_of(work, user_id) | content
            intent = drafting.membership(requester.user_id, user_id, "invite", shown)
            _say(work, self._local, room_id, intent, now_ms)

        await self._database.write(invite)

    async def join(
        self, requester: Requester, target: str, servers: Sequence[str], content: JsonObject
    ) -> RoomId:
        """Enter a room by ID or alias, through a peer if nobody of this server is in it.

        Spec: client-server-api#post_matrixclientv3joinroomidoralias
        """
        door = await self._find(requester.user_id, target, servers)
        shown = door.profile | content
        if door.is_inside:
            await self._enter(requester, door.room_id, shown)
            return door.room_id

        async def enter(peer: ServerName) -> None:
            now_ms = self._clock.now_ms()
            found = await self._asking.join(peer, door.entry(requester.user_id, shown), now_ms)
            await self._database.write(lambda work: _take_in(work, found, requester.user_id))

        await self._through_somebody(door, enter)
        return door.room_id

    async def knock(
        self, requester: Requester, target: str, servers: Sequence[str], content: JsonObject
    ) -> RoomId:
        """Ask to be invited.

        Spec: client-server-api#post_matrixclientv3knockroomidoralias
        """
        door = await self._find(requester.user_id, target, servers)
        shown = door.profile | content
        if door.is_inside:
            await self._change(requester, door.room_id, requester.user_id, "knock", shown)
            return door.room_id

        async def ask(peer: ServerName) -> None:
            now_ms = self._clock.now_ms()
            knock, told = await self._asking.knock(
                peer, door.entry(requester.user_id, shown), now_ms
            )
            await self._database.write(lambda work: outside.save_knock(work, knock, told, peer))

        await self._through_somebody(door, ask)
        return door.room_id

    async def leave(self, requester: Requester, room_id: RoomId, content: JsonObject) -> None:
        """Leave a room or decline an invitation, at once, whoever is asleep."""
        now_ms = self._clock.now_ms()

        def leave(work: UnitOfWork) -> None:
            membership = rooms.find_membership(work, room_id, requester.user_id)
            if membership is None:
                raise errors.NotInRoom
            if membership.membership == "leave":
                return
            if drafting.is_inside(work, room_id, self._local):
                intent = drafting.membership(requester.user_id, requester.user_id, "leave", content)
                _say(work, self._local, room_id, intent, now_ms)
            else:
                outside.leave(work, self._local, membership, content, now_ms)

        await self._database.write(leave)

    async def kick(
        self, requester: Requester, room_id: RoomId, user_id: UserId, content: JsonObject
    ) -> None:
        """Remove somebody, or take an invitation back."""

        def check(work: UnitOfWork) -> None:
            present = rooms.find_membership(work, room_id, user_id)
            if present is None or present.membership in _GONE:
                raise errors.Forbidden("That person is not in the room.")

        await self._change(requester, room_id, user_id, "leave", content, check)

    async def ban(
        self, requester: Requester, room_id: RoomId, user_id: UserId, content: JsonObject
    ) -> None:
        """Remove somebody for good."""
        await self._change(requester, room_id, user_id, "ban", content)

    async def unban(
        self, requester: Requester, room_id: RoomId, user_id: UserId, content: JsonObject
    ) -> None:
        """Let somebody be invited again."""

        def check(work: UnitOfWork) -> None:
            banned = rooms.find_membership(work, room_id, user_id)
            if banned is None or banned.membership != "ban":
                raise errors.Forbidden("That person is not banned.")

        await self._change(requester, room_id, user_id, "leave", content, check)

    async def forget(self, requester: Requester, room_id: RoomId) -> None:
        """Leave a room that the owner left already out of everything.

        Spec: client-server-api#post_matrixclientv3roomsroomidforget
        """

        def forget(work: UnitOfWork) -> None:
            membership = rooms.find_membership(work, room_id, requester.user_id)
            if membership is None:
                raise errors.NotFound("You were never in that room.")
            if membership.membership not in _GONE:
                raise errors.HomeserverError("Leave the room before you forget it.")
            rooms.forget_room(work, room_id, requester.user_id)
            work.wake(wake_ups.FORGOTTEN)

        await self._database.write(forget)

    async def _enter(self, requester: Requester, room_id: RoomId, content: JsonObject) -> None:
        """Join a room that somebody of this server is in."""
        local, owner, now_ms = self._local, requester.user_id, self._clock.now_ms()

        def open_ours(work: UnitOfWork) -> None:
            coming_back.let_in(work, local, room_id, owner, now_ms)

        await self._change(requester, room_id, owner, "join", content, open_ours)

    async def _change(
        self,
        requester: Requester,
        room_id: RoomId,
        user_id: UserId,
        value: str,
        content: JsonObject,
        check: Callable[[UnitOfWork], None] = lambda _work: None,
    ) -> None:
        """Set a membership in a room that we are in; what is so already is not said again."""
        now_ms = self._clock.now_ms()
        identifiers.parse_user_id(user_id)

        def change(work: UnitOfWork) -> None:
            check(work)
            present = rooms.find_membership(work, room_id, user_id)
            if value == "join" and present is not None and present.membership == "join":
                return
            intent = drafting.membership(requester.user_id, user_id, value, content)
            _say(work, self._local, room_id, intent, now_ms)

        await self._database.write(change)

    async def _find(self, user_id: UserId, target: str, servers: Sequence[str]) -> _Door:
        named = [identifiers.parse_server_name(server) for server in servers[:20]]
        room_id = RoomId(target)
        if target.startswith("#"):
            found = await self._aliases.resolve(identifiers.parse_room_alias(target))
            room_id, named = found.room_id, [*named, *found.servers]
        identifiers.parse_room_id(room_id)

        def look(view: View) -> _Door:
            candidates = _candidates(view, room_id, user_id, named)
            connected = peers.connected_servers(view) - {self._local.server_name}
            return _Door(
                room_id,
                drafting.is_inside(view, room_id, self._local),
                tuple(server for server in candidates if server in connected),
                inviting.profile_of(view, user_id),
                room_state.forward_extremities(view, room_id),
            )

        return self._database.read(look)

    async def _through_somebody(
        self, door: _Door, enter: Callable[[ServerName], Awaitable[None]]
    ) -> None:
        """Try one server after the other; the last one's refusal is the answer."""
        refusal: errors.HomeserverError = errors.NotConnected(
            "None of the servers in that room is connected to yours."
            " Connect with somebody who is in it first."
        )
        for peer in door.servers[:_MOST_SERVERS_ASKED]:
            try:
                await enter(peer)
            except _TRY_THE_NEXT as error:
                refusal = error
            else:
                return
        raise refusal


def _say(
    work: UnitOfWork, local: LocalServer, room_id: RoomId, intent: drafting.Intent, now_ms: int
) -> None:
    room = drafting.load_room(work, room_id)
    inviting.change_membership(work, local, room, intent, now_ms)


def _take_in(work: UnitOfWork, found: JoinedRoom, user_id: UserId) -> None:
    room = taking_in.take_in_joined_room(
        work, found.version, found.join, found.state_events, found.auth_chain
    )
    succeeding.follow(work, user_id, room.room_id)


def _candidates(
    view: View, room_id: RoomId, user_id: UserId, named: Sequence[ServerName]
) -> list[ServerName]:
    """Who may let us in: the servers named, the one that invited us, the one that made the room."""
    candidates = list(named)
    membership = rooms.find_membership(view, room_id, user_id)
    inviter = outside.inviting_server(view, membership) if membership is not None else None
    if inviter is not None:
        candidates.insert(0, inviter)
    if ":" in room_id:
        candidates.append(identifiers.server_of(room_id))
    candidates.extend(sorted(rooms.servers_in_room(view, room_id)))
    return list(dict.fromkeys(candidates))
