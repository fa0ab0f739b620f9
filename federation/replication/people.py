"""Answer what peers ask about our people: profile, aliases, device keys.

Spec: server-server-api#querying-for-information, server-server-api#end-to-end-encryption
"""

from federation import heeding
from federation.replication import bodies
from homeserver import errors
from homeserver.accounts import profile
from homeserver.encryption import device_keys
from homeserver.matrix import identifiers
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import ServerName, UserId
from homeserver.ports import Clock
from homeserver.rooms.aliases import RoomAliases
from homeserver.storage import peers
from homeserver.storage.database import Database
from homeserver.storage.unit_of_work import UnitOfWork, View

_NAME = frozenset({"displayname"})


class People:
    """Questions about our users."""

    def __init__(self, database: Database, aliases: RoomAliases, clock: Clock) -> None:
        self._database = database
        self._aliases = aliases
        self._clock = clock

    async def answer_profile(self, peer: ServerName, body: JsonObject) -> JsonObject:
        """As much of a profile as the peer's grant allows.

        Spec: server-server-api#get_matrixfederationv1queryprofile
        """
        asked = bodies.read(bodies.ProfileOf, body)
        user_id = identifiers.parse_user_id(asked.user_id)

        def find(view: View) -> JsonObject:
            found = profile.answer_query(view, user_id, asked.field)
            return _granted(view, peer, found)

        return self._database.read(find)

    async def answer_directory(self, _peer: ServerName, body: JsonObject) -> JsonObject:
        """The room behind an alias of ours.

        Spec: server-server-api#get_matrixfederationv1querydirectory
        """
        asked = bodies.read(bodies.Directory, body)
        alias = identifiers.parse_room_alias(asked.room_alias)
        found = self._database.read(lambda view: self._aliases.resolve_here(view, alias))
        return {"room_id": found.room_id, "servers": list(found.servers)}

    async def answer_keys_query(self, _peer: ServerName, body: JsonObject) -> JsonObject:
        """The devices of our users.

        Spec: server-server-api#post_matrixfederationv1userkeysquery
        """
        asked = bodies.read(bodies.KeysQuery, body)
        users = [UserId(user) for user in asked.device_keys]
        return self._database.read(lambda view: device_keys.answer_query(view, users))

    async def answer_keys_claim(self, peer: ServerName, body: JsonObject) -> JsonObject:
        """One key for each device asked.

        Spec: server-server-api#post_matrixfederationv1userkeysclaim
        """
        asked, now_ms = bodies.read(bodies.KeysClaim, body).one_time_keys, self._clock.now_ms()

        def claim(work: UnitOfWork) -> JsonObject:
            heeding.heeded(work, peer)
            return device_keys.answer_claim(work, asked, peer, now_ms)

        found = await self._database.write(claim)
        return {"one_time_keys": found}


def _granted(view: View, peer: ServerName, found: JsonObject) -> JsonObject:
    known = peers.find_peer(view, peer)
    grant = known.grants.get("profile") if known is not None else None
    if grant == "all":
        return found
    if grant == "name":
        return {name: found[name] for name in found if name in _NAME}
    raise errors.Forbidden
