"""Ask a peer and await the answer, beside the queue; and answer what peers ask.

Asks and answers travel in the channel's frames but are never stored: each has a lifetime, and is
asked again by whoever still wants to know. At most eight of a peer's asks are answered at once.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from federation import payloads, waiting
from federation.filling import FRAME_BYTES
from federation.lines import MOST_WAITING_ASKS, Answer, Ask, Line, Lines
from federation.payloads import OPERATIONS, OneAnswer, OneAsk
from federation.turning import Came
from homeserver import errors, metrics
from homeserver.matrix import canonical_json
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import ServerName
from homeserver.ports import Clock, Entropy
from homeserver.storage import peers
from homeserver.storage.database import Database
from homeserver.storage.unit_of_work import View

logger = logging.getLogger(__name__)

NOT_GRANTED = "not_granted"
_MOST_AT_ONCE = 8
_AWAKE_SECONDS = 90.0
_LONGEST_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: JSON, and bytes beside it for what is no JSON, such as a part of a file."""

    body: JsonObject
    attachment: bytes = b""


# Answers one operation for one peer. Raises any homeserver error to say no.
AnswerOperation = Callable[[ServerName, JsonObject], Awaitable[JsonObject | Reply]]


class Requests:
    """Questions to peers and from peers."""

    def __init__(self, database: Database, lines: Lines, clock: Clock, entropy: Entropy) -> None:
        self._database = database
        self._lines = lines
        self._clock = clock
        self._entropy = entropy
        self._awaited: dict[str, tuple[ServerName, asyncio.Future[Reply]]] = {}
        self._operations: dict[str, AnswerOperation] = {}
        self._answering: dict[ServerName, set[asyncio.Task[None]]] = {}
        self.register("ping", _answer_ping)
        lines.when_closed.append(self._forget)

    def register(self, operation: str, answer: AnswerOperation) -> None:
        """Say who answers an operation. One whose grant is not known does not start."""
        if OPERATIONS.get(operation) not in payloads.GRANTS:
            raise TypeError(f"The operation {operation} does not name the grant it needs.")
        if operation in self._operations:
            raise TypeError(f"Two answer {operation}.")
        self._operations[operation] = answer

    def is_awake(self, peer: ServerName) -> bool:
        """Whether the peer was heard from so recently that asking is likely to be quick."""
        line = self._lines.find(peer)
        if line is None or line.heard_at is None or line.failures:
            return False
        return self._clock.monotonic() - line.heard_at < _AWAKE_SECONDS

    async def ask(
        self, peer: ServerName, operation: str, body: JsonObject, timeout_s: float = 20.0
    ) -> Reply:
        """Ask and await the answer.

        Raises `NotConnected`, `PeerUnreachable` if none comes in time, or `PeerRefused` with the
        peer's own error code in `extra["peer_errcode"]`.
        """
        line = self._lines.find(peer)
        if line is None:
            known = self._database.read(peers.connected_servers)
            raise errors.PeerUnreachable if peer in known else errors.NotConnected
        if len(line.asks) >= MOST_WAITING_ASKS:
            raise errors.PeerUnreachable
        key = self._entropy.token_bytes(12).hex()
        timeout_s = min(timeout_s, _LONGEST_SECONDS)
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._awaited[key] = (peer, future)
        ask = Ask(_ask_content(key, operation, body, timeout_s))
        line.asks.append(ask)
        line.wake.set()
        try:
            return await self._await(future, timeout_s)
        finally:
            self._awaited.pop(key, None)
            if ask in line.asks:
                line.asks.remove(ask)

    def take_beside(self, line: Line, came: Came) -> None:
        """Take a frame of asks or answers from the channel."""
        try:
            if came.kind == "ask":
                for ask in payloads.read(payloads.Asks, came.body).asks:
                    self._start_answering(line, ask)
            elif came.kind == "answer":
                answers = payloads.read(payloads.Answers, came.body).answers
                self._take_answers(line, answers, came.attachment)
        except errors.BadJson:
            metrics.bump("federation_bad_frames")

    async def close(self) -> None:
        """Stop answering."""
        tasks = [task for tasks in self._answering.values() for task in tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _await(self, future: "asyncio.Future[Reply]", timeout_s: float) -> Reply:
        if not await waiting.first_of(future, self._clock, timeout_s):
            raise errors.PeerUnreachable
        return future.result()

    def _take_answers(self, line: Line, answers: list[OneAnswer], attachment: bytes) -> None:
        at = 0
        for answer in answers:
            attached = attachment[at : at + answer.attached]
            at += answer.attached
            peer, future = self._awaited.get(answer.id, (None, None))
            # Only the peer that was asked may answer.
            if future is None or peer != line.peer or future.done():
                continue
            if answer.body is not None:
                future.set_result(Reply(answer.body, attached))
            else:
                is_missing = answer.errcode == errors.PeerHasNone.errcode
                kind = errors.PeerHasNone if is_missing else errors.PeerRefused
                future.set_exception(kind(answer.error, peer_errcode=answer.errcode))

    def _start_answering(self, line: Line, ask: OneAsk) -> None:
        tasks = self._answering.setdefault(line.peer, set())
        if len(tasks) >= _MOST_AT_ONCE:
            self._answer(line, _refusal(ask.id, "M_LIMIT_EXCEEDED", "Too many questions at once."))
            return
        task = asyncio.get_running_loop().create_task(self._answer_one(line, ask))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def _answer_one(self, line: Line, ask: OneAsk) -> None:
        working = asyncio.ensure_future(self._work(line.peer, ask))
        try:
            if await waiting.first_of(working, self._clock, ask.lifetime_ms / 1000):
                self._answer(line, working.result())
        finally:
            working.cancel()

    async def _work(self, peer: ServerName, ask: OneAsk) -> Answer:
        answer = self._operations.get(ask.operation)
        if answer is None:
            return _refusal(ask.id, "M_UNRECOGNIZED", "This server does not know that question.")
        grant = OPERATIONS[ask.operation]
        if not self._database.read(lambda view: _may_ask(view, peer, ask.operation, grant)):
            return _refusal(ask.id, NOT_GRANTED, "That is not granted.")
        try:
            reply = await answer(peer, ask.body)
            return _answer_content(ask.id, reply if isinstance(reply, Reply) else Reply(reply))
        except errors.HomeserverError as error:
            return _refusal(ask.id, error.errcode, str(error))
        except Exception:
            metrics.bump("unexpected_errors")
            logger.exception("unexpected error operation=%s", ask.operation)
            return _refusal(ask.id, "M_UNKNOWN", "Something went wrong on this server.")

    def _answer(self, line: Line, answer: Answer) -> None:
        if not line.is_closed:
            line.answers.append(answer)
            if len(line.answers) > MOST_WAITING_ASKS:
                line.answers.popleft()  # the peer asks, and never takes what it is told
            line.end_poll()
            line.wake.set()

    def _forget(self, line: Line) -> None:
        for task in tuple(self._answering.pop(line.peer, ())):
            task.cancel()
        for peer, future in self._awaited.values():
            if peer == line.peer and not future.done():
                future.set_exception(errors.PeerUnreachable())
                future.exception()  # whoever waited may have given up in this same moment


def _may_ask(view: View, peer: ServerName, operation: str, grant: str) -> bool:
    """A connection made for rooms answers what is about rooms; each room is checked later."""
    known = peers.find_peer(view, peer)
    if known is None or not known.may(grant):
        return False
    return known.room_id is None or operation not in payloads.BEYOND_ROOMS


async def _answer_ping(_peer: ServerName, body: JsonObject) -> JsonObject:
    """Say the same back: both ratchets, both doors and both queues work."""
    return {"echo": body}


def _ask_content(key: str, operation: str, body: JsonObject, timeout_s: float) -> JsonObject:
    if operation not in OPERATIONS:
        raise TypeError(f"The operation {operation} does not name the grant it needs.")
    if len(canonical_json.encode_checked(body)) > FRAME_BYTES:
        raise errors.TooLarge
    return {
        "id": key,
        "operation": operation,
        "lifetime_ms": int(timeout_s * 1000),
        "body": body,
    }


def _answer_content(key: str, reply: Reply) -> Answer:
    if len(canonical_json.encode_checked(reply.body)) + len(reply.attachment) > FRAME_BYTES:
        return _refusal(key, "M_TOO_LARGE", "The answer does not fit.")
    return Answer({"id": key, "body": reply.body}, reply.attachment)


def _refusal(key: str, errcode: str, message: str) -> Answer:
    return Answer({"id": key, "errcode": errcode, "error": message[:1_000]})
