"""GET /sync: full and incremental, and the long poll.

Spec: client-server-api#get_matrixclientv3sync
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import orjson

from homeserver import errors
from homeserver.ephemeral import Presences, TypingBoard
from homeserver.matrix.canonical_json import JsonObject
from homeserver.ports import Clock, Requester
from homeserver.storage import accounts, encryption
from homeserver.storage.database import Database
from homeserver.storage.unit_of_work import UnitOfWork, View
from homeserver.sync import answers, changes, filters, tokens
from homeserver.sync.asking import Asked, CountUnread, Wish
from homeserver.sync.filters import EVERYTHING, Filter
from homeserver.sync.moves import MovedMeanwhile
from homeserver.sync.notifier import Notifier, Waiter
from homeserver.sync.tokens import SyncToken

_LONGEST_WAIT_S = 300.0
# Further behind, an answer takes long enough to be read on the thread for long reads.
_FAR_BEHIND = 1_000
_TRIES = 5
_DEVICES_REMEMBERED = 200


@dataclass(frozen=True, slots=True)
class SyncRequest:
    """The parameters of a sync as the client sent them."""

    since: str | None = None
    filter: str | None = None
    full_state: bool = False
    set_presence: str = "online"
    timeout_ms: int = 0
    use_state_after: bool = False


@dataclass(frozen=True, slots=True)
class SyncSources:
    """What syncs look at besides the database."""

    typing: TypingBoard
    presences: Presences
    count_unread: CountUnread


class ClassicSync:
    """Answers syncs as soon as there is something to say."""

    def __init__(
        self, database: Database, notifier: Notifier, sources: SyncSources, clock: Clock
    ) -> None:
        self._database = database
        self._notifier = notifier
        self._sources = sources
        self._clock = clock
        self._told_keys: OrderedDict[Requester, JsonObject] = OrderedDict()

    async def answer(self, requester: Requester, request: SyncRequest) -> bytes:
        """The answer's JSON: at once where there is news, else when there is, or time is up."""
        wish = self._wish(requester, request)
        presences = self._sources.presences
        await presences.arrive(requester, request.set_presence)
        try:
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
        for _ in range(_TRIES):
            asked = Asked(
                requester,
                wish,
                self._database.position,
                self._clock.now_ms(),
                self._sources.typing,
                self._sources.count_unread,
            )
            try:
                answer = await self._read(asked, partial(_look, asked))
            except MovedMeanwhile:
                continue
            return self._with_key_news(requester, answer)
        raise errors.LimitExceeded(500)

    def _with_key_news(self, requester: Requester, answer: "_Answer") -> "_Answer":
        """A device must hear that it runs out of keys, though nothing else is new."""
        told = self._told_keys.get(requester)
        self._told_keys.pop(requester, None)
        self._told_keys[requester] = answer.keys
        if len(self._told_keys) > _DEVICES_REMEMBERED:
            self._told_keys.popitem(last=False)
        is_news = told is not None and told != answer.keys
        return replace(answer, has_news=answer.has_news or is_news)

    async def _read(self, asked: Asked, look: Callable[[View], "_Answer"]) -> "_Answer":
        if asked.is_initial or asked.until - asked.after > _FAR_BEHIND:
            return await self._database.scan(look)
        return self._database.read(look)

    async def _forget_received(self, requester: Requester, wish: Wish) -> None:
        """Whoever asks for what comes after a token has what came before it."""
        if wish.since is None:
            return
        user_id, device_id = requester.user_id, requester.device_id
        received = wish.since.to_device_position
        if not self._database.read(
            lambda view: encryption.to_device_since(view, user_id, device_id, 0, received, 1)
        ):
            return

        def forget(work: UnitOfWork) -> None:
            encryption.delete_to_device_up_to(work, user_id, device_id, received)

        await self._database.write(forget)

    def _wish(self, requester: Requester, request: SyncRequest) -> Wish:
        return Wish(
            tokens.parse(request.since) if request.since else None,
            self._filter(requester, request.filter),
            request.full_state,
            request.use_state_after,
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
    has_news: bool

    def to_bytes(self, since: str | None) -> bytes:
        """With a token that differs from the client's wherever something is said."""
        token = tokens.differing(self.token, since) if self.has_news else str(self.token)
        return orjson.dumps({"next_batch": token, **self.body, **self.keys})


def _look(asked: Asked, view: View) -> _Answer:
    found = changes.collect(view, asked)
    body = answers.write(view, asked, found)
    has_news = bool(body) or asked.is_initial
    to_device = found.to_device[-1].position if found.has_more_to_device else None
    token = SyncToken(asked.until, asked.typing.serial, asked.typing.run, to_device)
    return _Answer(body, answers.device_keys(view, asked), token, has_news)
