"""One turn with a peer, in one unit of work: take what a box brought, seal what waits.

Whatever is decided here is stored together: ratchets, sequences, the frame that came as a row of
the inbox, the frame that goes out. Nothing is acknowledged or sent before that is committed.
"""

from dataclasses import dataclass

from federation import filling, group_receiving, group_sending, positions, repair
from federation import frames as frame_format
from federation.envelope import Envelope
from federation.filling import Filled, Offer, RoomSource
from federation.frames import Outgoing
from federation.payloads import Frame
from federation.ratchets.interface import Undecryptable
from federation.turn_state import Arrival, TurnState
from homeserver import crash_points, errors, metrics
from homeserver.crash_points import Point
from homeserver.matrix import canonical_json
from homeserver.matrix.canonical_json import JsonObject
from homeserver.storage import inbox
from homeserver.storage.channels import Channel, InFlight
from homeserver.storage.inbox import StoredFrame

_STORED = ("control", "transaction")
HEAL_AFTER = 100


@dataclass(frozen=True, slots=True)
class Came:
    """A frame that is handled beside the queue: asks and answers."""

    kind: str
    body: JsonObject
    attachment: bytes


@dataclass(frozen=True, slots=True)
class Turned:
    """What a turn led to."""

    channel: Channel
    in_flight: InFlight | None
    note: bytes
    came: Came | None = None
    has_taken: bool = False
    weight: int = 0  # how many events, items or questions the frame held
    has_stored: bool = False
    has_settled: bool = False
    has_rekeyed: bool = False
    has_fallen_back: bool = False
    lacks_group: bool = False  # what goes beside the peer's frame could not be read
    went_back: bool = False
    is_stopped: bool = False  # an alarm was raised
    filled: Filled | None = None

    @property
    def has_passed(self) -> bool:
        """Whether a frame came or was acknowledged."""
        return self.has_taken or self.has_settled


def turn(
    state: TurnState, arrival: Arrival | None, offer: Offer | None, source: RoomSource
) -> Turned:
    """Take an arrival, then fill the empty place in flight if something waits."""
    came: Came | None = None
    went_back = has_settled = has_fallen_back = False
    before = state.channel
    if arrival is not None:
        went_back = positions.check(state, arrival)
        has_settled = state.settle(arrival.envelope.acknowledged)
        if arrival.known is not None and arrival.envelope.lacks_group:
            has_fallen_back = group_sending.fall_back(state)
        came = _take(state, arrival)
    filled = _fill(state, offer, source)
    note = repair.note_for(state)
    state.save()
    after = state.channel
    return Turned(
        channel=after,
        in_flight=state.in_flight,
        note=note,
        came=came,
        has_taken=state.taken is not None,
        weight=state.weight,
        has_stored=state.taken in _STORED,
        has_settled=has_settled,
        has_rekeyed=_repair_of(before) != _repair_of(after),
        has_fallen_back=has_fallen_back,
        lacks_group=state.lacks_group,
        went_back=went_back,
        is_stopped=state.is_stopped,
        filled=filled,
    )


def _repair_of(channel: Channel) -> tuple[object, ...]:
    """What moves when a repair goes on."""
    return channel.epoch, channel.keys_note, channel.wants_repair, channel.received


def _take(state: TurnState, arrival: Arrival) -> Came | None:
    note = _read_note(arrival.envelope.note)
    came = _take_frame(state, arrival, note) if arrival.may_take else None
    if arrival.known is not None:
        repair.take_note(state, note)
    return came


def _take_frame(state: TurnState, arrival: Arrival, note: JsonObject) -> Came | None:
    envelope, before = arrival.envelope, state.channel
    # A lower sequence was taken before; a higher one comes too early.
    if not envelope.olm or envelope.sequence != before.received + 1:
        return None
    try:
        plaintext = repair.decrypt(state, envelope, note)
        crash_points.reach(Point.FRAME_READ)
    except Undecryptable:
        if arrival.known is not None:
            repair.note_unreadable(state, envelope.epoch)
        return None
    read = _read_frame(state, envelope, plaintext)
    if read is None or (read[0].kind != "answer" and not arrival.has_room):
        state.channel = before  # nothing has happened: not acknowledged, so it comes again
        return None
    frame, attachment = read
    try:
        frame = group_receiving.read_beside(state, frame, envelope.group_messages)
    except Undecryptable:
        state.channel, state.lacks_group = before, True  # the sender will say it all in Olm
        return None
    state.taken = frame.kind
    state.weight = 1 + sum(len(part) for part in frame.body.values() if isinstance(part, list))
    state.change(
        received=envelope.sequence,
        receipt=None if frame.receipt is None else bytes.fromhex(frame.receipt),
        received_since_sent=state.channel.received_since_sent + 1,
    )
    if state.channel.epoch != before.epoch:
        state.begin_session()
    if frame.kind in _STORED:
        _store(state, frame)
        return None
    return Came(frame.kind, frame.body, attachment)


def _read_frame(
    state: TurnState, envelope: Envelope, plaintext: bytes
) -> tuple[Frame, bytes] | None:
    try:
        frame, attachment = frame_format.read(plaintext)
    except errors.BadJson:
        metrics.bump("federation_bad_frames")
        return None
    if not _is_consistent(state, envelope, frame):
        metrics.bump("federation_bad_frames")
        return None
    return frame, attachment


def _is_consistent(state: TurnState, envelope: Envelope, frame: Frame) -> bool:
    said = (frame.direction, frame.epoch, frame.sequence)
    return said == (state.node_id, envelope.epoch, envelope.sequence)


def _store(state: TurnState, frame: Frame) -> None:
    body = canonical_json.encode_checked(frame.body)
    stored = StoredFrame(0, state.peer, frame.sequence, frame.kind, frame.sent_at, body)
    inbox.save_frame(state.work, state.peer, stored)
    crash_points.reach(Point.FRAME_STORED)


def _fill(state: TurnState, offer: Offer | None, source: RoomSource) -> Filled | None:
    if offer is None or state.in_flight is not None:
        return None
    if not state.may_seal and repair.is_under_way(state.channel):
        return None
    filled = _next(state, offer, source)
    if filled is None:
        return None
    if not state.may_seal:
        repair.request(state)  # the first frame since the start waits for a session of this run
        return None
    crash_points.reach(Point.FRAME_FILLED)
    state.seal(_beside(state, filled, offer, source))
    crash_points.reach(Point.FRAME_SEALED)
    return filled


def _next(state: TurnState, offer: Offer, source: RoomSource) -> Filled | None:
    now = state.party.clock.now_ms()
    filled = filling.next_frame(state.work, state.peer, offer, source, now)
    needs_one = state.owes_frame or state.channel.received_since_sent >= HEAL_AFTER
    if filled is None and needs_one:
        # A ratchet heals only when both sides send.
        return Filled(Outgoing("control", now, b'{"items":[]}'))
    return filled


def _beside(state: TurnState, filled: Filled, offer: Offer, source: RoomSource) -> Outgoing:
    """What goes to other peers as well is encrypted once for all of them."""
    if not filled.events or not offer.awake - {state.peer} or state.owes_frame:
        return filled.frame
    return group_sending.put_beside(state, filled, offer.awake, source)


def _read_note(raw: bytes) -> JsonObject:
    if not raw:
        return {}
    try:
        note = canonical_json.decode(raw)
    except errors.BadJson:
        return {}
    return note if isinstance(note, dict) else {}
