"""GET /sync: full and incremental, and the long poll.

Spec: client-server-api#get_matrixclientv3sync
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import orjson

from homeserver import errors
from homeserver.matrix.canonical_json import JsonObject
from homeserver.ports import Clock, Requester
from homeserver.rooms import hiding
from homeserver.storage import accounts, encryption
from homeserver.storage.database import Database
from homeserver.storage.encryption import Page
from homeserver.storage.unit_of_work import UnitOfWork, View
from homeserver.sync import answers, changes, filters, tokens
from homeserver.sync.asking import Asked, SyncSources, Wish
from homeserver.sync.devices import SyncingDevices
from homeserver.sync.filters import EVERYTHING, Filter
from homeserver.sync.moves import MovedMeanwhile
from homeserver.sync.notifier import Notifier, Waiter
from homeserver.sync.tokens import SyncToken
from homeserver.sync.told_members import ToldMembers

__all__ = ["ClassicSync", "SyncRequest", "SyncSources"]

_LONGEST_WAIT_S = 300.0
# Further behind, an answer takes long enough to be read on the thread for long reads.
_FAR_BEHIND = 1_000
_TRIES = 5


@dataclass(frozen=True, slots=True)
class SyncRequest:
    """The parameters of a sync as the client sent them."""

    since: str | None = None
    filter: str | None = None
    full_state: bool = False
    set_presence: str = "online"
    timeout_ms: int = 0
    use_state_after: bool = False
    state_after_name: str = "state_after"


class ClassicSync:
    """Answers syncs as soon as there is something to say."""

    def __init__(
        self, database: Database, notifier: Notifier, sources: SyncSources, clock: Clock
    ) -> None:
        self._database = database
        self._notifier = notifier
        self._sources = sources
        self._clock = clock
        self._devices = SyncingDevices()

    async def answer(self, requester: Requester, request: SyncRequest) -> bytes:
        """The answer's JSON: at once where there is news, else when there is, or time is up."""
        wish = self._wish(requester, request)
        presences = self._sources.presences
        await presences.arrive(requester, request.set_presence)
        try:
            await self._devices.note_seen(requester, self._database, self._clock.now_ms())
            await self._forget_received(requester, wish)
            with self._notifier.waiting() as waiter:
                return await self._answer(requester, wish, request, waiter)
        finally:
            presences.depart(requester)

    async def _answer(
        self, requester: Requester, wish: Wish, request: SyncRequest, waiter: Waiter
    ) -> bytes:
        is_patient = wish.since is not None and not wish.is_full_state
        wait_s = min(max(request.timeout_ms, 0) / 1000, _LONGEST_WAIT_S) if is_patient else 0.0
        deadline = self._clock.monotonic() + wait_s
        while True:
            answer = await self._look(requester, wish)
            rest = deadline - self._clock.monotonic()
            if answer.has_news or rest <= 0 or waiter.is_superseded:
                return answer.to_bytes(request.since)
            await waiter.wait(rest)

    async def _look(self, requester: Requester, wish: Wish) -> "_Answer":
        """Read up to the newest position, again where the owner moved meanwhile."""
        device = self._devices.of(requester)
        if wish.since is None:
            device.told_members = ToldMembers()
        for _ in range(_TRIES):
            asked = Asked(
                requester,
                wish,
                self._database.position,
                self._sources.typing.serial,
                self._clock.now_ms(),
                self._sources,
                device.told_members,
            )
            try:
                answer = await self._read(asked, partial(_look, asked))
            except MovedMeanwhile:
                continue
            is_news = device.tell_keys(answer.keys)
            since = wish.since.to_device_position if wish.since is not None else 0
            device.saw_inbox(since, asked.until, answer.messages)
            return replace(answer, has_news=answer.has_news or is_news)
        raise errors.LimitExceeded(500)

    async def _read(self, asked: Asked, look: Callable[[View], "_Answer"]) -> "_Answer":
        if asked.is_initial or asked.until - asked.after > _FAR_BEHIND:
            return await self._database.scan(look)
        return self._database.read(look)

    async def _forget_received(self, requester: Requester, wish: Wish) -> None:
        """Whoever asks for what comes after a token has what came before it."""
        if wish.since is None:
            return
        position = wish.since.position
        await hiding.note_synced(self._database, requester, lambda _room_id: position)
        user_id, device_id = requester.user_id, requester.device_id
        received = wish.since.to_device_position
        device = self._devices.of(requester)
        if received <= device.empty_up_to:
            return

        def forget(work: UnitOfWork) -> None:
            encryption.delete_to_device_up_to(work, user_id, device_id, received)

        if self._database.read(
            lambda view: encryption.to_device_since(view, user_id, device_id, 0, received, 1)
        ):
            await self._database.write(forget)
        device.empty_up_to = max(device.empty_up_to, received)

    def _wish(self, requester: Requester, request: SyncRequest) -> Wish:
        newest = self._database.position
        since = tokens.parse_given(request.since, newest) if request.since else None
        return Wish(
            since,
            self._filter(requester, request.filter),
            request.full_state or (since is not None and since.owes_state),
            request.use_state_after,
            request.state_after_name,
        )

    def _filter(self, requester: Requester, wanted: str | None) -> Filter:
        """The filter itself where it begins with a brace, else a saved one's ID."""
        if not wanted:
            return EVERYTHING
        if wanted.startswith("{"):
            return filters.parse(wanted)
        saved = self._database.read(
            lambda view: accounts.find_filter(view, requester.user_id, wanted)
        )
        if saved is None:
            raise errors.InvalidParam("There is no such filter.")
        return filters.parse(saved)


@dataclass(frozen=True, slots=True)
class _Answer:
    body: JsonObject
    keys: JsonObject
    token: SyncToken
    messages: int
    has_news: bool

    def to_bytes(self, since: str | None) -> bytes:
        """With a token that differs from the client's wherever something is said."""
        token = tokens.differing(self.token, since) if self.has_news else str(self.token)
        return orjson.dumps({"next_batch": token, **self.body, **self.keys})


def _look(asked: Asked, view: View) -> _Answer:
    found = changes.collect(view, asked)
    body = answers.write(view, asked, found)
    has_news = bool(body) or asked.is_initial
    keys = answers.device_keys(view, asked.requester, asked.now_ms)
    messages = found.to_device.messages
    return _Answer(body, keys, _reached(asked, found.to_device), len(messages), has_news)


def _reached(asked: Asked, messages: Page) -> SyncToken:
    """What the device knows after the answer: of the rooms nothing, if only messages came."""
    if not messages.has_more:
        return SyncToken(asked.until, asked.typing_until, asked.typing.run)
    known = asked.wish.since or SyncToken(0, 0, asked.typing.run)
    last = messages.messages[-1].position
    return replace(known, to_device=last, owes_state=asked.wish.is_full_state)
