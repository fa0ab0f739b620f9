"""What the positions in a fresh box say: who remembers less than the other has seen.

A peer that has more of us than we remember sending shows that this database is an old copy, and
proves it by the receipt of its newest frame. What nobody can prove changes nothing.
"""

import hmac
import logging

from federation import alarms, identity, repair
from federation.envelope import Envelope
from federation.turn_state import Arrival, TurnState
from homeserver import metrics
from homeserver.encryption import peer_deposits
from homeserver.storage import groups, notices, peers

logger = logging.getLogger(__name__)

_DAY_MS = 86_400_000
_MOST_CONTRADICTIONS = 3
_TWO_COPIES = "two copies of this server seem to run at once"
_IMPOSSIBLE = "it claims to know of messages that never passed, or two copies of it or of us run"


def check(state: TurnState, arrival: Arrival) -> bool:
    """Compare positions in a fresh box; a replayed one says nothing.

    Returns whether the peer's position went back: then the peer is an old copy, and repairs itself.
    """
    if arrival.known is None:
        return False
    envelope, channel = arrival.envelope, state.channel
    if envelope.acknowledged > channel.sent:
        _check_receipt(state, arrival)
        return False
    if envelope.settled > channel.received:
        _miss_something(state, arrival)
    # A box that was on its way for long may say so when the peer has more of us again.
    says_so = envelope.is_restored and envelope.acknowledged >= channel.acknowledged
    went_back = says_so or envelope.acknowledged < arrival.known
    if went_back and not arrival.is_behind:
        _tell(state, "peer_restored")
        # After a start it may be what was seen before; of two copies one speaks again.
        if not arrival.is_first:
            _note_contradiction(state, _TWO_COPIES)
    return went_back


def _check_receipt(state: TurnState, arrival: Arrival) -> None:
    """The peer says that it has more of us than we remember; its receipt tells whether it has."""
    envelope = arrival.envelope
    metrics.bump("federation_bad_positions")
    is_true = _is_ours(state, envelope)
    if not (is_true and arrival.is_first):
        # Once positions have agreed in this run, only another copy of us can have sent more.
        _note_contradiction(state, _IMPOSSIBLE)
    if is_true:
        _go_on_above(state, envelope.acknowledged)
        if arrival.is_first and not state.party.has_started_over:
            start_over(state)


def _is_ours(state: TurnState, envelope: Envelope) -> bool:
    return hmac.compare_digest(envelope.receipt, state.receipt_of(envelope.acknowledged))


def _go_on_above(state: TurnState, acknowledged: int) -> None:
    """Number our frames from what the peer has seen; what was in flight it has as well."""
    state.change(sent=acknowledged)
    state.settle(acknowledged)
    state.change(acknowledged=acknowledged, is_restored=True)
    repair.begin_anew(state)


def start_over(state: TurnState) -> None:
    """This database is an old copy. No key may be used twice: all go, whoever shares them."""
    work, party = state.work, state.party
    groups.forget_everything(work)
    peer_deposits.forget_after_restore(work, identity.to_text(party.token()))
    for peer in peers.load_peers(work):
        if peer.server_name != state.peer:
            repair.begin_anew_with(work, party, peer, is_restored=False)
    metrics.bump("federation_old_copies")
    logger.warning("this database is an old copy, as peer=%s shows", state.peer)
    _tell(state, "old_copy")

    def note() -> None:
        party.has_started_over = True

    work.after_commit(note)


def _miss_something(state: TurnState, arrival: Arrival) -> None:
    """The peer says that we acknowledged more than we remember, which nobody can prove.

    It concerns that peer alone: the two change keys, and what both sign then says how far it was.
    """
    metrics.bump("federation_bad_positions")
    if not arrival.is_first:
        _note_contradiction(state, _IMPOSSIBLE)
        return
    repair.request(state)
    round_name = identity.to_text(state.party.token())
    peer_deposits.forget_of_peer(state.work, state.peer, round_name)
    _tell(state, "missed")


def _note_contradiction(state: TurnState, reason: str) -> None:
    """Once may be a backup that was put back; again and again is an alarm."""
    now = state.party.clock.now_ms()
    last = state.channel.regressed_at
    is_recent = last is not None and now - last < _DAY_MS
    count = state.channel.regressions + 1 if is_recent else 1
    state.change(regressions=count, regressed_at=now)
    if count < _MOST_CONTRADICTIONS:
        return
    alarms.sound(state.work, state.their_peer(), now, "positions", reason)
    state.is_stopped = True


def _tell(state: TurnState, kind: str) -> None:
    now, words = state.party.clock.now_ms(), {"server_name": state.peer}
    notices.tell_owner(state.work, now, kind, state.node_id, words)
