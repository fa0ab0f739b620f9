"""Replace a room by one of another version: its state, aliases and place in the directory follow.

Spec: client-server-api#room-upgrades
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from homeserver import errors
from homeserver.matrix import identifiers, power_levels
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.events import Event, StateMap
from homeserver.matrix.identifiers import RoomId, UserId
from homeserver.matrix.power_levels import PowerLevels
from homeserver.matrix.room_versions import room_version
from homeserver.ports import Requester
from homeserver.rooms import aliases, drafting, seeing, state, succeeding
from homeserver.rooms.creating import Creation, RoomCreator
from homeserver.rooms.drafting import Intent
from homeserver.storage import aliases as stored_aliases
from homeserver.storage import events, room_state, rooms
from homeserver.storage.database import Database
from homeserver.storage.rooms import Room
from homeserver.storage.unit_of_work import UnitOfWork, View

_TOMBSTONE = "m.room.tombstone"
_SAYS = "This room has been replaced."
_TRANSFERRED = (
    "m.room.server_acl",
    "m.room.encryption",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
    "m.room.guest_access",
    "m.room.history_visibility",
    "m.room.join_rules",
    "m.room.retention",
)
_MOST_CREATORS = 50
_MOST_BANS = 1_000
_MOST_CHILDREN = 1_000
_FULL_POWER = 100
# In rooms with creators above all, only they replace them; as in every room made here.
_CREATORS_ALONE = 150
_MODERATOR = 50


class RoomUpgrades:
    """Replaces rooms for the owner."""

    def __init__(self, database: Database, creator: RoomCreator) -> None:
        self._database = database
        self._creator = creator

    async def upgrade(
        self, requester: Requester, room_id: RoomId, version_id: str, creators: Sequence[UserId]
    ) -> RoomId:
        """Replace a room, wholly or not at all; returns the new one.

        Spec: client-server-api#post_matrixclientv3roomsroomidupgrade
        """
        version = room_version(version_id)
        if len(creators) > _MOST_CREATORS:
            raise errors.InvalidParam(f"A room has {_MOST_CREATORS} further creators at most.")
        for user_id in creators:
            identifiers.parse_user_id(user_id)
        creation = self._creator.begin(requester.user_id, version)

        def replace(work: UnitOfWork) -> RoomId:
            return _Replacement.of(work, creation, room_id).run(work, creators)

        return await self._database.write(replace)


@dataclass(frozen=True, slots=True)
class _Replacement:
    """One room taking another one's place, in one unit of work."""

    creation: Creation
    room: Room
    current: StateMap
    create: Event
    levels: PowerLevels

    @classmethod
    def of(cls, view: View, creation: Creation, room_id: RoomId) -> "_Replacement":
        """Look at the room to be replaced; raises where its user may not replace it."""
        if seeing.load_readable(view, room_id, creation.creator).membership != "join":
            raise errors.NotInRoom
        room = drafting.load_room(view, room_id)
        current = room_state.load_state(view, room.current_state_id)
        create = state.load_entry(view, current, state.CREATE)
        levels = state.power_levels(view, current)
        if create is None or not levels.may_send(creation.creator, _TOMBSTONE, is_state=True):
            raise errors.NotAllowed("You may not replace this room.")
        return cls(creation, room, current, create, levels)

    def run(self, work: UnitOfWork, creators: Sequence[UserId]) -> RoomId:
        """Make the new room, move what moves, close the other one."""
        predecessor: JsonObject = {"room_id": self.room.room_id}
        closed = self.room
        if self.creation.room_id is not None:
            # Clients lead back to the tombstone, which can name a room that is still to come.
            closed = self._close(work, closed, self.creation.room_id)
            predecessor["event_id"] = closed.extremities[0]
        made = self.creation.make(work, self._creation_content(predecessor, creators))
        intents = [self.creation.own_join(work), *self._transferred(work, creators)]
        made = self.creation.say_all(work, made, intents)
        if self.creation.room_id is None:
            closed = self._close(work, closed, made.room_id)
        self._move_names(work, closed, made)
        self._quieten(work)
        succeeding.carry_over(work, self.creation.creator, self.room.room_id, made.room_id)
        return made.room_id

    def _close(self, work: UnitOfWork, room: Room, replacement: RoomId) -> Room:
        content: JsonObject = {"body": _SAYS, "replacement_room": replacement}
        tombstone = Intent(self.creation.creator, _TOMBSTONE, content, "")
        return self.creation.say_all(work, room, [tombstone])

    def _creation_content(self, predecessor: JsonObject, creators: Sequence[UserId]) -> JsonObject:
        kept = ("type", "m.federate")
        content = {key: self.create.content[key] for key in kept if key in self.create.content}
        if self.creation.version.creators_are_above_all and creators:
            others = [one for one in dict.fromkeys(creators) if one != self.creation.creator]
            content["additional_creators"] = others
        return content | {"predecessor": predecessor}

    def _transferred(self, work: UnitOfWork, creators: Sequence[UserId]) -> Iterator[Intent]:
        """The state that is copied; the power levels last, for they may bind the creator too."""
        creator = self.creation.creator
        found = state.load_entries(work, self.current, [(kind, "") for kind in _TRANSFERRED])
        for (kind, _), event in found.items():
            if event.content:
                yield Intent(creator, kind, event.content, "")
        if self.create.content.get("type") == "m.space":
            for event in self._loaded(work, "m.space.child", _MOST_CHILDREN):
                if event.content:
                    yield Intent(creator, event.type, event.content, event.state_key)
        for event in self._loaded(work, "m.room.member", None):
            if event.content.get("membership") == "ban":
                yield drafting.membership(creator, UserId(event.key[1]), "ban", _reason(event))
        yield Intent(creator, "m.room.power_levels", self._power_levels(creators), "")

    def _loaded(self, work: UnitOfWork, kind: str, limit: int | None) -> list[Event]:
        ids = [self.current[key] for key in sorted(self.current) if key[0] == kind][:limit]
        return list(events.load_bodies(work, ids).values())

    def _power_levels(self, creators: Sequence[UserId]) -> JsonObject:
        """The room's own, made to fit the other version's rules about creators."""
        content = dict(self.levels.content)
        users: dict[str, int] = dict(content.get("users") or {})
        kinds: dict[str, int] = dict(content.get("events") or {})
        were_above = self.create.version.creators_are_above_all
        if self.creation.version.creators_are_above_all:
            users = {
                one: users[one] for one in users if one not in (self.creation.creator, *creators)
            }
            if not were_above:
                kinds[_TOMBSTONE] = max(_CREATORS_ALONE, kinds.get(_TOMBSTONE, 0))
        elif were_above:
            most = max([_FULL_POWER, *_numbers(content), *_numbers(users)])
            users |= dict.fromkeys(sorted(power_levels.creators_of(self.create)), most)
            if kinds.get(_TOMBSTONE) == _CREATORS_ALONE:
                kinds[_TOMBSTONE] = _FULL_POWER
        elif not self.levels.content:
            users = {self.creation.creator: _FULL_POWER}
        return content | {"users": users, "events": kinds}

    def _move_names(self, work: UnitOfWork, closed: Room, made: Room) -> None:
        """Aliases of this server lead to the new room; so does the directory."""
        moved = stored_aliases.move_aliases(work, self.room.room_id, made.room_id)
        if self.room.is_published:
            rooms.publish(work, made.room_id, is_published=True)
            rooms.publish(work, self.room.room_id, is_published=False)
        entry = state.load_entry(work, self.current, aliases.CANONICAL)
        if entry is None or not moved:
            return
        kept, left = aliases.parted(entry.content, frozenset(moved))
        if kept:
            intent = Intent(self.creation.creator, aliases.CANONICAL[0], kept, "")
            self._say_if_allowed(work, made, intent)
            intent = Intent(self.creation.creator, aliases.CANONICAL[0], left, "")
            self._say_if_allowed(work, closed, intent)

    def _quieten(self, work: UnitOfWork) -> None:
        """Let nobody but moderators speak in the room that is closed, where that is allowed."""
        content = dict(self.levels.content)
        default = content.get("users_default", 0)
        least = max(_MODERATOR, default + 1 if type(default) is int else 0)
        for name in ("events_default", "invite"):
            now = content.get(name, 0)
            content[name] = max(least, now if type(now) is int else 0)
        if content != self.levels.content:
            room = drafting.load_room(work, self.room.room_id)
            intent = Intent(self.creation.creator, "m.room.power_levels", content, "")
            self._say_if_allowed(work, room, intent)

    def _say_if_allowed(self, work: UnitOfWork, room: Room, intent: Intent) -> None:
        levels = state.power_levels(work, room_state.load_state(work, room.current_state_id))
        if levels.may_send(intent.sender, intent.type, is_state=True):
            try:
                self.creation.say_all(work, room, [intent])
            except errors.NotAllowed:
                return  # somebody's level is above ours: the room stays as it is


def _reason(event: Event) -> JsonObject:
    reason = event.content.get("reason")
    return {"reason": reason} if isinstance(reason, str) else {}


def _numbers(levels: JsonObject) -> list[int]:
    return [level for level in levels.values() if type(level) is int]
