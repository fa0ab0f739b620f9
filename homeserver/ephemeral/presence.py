"""Presence: whether somebody is there.

Ours follows what the owner's clients say and do: it ends a while after the last of them is gone.

Spec: client-server-api#presence, server-server-api#presence
"""

import asyncio
from collections.abc import Iterator
from itertools import islice
from typing import Any

from homeserver import errors
from homeserver.ephemeral import audience
from homeserver.matrix import identifiers
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import DeviceId, ServerName, UserId
from homeserver.ports import Clock, Requester
from homeserver.rooms import veils
from homeserver.storage import ephemeral, frames, rooms
from homeserver.storage.database import Database
from homeserver.storage.ephemeral import Presence
from homeserver.storage.unit_of_work import UnitOfWork, View

STATES = ("online", "unavailable", "offline")  # the liveliest device speaks for its user
_GONE_AFTER_S = 60.0
_STATUS_LIMIT = 1_000
_TAKEN_IN_AT_ONCE = 100
_LONGEST_AGO_MS = 10 * 365 * 24 * 3600 * 1000


class Presences:
    """The owner's own presence, and what peers say of theirs."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._devices: dict[tuple[UserId, DeviceId], str] = {}
        self._leaving: dict[tuple[UserId, DeviceId], asyncio.Task[None]] = {}
        self._is_closed = False

    async def set_presence(
        self, requester: Requester, user_id: str, state: str, status_msg: str | None
    ) -> None:
        """Say whether the user is there, with a few words about it.

        Spec: client-server-api#put_matrixclientv3presenceuseridstatus
        """
        if user_id != requester.user_id:
            raise errors.Forbidden("You may speak for yourself only.")
        if state not in STATES:
            raise errors.InvalidParam("There is no such presence.")
        self._devices[requester.user_id, requester.device_id] = state
        status = None if status_msg is None else status_msg[:_STATUS_LIMIT]
        await self._save(requester.user_id, state, status, keeps_status=False)

    def find(self, requester: Requester, user_id: UserId) -> JsonObject:
        """Whether somebody we share a room with is there.

        Spec: client-server-api#get_matrixclientv3presenceuseridstatus
        """

        def read(view: View) -> Presence | None:
            is_known = user_id == requester.user_id or veils.is_near(
                view, requester.user_id, user_id
            )
            return ephemeral.find_presence(view, user_id) if is_known else None

        found = self._database.read(read)
        if found is None:
            raise errors.NotFound
        return content_of(found, self._clock.now_ms())

    async def arrive(self, requester: Requester, state: str) -> None:
        """A device asks for news, and says how to show its user meanwhile."""
        key = (requester.user_id, requester.device_id)
        leaving = self._leaving.pop(key, None)
        if leaving is not None:
            leaving.cancel()
        if self._devices.get(key) != state:
            self._devices[key] = state
            await self._follow_devices(requester.user_id)

    def depart(self, requester: Requester) -> None:
        """A device has its news. Unless it comes back soon, it is gone."""
        key = (requester.user_id, requester.device_id)
        before = self._leaving.pop(key, None)
        if before is not None:
            before.cancel()
        if self._devices.get(key) != "offline" and not self._is_closed:
            self._leaving[key] = asyncio.create_task(self._leave(key))

    def close(self) -> None:
        """Stop watching the time."""
        self._is_closed = True
        for leaving in self._leaving.values():
            leaving.cancel()
        self._leaving.clear()

    async def _leave(self, key: tuple[UserId, DeviceId]) -> None:
        await self._clock.sleep(_GONE_AFTER_S)
        self._leaving.pop(key, None)
        self._devices.pop(key, None)
        await self._follow_devices(key[0])

    async def _follow_devices(self, user_id: UserId) -> None:
        states = {state for (user, _), state in self._devices.items() if user == user_id}
        state = next((one for one in STATES if one in states), "offline")
        found = self._database.read(lambda view: ephemeral.find_presence(view, user_id))
        if (found.state if found is not None else "offline") != state:
            await self._save(user_id, state, None, keeps_status=True)

    async def _save(
        self, user_id: UserId, state: str, status: str | None, *, keeps_status: bool
    ) -> None:
        now = self._clock.now_ms()

        def save(work: UnitOfWork) -> None:
            before = ephemeral.find_presence(work, user_id) if keeps_status else None
            kept = before.status_msg if before is not None else status
            presence = Presence(user_id, state, kept, now, state == "online")
            ephemeral.save_presence(work, [presence])
            edu = {
                "edu_type": "m.presence",
                "content": {"push": [{"user_id": user_id} | content_of(presence, now)]},
            }
            for peer in audience.peers_sharing_rooms(work, user_id, "presence"):
                frames.queue_newest(work, peer, f"presence:{user_id}", edu)

        await self._database.write(save)


def content_of(presence: Presence, now: int) -> JsonObject:
    """The content of an `m.presence` event."""
    content: JsonObject = {
        "presence": presence.state,
        "last_active_ago": max(0, now - presence.last_active_at),
        "currently_active": presence.is_currently_active,
    }
    if presence.status_msg is not None:
        content["status_msg"] = presence.status_msg
    return content


def take_in_presence(work: UnitOfWork, peer: ServerName, edu: JsonObject, now: int) -> int:
    """Keep what a peer says of its own users that share a room with us; return how many.

    Spec: server-server-api#presence
    """
    told = [
        presence
        for presence in islice(_told(edu, now), _TAKEN_IN_AT_ONCE)
        if identifiers.server_of(presence.user_id) == peer and _is_near(work, presence.user_id)
    ]
    ephemeral.save_presence(work, {one.user_id: one for one in told}.values())
    return len(told)


def _is_near(work: UnitOfWork, user_id: UserId) -> bool:
    """Whether a peer's user is in a room that we know: all of them are ours too."""
    return bool(rooms.rooms_of(work, user_id, rooms.JOINED))


def _told(edu: JsonObject, now: int) -> Iterator[Presence]:
    content = edu.get("content")
    pushed = content.get("push") if isinstance(content, dict) else None
    for one in pushed if isinstance(pushed, list) else ():
        presence = _read(one, now)
        if presence is not None:
            yield presence


def _read(told: Any, now: int) -> Presence | None:
    if not isinstance(told, dict):
        return None
    user_id, state, status = (told.get(key) for key in ("user_id", "presence", "status_msg"))
    if not isinstance(user_id, str) or not identifiers.is_user_id(user_id) or state not in STATES:
        return None
    ago = told.get("last_active_ago")
    if type(ago) is not int or not 0 <= ago <= _LONGEST_AGO_MS:
        ago = 0
    status = status[:_STATUS_LIMIT] if isinstance(status, str) else None
    return Presence(UserId(user_id), state, status, now - ago, told.get("currently_active") is True)
