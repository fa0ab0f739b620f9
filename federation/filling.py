"""Choose what goes into the next frame: control, to-device, room events, then what is fleeting."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson

from federation.frames import Outgoing
from federation.lines import Answer, Ask
from federation.payloads import MOST_ASKS
from homeserver.encryption import deposits, reports
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import RoomId, ServerName
from homeserver.storage import frames
from homeserver.storage.sharing import Audience
from homeserver.storage.unit_of_work import UnitOfWork, View

# The largest box holds 256 KiB; the rest is for Olm, headers and what stands around the lists.
FRAME_BYTES = 200 * 1024
_ROOMS_A_FRAME = 20
_EVENTS_A_ROOM = 100
_ITEMS_A_FRAME = 200
_EDUS_A_FRAME = 100


class RoomSource(Protocol):
    """Where the outbox finds the events that a room has for a peer. Implemented by replication."""

    def pdus_for(
        self, view: View, peer: ServerName, room_id: RoomId, after: int, limit: int
    ) -> Sequence[tuple[int, bytes]]:
        """The first events after a position that are due to the peer: position, PDU as JSON."""
        ...

    def catch_up_from(self, view: View, peer: ServerName, room_id: RoomId, after: int) -> int:
        """Where to begin after a long absence: `after`, or later if too many wait."""
        ...

    def audience(self, view: View, room_id: RoomId) -> Audience:
        """Whom what is said in the room now reaches."""
        ...


@dataclass(frozen=True, slots=True)
class Offer:
    """What waits in memory for one peer, and what the peer would take."""

    asks: tuple[Ask, ...] = ()
    answers: tuple[Answer, ...] = ()
    ephemeral: tuple[tuple[str, JsonObject], ...] = ()
    was_urgent: bool = False
    is_full_there: bool = False
    awake: frozenset[ServerName] = frozenset()  # every peer that takes something now


@dataclass(frozen=True, slots=True)
class RoomEvent:
    """An event of ours; `pdu` is JSON."""

    room_id: RoomId
    position: int
    pdu: bytes


@dataclass(frozen=True, slots=True)
class Filled:
    """A frame, and how much of the offer it took."""

    frame: Outgoing
    asks: int = 0
    answers: int = 0
    ephemeral: tuple[tuple[str, JsonObject], ...] = ()
    events: Sequence[RoomEvent] = ()  # of a transaction, in their order
    others: JsonObject = field(default_factory=dict)  # what its body holds beside them

    @property
    def is_urgent(self) -> bool:
        """Whether it carries asks or answers."""
        return bool(self.asks or self.answers)


@dataclass(slots=True)
class _Lot:
    """A transaction that is being put together."""

    now: int
    room: int = FRAME_BYTES
    events: list[RoomEvent] = field(default_factory=list)
    edus: list[Any] = field(default_factory=list)
    items: list[JsonObject] = field(default_factory=list)
    rooms: dict[RoomId, int] = field(default_factory=dict)
    numbers: list[int] = field(default_factory=list)
    newest: list[tuple[str, str]] = field(default_factory=list)
    ephemeral: list[tuple[str, JsonObject]] = field(default_factory=list)

    def takes(self, size: int) -> bool:
        """Take so many bytes, if there is room for them."""
        if size + 16 > self.room:
            return False
        self.room -= size + 16
        return True


def next_frame(
    work: UnitOfWork, peer: ServerName, offer: Offer, source: RoomSource, now: int
) -> Filled | None:
    """The most important thing that waits. Asks and answers take turns with all the rest."""
    if offer.was_urgent:
        return _stored(work, peer, offer, source, now) or _urgent(offer, now)
    return _urgent(offer, now) or _stored(work, peer, offer, source, now)


def _urgent(offer: Offer, now: int) -> Filled | None:
    if offer.answers:
        return _answers(offer.answers, now)
    if offer.asks:
        return _asks(offer.asks, now)
    return None


def _answers(waiting: Sequence[Answer], now: int) -> Filled:
    room, attached = FRAME_BYTES, []
    texts: list[orjson.Fragment] = []
    for answer in waiting[:MOST_ASKS]:
        text = orjson.dumps(answer.content | {"attached": len(answer.attachment)})
        room -= len(text) + len(answer.attachment)
        if room < 0 and texts:
            break
        texts.append(orjson.Fragment(text))
        attached.append(answer.attachment)
    body = orjson.dumps({"answers": texts})
    return Filled(Outgoing("answer", now, body, b"".join(attached)), answers=len(texts))


def _asks(waiting: Sequence[Ask], now: int) -> Filled:
    room = FRAME_BYTES
    texts: list[orjson.Fragment] = []
    for ask in waiting[:MOST_ASKS]:
        text = orjson.dumps(ask.content)
        room -= len(text)
        if room < 0 and texts:
            break
        texts.append(orjson.Fragment(text))
    return Filled(Outgoing("ask", now, orjson.dumps({"asks": texts})), asks=len(texts))


def _stored(
    work: UnitOfWork, peer: ServerName, offer: Offer, source: RoomSource, now: int
) -> Filled | None:
    if offer.is_full_there:
        return None
    lot = _Lot(now)
    _take_items(work, peer, frames.CONTROL, lot)
    if lot.items:
        body = orjson.dumps({"items": lot.items})
        return Filled(Outgoing("control", now, body, b"", _settles(lot)))
    if _take_items(work, peer, frames.TO_DEVICE, lot):
        _take_rooms(work, peer, source, lot)
        _take_edus(work, peer, offer, lot)
    if not (lot.events or lot.edus or lot.items):
        return None
    others = {"edus": lot.edus, "items": lot.items}
    pdus = [orjson.Fragment(event.pdu) for event in lot.events]
    frame = Outgoing("transaction", now, orjson.dumps({"pdus": pdus} | others), b"", _settles(lot))
    return Filled(frame, ephemeral=tuple(lot.ephemeral), events=lot.events, others=others)


def _settles(lot: _Lot) -> bytes:
    return orjson.dumps({"rooms": lot.rooms, "items": lot.numbers, "newest": lot.newest})


def _take_items(work: UnitOfWork, peer: ServerName, lane: str, lot: _Lot) -> bool:
    """Take the oldest items; whether that was all. What is behind them must not overtake any."""
    waiting = frames.waiting_items(work, peer, lane, _ITEMS_A_FRAME + 1)
    for item in waiting[:_ITEMS_A_FRAME]:
        if len(item.body) > FRAME_BYTES - 1_024:
            frames.drop_item(work, peer, lane, item.number)  # no frame could ever carry it
            if item.kind == deposits.DEPOSIT:
                reports.report_deposit(work, reports.DEPOSIT_DROPPED, peer, lot.now)
            continue
        if not lot.takes(len(item.body) + len(item.kind) + 32):
            return False
        lot.items.append({"kind": item.kind, "body": orjson.Fragment(item.body)})
        lot.numbers.append(item.number)
    return len(waiting) <= _ITEMS_A_FRAME


def _take_rooms(work: UnitOfWork, peer: ServerName, source: RoomSource, lot: _Lot) -> None:
    for waiting in frames.waiting_rooms(work, peer, _ROOMS_A_FRAME):
        after, limit = waiting.acknowledged, _EVENTS_A_ROOM
        events = source.pdus_for(work, peer, waiting.room_id, after, limit)
        if len(events) == limit:
            later = source.catch_up_from(work, peer, waiting.room_id, after)
            if later > after:
                events = source.pdus_for(work, peer, waiting.room_id, later, limit)
        reached, is_all = _take_events(waiting.room_id, events, lot, after)
        if is_all and len(events) < limit:
            reached = max(reached, waiting.queued)
        if is_all and not events:
            # Nothing of it is due to this peer, so nothing has to be acknowledged.
            frames.settle_rooms(work, peer, {waiting.room_id: reached})
        elif reached > after:
            lot.rooms[waiting.room_id] = reached
        if not is_all:
            return


def _take_events(
    room_id: RoomId, events: Sequence[tuple[int, bytes]], lot: _Lot, reached: int
) -> tuple[int, bool]:
    for position, pdu in events:
        if not lot.takes(len(pdu)):
            return reached, False
        lot.events.append(RoomEvent(room_id, position, pdu))
        reached = position
    return reached, True


def _take_edus(work: UnitOfWork, peer: ServerName, offer: Offer, lot: _Lot) -> None:
    for newest in frames.waiting_newest(work, peer, _EDUS_A_FRAME):
        if not lot.takes(len(newest.edu)):
            return
        lot.edus.append(orjson.Fragment(newest.edu))
        lot.newest.append((newest.key, newest.digest))
    for key, edu in offer.ephemeral:
        if not lot.takes(len(orjson.dumps(edu))):
            return
        lot.edus.append(edu)
        lot.ephemeral.append((key, edu))
