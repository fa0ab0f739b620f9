"""The encrypted channel to each peer: boxes out, boxes in, everything delivered exactly once.

A box carries positions and at most one frame each way. The frame in flight goes out with every
exchange, as request or as answer, until the peer has acknowledged it.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from federation import envelope as envelopes
from federation import group_frames, repair, turning, waiting
from federation.envelope import NO_RECEIPT, BadEnvelope, Envelope
from federation.filling import Filled, Offer, RoomSource
from federation.lines import INBOX_SOFT, Line
from federation.turn_state import Arrival, ChannelClosed, Party, TurnState
from federation.turning import Came, Turned
from homeserver import crash_points
from homeserver.config import FederationSettings
from homeserver.crash_points import Point
from homeserver.matrix.identifiers import ServerName
from homeserver.storage import channels, frames, notices
from homeserver.storage.database import Database
from homeserver.storage.unit_of_work import UnitOfWork, View

logger = logging.getLogger(__name__)

INBOX_HARD = 128
FRUITLESS_TOLD = 12  # boxes in a row that brought a repair no further


@dataclass(frozen=True, slots=True)
class Progress:
    """What an exchange achieved."""

    has_moved: bool  # something was acknowledged or came, or the line was confirmed


class Channel:
    """Seals what waits for a peer; opens, checks, stores and acknowledges what came from one."""

    def __init__(
        self, database: Database, party: Party, source: RoomSource, settings: FederationSettings
    ) -> None:
        self._database = database
        self._party = party
        self._source = source
        self._settings = settings
        # Set once at wiring: who handles asks and answers, who closes the line after an alarm, and
        # which peers take something now.
        self.take_beside: Callable[[Line, Came], None] = lambda _line, _came: None
        self.when_stopped: Callable[[Line], None] = lambda _line: None
        self.awake: Callable[[], frozenset[ServerName]] = frozenset

    async def compose(self, line: Line, patience_s: int = 0) -> bytes:
        """The box that begins an exchange."""
        turned = await self._turn(line, None)
        line.owes_acknowledgement = False
        return self._box(line, line.theirs.request, turned, patience_s)

    async def take_answer(self, line: Line, box: bytes) -> Progress:
        """Take what the peer answered; raises `BadEnvelope` if the answer is not the peer's."""
        envelope = envelopes.open_box(line.theirs.answer, box)
        was_confirmed, has_complained = line.is_confirmed, line.lacks_group
        turned = await self._turn(line, (envelope, envelopes.nonce_of(box)))
        line.owes_acknowledgement |= turned.has_taken or turned.lacks_group
        has_moved = _has_moved(line, turned) or (turned.lacks_group and not has_complained)
        return Progress(has_moved or line.is_confirmed != was_confirmed)

    async def answer(self, line: Line, envelope: Envelope, nonce: bytes) -> bytes:
        """Take a peer's request and say what waits, which may take as long as it allows."""
        crash_points.reach(Point.BOX_CAME)
        turned = await self._turn(line, (envelope, nonce))
        crash_points.reach(Point.BOX_TAKEN)
        if self._may_hold(line, envelope, turned):
            del turned  # keys are in it, and hundreds of polls wait for a minute
            await self._hold(line, envelope.patience_s)
            # Look again in any case: older positions beside a newer nonce would look like a copy.
            turned = await self._turn(line, None)
        if line.is_closed:
            raise ChannelClosed
        line.owes_acknowledgement = False
        return self._box(line, line.ours.answer, turned, 0)

    def has_waiting(self, line: Line) -> bool:
        """Whether there is a reason to contact the peer."""
        if line.has_to_speak:
            return True
        return self._database.read(lambda view: _has_waiting(view, line))

    def _may_hold(self, line: Line, envelope: Envelope, turned: Turned) -> bool:
        is_poll = envelope.patience_s > 0 and not envelope.olm and not envelope.note
        says_nothing = turned.in_flight is None and not turned.note
        return is_poll and says_nothing and line.is_confirmed and not line.is_closed

    async def _hold(self, line: Line, patience_s: int) -> None:
        """Keep a poll open until something waits. A newer poll ends an older one.

        What an inbox that is full would not take is no reason to answer at once.
        """
        line.end_poll()
        if line.has_to_speak or (not line.is_full_there and self.has_waiting(line)):
            return
        poll: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line.poll = poll
        clock, patience = self._party.clock, min(float(patience_s), self._settings.poll_seconds)
        try:
            await waiting.first_of(poll, clock, _until_all_end(clock.now_ms(), patience))
        finally:
            if line.poll is poll:
                line.poll = None

    async def _turn(self, line: Line, came: tuple[Envelope, bytes] | None) -> Turned:
        if line.is_closed:
            raise ChannelClosed
        arrival = None if came is None else self._arrive(line, *came)
        quick = self._quick(line, arrival)
        if quick is not None:
            return quick
        offer = self._offer(line)
        try:
            turned = await self._database.write(lambda work: self._work(work, line, arrival, offer))
        except BaseException:
            if arrival is not None and arrival.is_first:
                line.is_confirmed = False  # what its positions said was not stored
            raise
        self._apply(line, turned, offer)
        if arrival is not None:
            await self._learn(line, arrival, turned)
        return turned

    def _arrive(self, line: Line, envelope: Envelope, nonce: bytes) -> Arrival:
        known = line.note_received(nonce, envelope.answers)
        is_first = known is not None and not line.is_confirmed
        if is_first:
            line.is_confirmed = True
            line.wake.set()
        line.heard_at = self._party.clock.monotonic()
        line.is_full_there = envelope.is_full
        if not line.is_stuck:
            line.end_pause()
        return Arrival(
            envelope,
            known,
            is_first=is_first,
            is_behind=line.is_behind,
            may_take=line.is_confirmed,
            has_room=line.stored < INBOX_HARD and line.may_take(line.heard_at),
        )

    def _offer(self, line: Line) -> Offer | None:
        if not line.is_confirmed:
            return None
        return Offer(
            tuple(line.asks),
            tuple(line.answers),
            tuple(line.ephemeral.items()),
            line.was_urgent,
            line.is_full_there,
            self.awake(),
        )

    def _quick(self, line: Line, arrival: Arrival | None) -> Turned | None:
        """A turn that changes nothing costs no transaction: polls, bare positions, repeats."""
        if line.has_beside:
            return None
        return self._database.read(lambda view: _look(view, line, arrival))

    def _work(
        self, work: UnitOfWork, line: Line, arrival: Arrival | None, offer: Offer | None
    ) -> Turned:
        state = TurnState(work, self._party, line.peer, line.node_id)
        return turning.turn(state, arrival, offer, self._source)

    def _apply(self, line: Line, turned: Turned, offer: Offer | None) -> None:
        line.spent += turned.weight
        line.rekeys = 0 if turned.has_passed else line.rekeys + turned.has_rekeyed
        line.lacks_group = turned.lacks_group or (line.lacks_group and not turned.has_taken)
        if turned.has_stored:
            line.stored += 1
        if turned.filled is not None and offer is not None:
            _forget_taken(line, turned.filled, offer)
        if turned.came is not None:
            self.take_beside(line, turned.came)

    async def _learn(self, line: Line, arrival: Arrival, turned: Turned) -> None:
        """Remember what a box said about the line itself."""
        if turned.is_stopped:
            self.when_stopped(line)
        is_fresh = arrival.known is not None
        if is_fresh:
            line.is_behind = turned.went_back
        if _has_moved(line, turned) or not repair.is_stuck(turned.channel, turned.in_flight):
            if line.is_stuck:
                line.end_pause()
            line.fruitless = 0
            return
        line.fruitless += is_fresh
        if is_fresh and line.fruitless == FRUITLESS_TOLD:
            now, words = self._party.clock.now_ms(), {"server_name": line.peer}
            await self._database.write(
                lambda work: notices.tell_owner(work, now, "repair_fails", line.node_id, words)
            )

    def _box(self, line: Line, key: bytes, turned: Turned, patience_s: int) -> bytes:
        channel, flying = turned.channel, turned.in_flight
        may_send = flying is not None and line.is_confirmed
        line.has_said_full = is_full = line.stored >= INBOX_SOFT
        nonce = self._party.token()
        line.note_sent(nonce, channel.acknowledged)
        return envelopes.seal(
            key,
            nonce,
            Envelope(
                answers=line.last_received,
                epoch=flying.epoch if flying is not None and may_send else channel.epoch,
                sequence=flying.sequence if flying is not None and may_send else 0,
                acknowledged=channel.received,
                receipt=channel.receipt or NO_RECEIPT,
                settled=channel.acknowledged,
                patience_s=patience_s,
                is_full=is_full,
                is_restored=channel.is_restored,
                lacks_group=line.lacks_group,
                note=turned.note,
                olm_kind=flying.olm_kind if flying is not None and may_send else 0,
                olm=flying.olm if flying is not None and may_send else b"",
                group_messages=group_frames.unpack(
                    flying.group_messages if flying is not None and may_send else b""
                ),
            ),
        )


def _until_all_end(now_ms: int, patience_s: float) -> float:
    """How many seconds to hold a poll: at least half of the patience, and to the end of a half.

    Halves are counted by the clock that all servers share. So the polls of all connections end
    together, and a machine is woken for all of them and not, all the time, for each.
    """
    return patience_s - now_ms / 1_000 % (patience_s / 2)


def _has_moved(line: Line, turned: Turned) -> bool:
    """Whether the next exchange may follow at once."""
    has_rekeyed = turned.has_rekeyed and not line.is_going_round
    return turned.has_passed or turned.has_fallen_back or has_rekeyed


def _forget_taken(line: Line, filled: Filled, offer: Offer) -> None:
    """What stands in the frame in flight waits no more; whoever asked may have given up already."""
    for ask in offer.asks[: filled.asks]:
        if ask in line.asks:
            line.asks.remove(ask)
    for answer in offer.answers[: filled.answers]:
        if answer in line.answers:
            line.answers.remove(answer)
    for key, edu in filled.ephemeral:
        if line.ephemeral.get(key) is edu:
            del line.ephemeral[key]
    line.was_urgent = filled.is_urgent


def _has_waiting(view: View, line: Line) -> bool:
    channel = channels.find_channel(view, line.peer)
    if channel is None:
        return False
    if channels.has_in_flight(view, line.peer) or channel.keys_note or channel.wants_repair:
        return True
    return frames.has_waiting(view, line.peer)


def _look(view: View, line: Line, arrival: Arrival | None) -> Turned | None:
    """The turn's result if it is clear beforehand that nothing changes, else None."""
    channel = channels.find_channel(view, line.peer)
    if channel is None:
        raise ChannelClosed
    if channel.keys_note or channel.wants_repair or channel.answer_nonce or line.is_behind:
        return None
    if arrival is not None:
        envelope = arrival.envelope
        is_quiet = not envelope.olm or envelope.sequence <= channel.received
        is_quiet &= envelope.acknowledged <= channel.acknowledged and not envelope.note
        is_quiet &= arrival.known is None or (
            not envelope.is_restored
            and envelope.acknowledged >= arrival.known
            and not envelope.lacks_group
            and envelope.settled <= channel.received
        )
        if not is_quiet:
            return None
    flying = channels.find_in_flight(view, line.peer)
    if flying is None and line.is_confirmed and _has_more(view, line, channel):
        return None
    return Turned(channel, flying, b"")


def _has_more(view: View, line: Line, channel: channels.Channel) -> bool:
    return channel.received_since_sent >= turning.HEAL_AFTER or (
        not line.is_full_there and frames.has_waiting(view, line.peer)
    )


__all__ = ["BadEnvelope", "Channel", "ChannelClosed", "Progress"]
