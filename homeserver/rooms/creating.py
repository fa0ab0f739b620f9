"""Create rooms from presets.

Spec: client-server-api#creation
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from homeserver import errors
from homeserver.matrix import identifiers, server_acl, signing
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.events import Draft
from homeserver.matrix.identifiers import RoomAlias, RoomId, UserId
from homeserver.matrix.room_versions import DEFAULT, RoomVersion, room_version
from homeserver.ports import Clock, Entropy, Requester
from homeserver.rooms import aliases, appending, drafting, inviting
from homeserver.rooms import state as room_states
from homeserver.rooms.drafting import Intent
from homeserver.rooms.local_server import LocalServer
from homeserver.storage import rooms
from homeserver.storage.database import Database
from homeserver.storage.rooms import Room
from homeserver.storage.unit_of_work import UnitOfWork

_MOST_INVITED = 50
_ROOM_ID_BYTES = 18


@dataclass(frozen=True, slots=True)
class Preset:
    """What a preset stands for."""

    join_rule: str
    history_visibility: str
    guest_access: str
    trusts_invited: bool = False


PRESETS = {
    "private_chat": Preset("invite", "shared", "can_join"),
    "trusted_private_chat": Preset("invite", "shared", "can_join", trusts_invited=True),
    "public_chat": Preset("public", "shared", "forbidden"),
}


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants a room to be like; see `createRoom` in the specification."""

    preset: str = "private_chat"
    version_id: str = DEFAULT
    creation_content: JsonObject = field(default_factory=dict)
    initial_state: Sequence[tuple[str, str, JsonObject]] = ()
    power_level_override: JsonObject = field(default_factory=dict)
    invite: Sequence[UserId] = ()
    is_direct: bool = False
    alias_localpart: str | None = None
    name: str | None = None
    topic: str | None = None
    is_published: bool = False


class RoomCreator:
    """Makes rooms for the owner."""

    def __init__(
        self, database: Database, local: LocalServer, clock: Clock, entropy: Entropy
    ) -> None:
        self._database = database
        self._local = local
        self._clock = clock
        self._entropy = entropy

    async def create(self, requester: Requester, wish: Wish) -> RoomId:
        """Create a room with everything that was asked for, or nothing at all.

        Spec: client-server-api#post_matrixclientv3createroom
        """
        version = room_version(wish.version_id)
        preset = PRESETS.get(wish.preset)
        if preset is None:
            raise errors.InvalidParam(f"There is no preset {wish.preset}.")
        if len(wish.invite) > _MOST_INVITED:
            raise errors.InvalidParam(f"Invite {_MOST_INVITED} people at most at once.")
        creation = self.begin(requester.user_id, version)
        return await self._database.write(lambda work: creation.run(work, wish, preset))

    def begin(self, creator: UserId, version: RoomVersion) -> "Creation":
        """One room to be made now, with an ID of its own where its version does not give one."""
        opaque_id = signing.url_safe_b64(self._entropy.token_bytes(_ROOM_ID_BYTES))
        return Creation(self._local, creator, version, self._clock.now_ms(), opaque_id)


@dataclass(frozen=True, slots=True)
class Creation:
    """One room being made, in one unit of work."""

    local: LocalServer
    creator: UserId
    version: RoomVersion
    now_ms: int
    opaque_id: str

    def run(self, work: UnitOfWork, wish: Wish, preset: Preset) -> RoomId:
        """Make the room as somebody wished for it, invitations and all."""
        inviting.check_connected(work, self.local, wish.invite)
        room = self._set_up(work, wish, preset)
        if wish.alias_localpart is not None:
            alias = self._alias(wish.alias_localpart)
            aliases.save(work, self.local, alias, room.room_id, self.creator)
        if wish.is_published:
            rooms.publish(work, room.room_id, is_published=True)
        for user_id in wish.invite:
            content = inviting.profile_of(work, user_id)
            if wish.is_direct:
                content["is_direct"] = True
            invitation = drafting.membership(self.creator, user_id, "invite", content)
            room = inviting.change_membership(work, self.local, room, invitation, self.now_ms)[1]
        return room.room_id

    def _set_up(self, work: UnitOfWork, wish: Wish, preset: Preset) -> Room:
        """Give the room its first state, which its own rules must allow."""
        try:
            room = self._begin(work, wish, preset)
            return self.say_all(work, room, self._intents(work, wish, preset))
        except (errors.NotAllowed, errors.BadEvent) as error:
            raise errors.InvalidRoomState(str(error)) from None

    def say_all(self, work: UnitOfWork, room: Room, intents: Iterable[Intent]) -> Room:
        """Append events of the creator's one after the other."""
        for intent in intents:
            room = drafting.say(work, self.local, room, intent, self.now_ms)[1].room
        return room

    def _begin(self, work: UnitOfWork, wish: Wish, preset: Preset) -> Room:
        content = dict(wish.creation_content)
        if self.version.creators_are_above_all and preset.trusts_invited:
            named = content.get("additional_creators", [])
            # What is no list of names is for the rules to refuse.
            if isinstance(named, list) and all(isinstance(one, str) for one in named):
                named = list(dict.fromkeys([*named, *wish.invite]))
            if named:
                content["additional_creators"] = named
        return self.make(work, content)

    @property
    def room_id(self) -> RoomId | None:
        """The room's ID, where it is known before its create event."""
        if self.version.room_id_is_create_event:
            return None
        return RoomId(f"!{self.opaque_id}:{self.local.server_name}")

    def make(self, work: UnitOfWork, content: JsonObject) -> Room:
        """The room with its create event alone; the version and its creator are not for wishing."""
        content = {**content, "room_version": self.version.id}
        if self.version.create_names_creator:
            content["creator"] = self.creator
        draft = Draft(
            room_id=self.room_id,
            sender=self.creator,
            type="m.room.create",
            state_key="",
            content=content,
            prev_events=(),
            auth_events=(),
            depth=1,
            origin_server_ts=self.now_ms,
        )
        create = drafting.build(self.local, draft, self.version.id)
        while self.version.room_id_is_create_event and rooms.find_room(work, create.room_id):
            # The same wish in the same millisecond would be the same event, and the same room.
            draft = replace(draft, origin_server_ts=draft.origin_server_ts + 1)
            create = drafting.build(self.local, draft, self.version.id)
        return appending.append(work, create).room

    def _intents(self, work: UnitOfWork, wish: Wish, preset: Preset) -> list[Intent]:
        """Everything after the create event, in the order the specification asks for."""
        first = self.own_join(work)
        given = {(event_type, state_key): c for event_type, state_key, c in wish.initial_state}
        state: dict[tuple[str, str], JsonObject] = {
            ("m.room.power_levels", ""): self._power_levels(wish, preset)
        }
        if wish.alias_localpart is not None:
            alias = self._alias(wish.alias_localpart)
            state["m.room.canonical_alias", ""] = {"alias": alias}
        state["m.room.join_rules", ""] = {"join_rule": preset.join_rule}
        state["m.room.history_visibility", ""] = {"history_visibility": preset.history_visibility}
        state["m.room.guest_access", ""] = {"guest_access": preset.guest_access}
        self._check_given(given, wish)
        state |= given
        if wish.name is not None:
            state["m.room.name", ""] = {"name": wish.name}
        if wish.topic is not None:
            state["m.room.topic", ""] = _topic(wish.topic)
        return [
            first,
            *(
                Intent(self.creator, event_type, content, state_key)
                for (event_type, state_key), content in state.items()
            ),
        ]

    def _check_given(self, given: Mapping[tuple[str, str], JsonObject], wish: Wish) -> None:
        """What no state that is set later could say, the first state does not say either."""
        access = given.get(room_states.SERVER_ACL)
        if access is not None and not server_acl.allows(access, self.local.server_name):
            raise errors.InvalidParam("That would shut your own server out of the room.")
        own = set() if wish.alias_localpart is None else {self._alias(wish.alias_localpart)}
        names = given.get(("m.room.canonical_alias", ""), {})
        for alias in sorted(aliases.named_in(names) - own):
            raise errors.BadAlias(f"{alias} does not lead to this room.")

    def own_join(self, work: UnitOfWork) -> Intent:
        """The creator's own membership, which follows the create event."""
        profile = inviting.profile_of(work, self.creator)
        return drafting.membership(self.creator, self.creator, "join", profile)

    def _power_levels(self, wish: Wish, preset: Preset) -> JsonObject:
        users: dict[str, int] = {}
        if not self.version.creators_are_above_all:
            users[self.creator] = 100
            if preset.trusts_invited:
                users |= dict.fromkeys(wish.invite, 100)
        levels: JsonObject = {
            "users": users,
            "users_default": 0,
            "events": {
                "m.room.name": 50,
                "m.room.power_levels": 100,
                "m.room.history_visibility": 100,
                "m.room.canonical_alias": 50,
                "m.room.avatar": 50,
                # From v12 replacing the room takes more power than any moderator has.
                "m.room.tombstone": 150 if self.version.creators_are_above_all else 100,
                "m.room.server_acl": 100,
                "m.room.encryption": 100,
            },
            "events_default": 0,
            "state_default": 50,
            "ban": 50,
            "kick": 50,
            "redact": 50,
            "invite": 0,
        }
        return levels | wish.power_level_override

    def _alias(self, localpart: str) -> RoomAlias:
        alias = f"#{localpart}:{self.local.server_name}"
        return identifiers.parse_room_alias(alias)


def _topic(text: str) -> JsonObject:
    """The topic with its plain text representation.

    Spec: client-server-api#mroomtopic
    """
    return {"topic": text, "m.topic": {"m.text": [{"body": text}]}}
