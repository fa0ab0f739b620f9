"""Display name, avatar and further profile fields: the owner's own, and those of peers' users.

Spec: client-server-api#profiles
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from homeserver import errors
from homeserver.matrix import canonical_json
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import (
    ServerName,
    UserId,
    is_user_id,
    parse_mxc_uri,
    server_of,
)
from homeserver.ports import Clock, PeerNetwork, Requester
from homeserver.rooms import veils
from homeserver.storage import accounts, peer_profiles, peers, rooms
from homeserver.storage.database import Database
from homeserver.storage.peers import Peer
from homeserver.storage.unit_of_work import UnitOfWork, View

# Tells every joined room what a user is called now, and what they look like.
TellRooms = Callable[[UserId, str | None, str | None], Awaitable[None]]

_FIELD = re.compile(r"avatar_url|displayname|m\.tz|[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")
_FIELD_BYTES_LIMIT = 255
_PROFILE_BYTES_LIMIT = 65_535
_NAME_LIMIT = 256
_IN_ROOMS = ("displayname", "avatar_url")
_PATIENCE_S = 5.0
# What was heard longer ago than this is asked for again, beside the answer.
_FRESH_MS = 5 * 60_000


class Profiles:
    """What people say about themselves."""

    def __init__(
        self,
        database: Database,
        network: PeerNetwork,
        server_name: ServerName,
        tell_rooms: TellRooms,
        clock: Clock,
    ) -> None:
        self._database = database
        self._network = network
        self._server_name = server_name
        self._tell_rooms = tell_rooms
        self._clock = clock
        self._asking: dict[UserId, asyncio.Task[JsonObject | None]] = {}

    async def load(self, user_id: UserId) -> JsonObject:
        """A user's whole profile: ours, or as the peer told it, or as a shared room knows it.

        Spec: client-server-api#get_matrixclientv3profileuserid
        """
        if server_of(user_id) == self._server_name:
            profile = self._database.read(lambda view: accounts.find_profile(view, user_id))
        else:
            profile = await self._told(user_id) or self._database.read(
                lambda view: _profile_in_rooms(view, user_id)
            )
        if profile is None:
            raise errors.NotFound("There is no profile of that user.")
        return profile

    async def load_field(self, user_id: UserId, field: str) -> JsonObject:
        """One field under its name. Raises NotFound.

        Spec: client-server-api#get_matrixclientv3profileuseridkeyname
        """
        profile = await self.load(user_id)
        if field not in profile:
            raise errors.NotFound("There is no such field in that profile.")
        return {field: profile[field]}

    async def set_field(
        self, requester: Requester, user_id: UserId, field: str, body: JsonObject
    ) -> None:
        """Set a field of the owner's profile; an empty name or avatar takes it away.

        Spec: client-server-api#put_matrixclientv3profileuseridkeyname
        """
        _check_field(field)
        if field not in body:
            raise errors.MissingParam(f"{field} is missing.")
        value = body[field]
        _check_value(field, value)
        if field in _IN_ROOMS and not value:
            await self.delete_field(requester, user_id, field)
        else:
            await self._change(requester, user_id, field, {field: value})

    async def delete_field(self, requester: Requester, user_id: UserId, field: str) -> None:
        """Take a field out of the owner's profile.

        Spec: client-server-api#delete_matrixclientv3profileuseridkeyname
        """
        _check_field(field)
        await self._change(requester, user_id, field, {})

    async def _change(
        self, requester: Requester, user_id: UserId, field: str, change: JsonObject
    ) -> None:
        if user_id != requester.user_id:
            raise errors.Forbidden("That is somebody else's profile.")

        def save(work: UnitOfWork) -> tuple[JsonObject, JsonObject]:
            before = accounts.find_profile(work, user_id) or {}
            after = {name: before[name] for name in before if name != field} | change
            accounts.save_profile(work, user_id, _to_json(after))
            return before, after

        before, after = await self._database.write(save)
        if field in _IN_ROOMS and before != after:
            await self._tell_rooms(user_id, after.get("displayname"), after.get("avatar_url"))

    def get_acquainted(self, server: ServerName) -> None:
        """Ask, in the background, who the owner of a connected server is, if that is not known."""

        def find(view: View) -> UserId | None:
            peer = peers.find_peer(view, server)
            # Those whom we know from a room only tell us nothing of it.
            owner = owner_of(peer) if peer is not None and peer.room_id is None else None
            is_known = owner is None or peer_profiles.find_profile(view, owner) is not None
            return None if is_known else owner

        owner = self._database.read(find)
        if owner is not None:
            self._begin_to_ask(owner)

    async def close(self) -> None:
        """Ask no more."""
        asking = list(self._asking.values())
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)

    async def _told(self, user_id: UserId) -> JsonObject | None:
        """What the peer says now, or said before; what is old is renewed for the next time."""
        heard = self._database.read(lambda view: peer_profiles.find_profile(view, user_id))
        is_awake = self._network.is_awake(server_of(user_id))
        if heard is None:
            return await asyncio.shield(self._begin_to_ask(user_id)) if is_awake else None
        if is_awake and self._clock.now_ms() - heard.heard_at > _FRESH_MS:
            self._begin_to_ask(user_id)
        return heard.profile

    def _begin_to_ask(self, user_id: UserId) -> "asyncio.Task[JsonObject | None]":
        """Ask once at a time, however many want to know."""
        task = self._asking.get(user_id)
        if task is None:
            task = self._asking[user_id] = asyncio.create_task(self._ask(user_id))
            task.add_done_callback(lambda _task: self._asking.pop(user_id, None))
        return task

    async def _ask(self, user_id: UserId) -> JsonObject | None:
        server = server_of(user_id)
        try:
            answer = await self._network.ask(
                server, "query/profile", {"user_id": user_id}, _PATIENCE_S
            )
        except errors.PeerRefused:
            await self._database.write(lambda work: peer_profiles.delete_profile(work, user_id))
            return None
        except errors.HomeserverError:
            return None
        profile = {name: value for name, value in answer.items() if _is_acceptable(name, value)}
        await self._keep(user_id, profile)
        return profile

    async def _keep(self, user_id: UserId, profile: JsonObject) -> None:
        """Keep it for while the peer sleeps, as long as the connection lasts."""
        now_ms = self._clock.now_ms()
        raw = canonical_json.encode(profile)

        def keep(work: UnitOfWork) -> None:
            if server_of(user_id) in peers.connected_servers(work):
                peer_profiles.save_profile(work, user_id, raw, now_ms)

        if len(raw) <= _PROFILE_BYTES_LIMIT:
            await self._database.write(keep)


def owner_of(peer: Peer) -> UserId | None:
    """The owner of a connected server, by what they call themselves."""
    user_id = f"@{peer.name}:{peer.server_name}"
    return UserId(user_id) if is_user_id(user_id) else None


def answer_query(view: View, user_id: UserId, field: str | None = None) -> JsonObject:
    """What a peer may know of our user's profile, before its grant takes something away.

    Spec: server-server-api#get_matrixfederationv1queryprofile
    """
    profile = accounts.find_profile(view, user_id)
    if profile is None:
        raise errors.NotFound("There is no such user.")
    return profile if field is None else {name: profile[name] for name in profile if name == field}


def _profile_in_rooms(view: View, user_id: UserId) -> JsonObject | None:
    """What the newest room in which the owner sees the person says, while their server sleeps."""
    joined = [
        membership
        for membership in rooms.rooms_of(view, user_id, rooms.JOINED)
        if not veils.is_hidden(view, membership.room_id, user_id)
    ]
    if not joined:
        return None
    newest = max(joined, key=lambda membership: membership.position)
    fields = {"displayname": newest.display_name, "avatar_url": newest.avatar_url}
    return {name: value for name, value in fields.items() if value is not None}


def _check_field(field: str) -> None:
    if len(field.encode()) > _FIELD_BYTES_LIMIT:
        raise errors.KeyTooLarge
    if not _FIELD.fullmatch(field):
        raise errors.InvalidParam("That is not the name of a profile field.")


def _check_value(field: str, value: Any) -> None:
    if field == "displayname" and not (isinstance(value, str) and len(value) <= _NAME_LIMIT):
        raise errors.InvalidParam(f"A display name is a text of up to {_NAME_LIMIT} characters.")
    if field == "avatar_url":
        if not isinstance(value, str):
            raise errors.InvalidParam("An avatar is an mxc URI.")
        if value:
            parse_mxc_uri(value)
    if field == "m.tz" and not isinstance(value, str):
        raise errors.InvalidParam("A time zone is a text.")


def _is_acceptable(field: str, value: Any) -> bool:
    """Whether a peer's answer may be shown."""
    try:
        _check_field(field)
        _check_value(field, value)
    except errors.HomeserverError:
        return False
    return True


def _to_json(profile: JsonObject) -> bytes:
    try:
        raw = orjson.dumps(profile)
    except TypeError as error:
        raise errors.BadJson from error
    if len(raw) > _PROFILE_BYTES_LIMIT:
        raise errors.ProfileTooLarge
    return raw
