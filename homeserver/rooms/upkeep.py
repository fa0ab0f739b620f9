"""Keep rooms from growing for ever: old messages expire, forgotten rooms are purged from disk.

One worker, a small step at a time. See `m.room.retention` and the section `retention` of the
settings.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import asdict
from functools import partial

from homeserver import errors, metrics
from homeserver.config.retention_settings import RetentionSettings
from homeserver.matrix import identifiers
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import RoomId, UserId
from homeserver.ports import Clock
from homeserver.rooms import attachments, state, veils
from homeserver.storage import media, room_media, room_state, rooms, upkeep, wake_ups
from homeserver.storage.database import Database
from homeserver.storage.media import StoredFile
from homeserver.storage.unit_of_work import UnitOfWork, View

_log = logging.getLogger(__name__)

_RETENTION = ("m.room.retention", "")
_ROWS_A_STEP = 200
_FILES_A_STEP = 50
_EVERY_S = 3_600.0
# Whoever starts a server has better things for it to do at first.
_AFTER_START_S = 300.0
_DAY_MS = 86_400_000
# Whatever a room says, its messages stay for so long.
_SHORTEST_TOLD_MS = _DAY_MS

# Removes a file from disk, by the ID it has there.
DiscardFile = Callable[[str], None]


class Upkeep:
    """One worker for all rooms."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        owner: UserId,
        retention: RetentionSettings,
        discard_file: DiscardFile,
    ) -> None:
        self._database = database
        self._clock = clock
        self._owner = owner
        self._retention = retention
        self._discard_file = discard_file
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin soon with what became due while the server did not run."""
        self._database.wake_ups.listen(wake_ups.FORGOTTEN, self._woken.set)
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Stop; the next start goes on."""
        self._database.wake_ups.ignore(wake_ups.FORGOTTEN, self._woken.set)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def tidy(self) -> None:
        """Purge what was forgotten, let expire what is too old."""
        await self._discard_leftovers()
        for room_id in self._database.read(lambda view: upkeep.rooms_to_purge(view, self._owner)):
            if not self._database.read(partial(upkeep.is_waited_for, room_id=room_id)):
                await self._purge(room_id)
        for room_id, age_ms in await self._database.scan(self._lifetimes):
            await self._expire(room_id, age_ms)

    async def _discard_leftovers(self) -> None:
        """Remove the files whose rows went before a crash; most have gone, which does no harm."""
        while left := self._database.read(lambda view: media.load_discarded(view, _FILES_A_STEP)):
            for file_id in left:
                self._discard_file(file_id)
            await self._database.write(partial(media.delete_discarded, file_ids=left))

    async def sizes(self) -> list[JsonObject]:
        """What each room takes on disk, the largest first."""
        measured = await self._database.scan(upkeep.sizes)
        return [
            asdict(one) | {"total_bytes": one.total_bytes} | self._about(one.room_id)
            for one in measured
        ]

    async def purge(self, room_id: RoomId) -> None:
        """Forget a room that the owner has left, and remove it from disk at once."""

        def forget(work: UnitOfWork) -> None:
            membership = rooms.find_membership(work, room_id, self._owner)
            if membership is None:
                raise errors.NotFound("There is no such room here.")
            if membership.membership not in ("leave", "ban"):
                raise errors.Conflict("Leave the room before you purge it.")
            rooms.forget_room(work, room_id, self._owner)

        await self._database.write(forget)
        await self._purge(room_id)

    async def _run(self) -> None:
        pause = _AFTER_START_S
        while True:
            await self._pause(pause)
            self._woken.clear()
            try:
                await self.tidy()
            except Exception:  # noqa: BLE001 - logged, and tried again
                metrics.bump("unexpected_errors")
                _log.exception("rooms could not be tidied up")
            pause = _EVERY_S

    async def _pause(self, seconds: float) -> None:
        """So many seconds, or until a room is forgotten."""
        woken = asyncio.ensure_future(self._woken.wait())
        late = asyncio.ensure_future(self._clock.sleep(seconds))
        try:
            await asyncio.wait((woken, late), return_when=asyncio.FIRST_COMPLETED)
        finally:
            woken.cancel()
            late.cancel()

    async def _purge(self, room_id: RoomId) -> None:
        """Step by step; somebody who comes back meanwhile ends it."""
        after: str | None = ""
        while after is not None:
            after = await self._purge_files(room_id, after)
        is_left = True
        while is_left:
            is_left = await self._database.write(lambda work: self._purge_some(work, room_id))
        await self._database.write(lambda work: work.give_back_space())
        metrics.bump("rooms_purged")

    async def _purge_files(self, room_id: RoomId, after: str) -> str | None:
        """Delete some files beyond a file ID; returns up to which, None where no more are left."""

        def find(view: View) -> tuple[list[StoredFile], str | None]:
            if not self._is_forgotten(view, room_id):
                return [], None
            own = identifiers.server_of(self._owner)
            found = room_media.files_of_room_alone(view, room_id, own, after, _FILES_A_STEP)
            kept = attachments.named_by_owner(view, self._owner, found) if found else set()
            last = found[-1].file_id if found else None
            return [one for one in found if one.file_id not in kept], last

        files, last = self._database.read(find)
        # Before the rows: a crash between the two leaves a row without a file, and another try.
        for file in files:
            self._discard_file(file.file_id)

        def forget(work: UnitOfWork) -> None:
            for file in files:
                room_media.delete_file(work, file)

        if files:
            await self._database.write(forget)
        return last

    def _purge_some(self, work: UnitOfWork, room_id: RoomId) -> bool:
        return self._is_forgotten(work, room_id) and upkeep.purge_some(
            work, room_id, self._owner, _ROWS_A_STEP
        )

    def _is_forgotten(self, view: View, room_id: RoomId) -> bool:
        membership = rooms.find_membership(view, room_id, self._owner)
        return membership is not None and membership.is_forgotten

    async def _expire(self, room_id: RoomId, age_ms: int) -> None:
        until = self._clock.now_ms() - age_ms
        since: int | None = 0
        while since is not None:
            span = (since, until)
            step = partial(upkeep.expire_some, room_id=room_id, span=span, limit=_ROWS_A_STEP)
            count, since = await self._database.write(step)
            metrics.bump("events_expired", count)

    def _lifetimes(self, view: View) -> list[tuple[RoomId, int]]:
        """The rooms whose messages expire, and after how many milliseconds."""
        days = self._retention.max_message_age_days
        own = days and days * _DAY_MS
        found = []
        for membership in rooms.rooms_of(view, self._owner, frozenset({"join", "leave", "ban"})):
            told = self._told_lifetime(view, membership.room_id)
            limits = [age for age in (own, told) if age]
            if limits:
                found.append((membership.room_id, min(limits)))
        return found

    def _told_lifetime(self, view: View, room_id: RoomId) -> int | None:
        """What a room's policy says, for an owner who wants to obey it.

        Who may set state could erase with it, so it is never short, and the hidden are not obeyed.
        """
        if not self._retention.obeys_rooms:
            return None
        policy = state.load_entry(view, room_state.current_state(view, room_id), _RETENTION)
        if policy is None or veils.is_unheard(view, room_id, policy.sender, veils.NOW):
            return None
        told = policy.content.get("max_lifetime")
        return max(told, _SHORTEST_TOLD_MS) if type(told) is int and told > 0 else None

    def _about(self, room_id: RoomId) -> JsonObject:
        def find(view: View) -> JsonObject:
            membership = rooms.find_membership(view, room_id, self._owner)
            current = room_state.current_state(view, room_id)
            name = state.load_entry(view, current, ("m.room.name", ""))
            told = name.content.get("name") if name is not None else None
            return {
                "membership": None if membership is None else membership.membership,
                "name": told if isinstance(told, str) else None,
                "is_forgotten": membership is not None and membership.is_forgotten,
            }

        return self._database.read(find)
