"""Redactions take effect: on events that are here, and on those that come after them.

Spec: rooms/v11#handling-redactions
"""

from dataclasses import replace

from homeserver.matrix import auth_rules, canonical_json, identifiers
from homeserver.matrix import events as matrix_events
from homeserver.matrix.events import Event
from homeserver.rooms import state
from homeserver.storage import events, relations, room_state, rooms
from homeserver.storage.events import StoredEvent
from homeserver.storage.unit_of_work import UnitOfWork, View


def take_effect(work: UnitOfWork, redaction: StoredEvent) -> None:
    """Redact the target; if it is not here yet, remember to."""
    event = redaction.event
    if event.redacts is None:
        return
    relations.save_redaction(work, event.event_id, event.redacts, event.room_id)
    target = events.find_event(work, event.redacts)
    if target is not None:
        _redact(work, target, redaction)


def catch_up(work: UnitOfWork, late: Event) -> None:
    """Redact an event whose redaction came first."""
    waiting = relations.redactions_of(work, late.room_id, late.event_id)
    if not waiting:
        return
    target = events.find_event(work, late.event_id)
    for redaction in events.load_events(work, waiting).values():
        if target is not None and redaction.position is not None:
            _redact(work, target, redaction)


def may_redact(view: View, redaction: StoredEvent, target: Event) -> bool:
    """Whether a redaction counts: by its sender's power, or because the target is of his server."""
    then = (
        room_state.load_state(view, redaction.state_before)
        if redaction.state_before is not None
        else room_state.current_state(view, target.room_id)
    )
    return auth_rules.may_redact(redaction.event, target, state.power_levels(view, then))


def _redact(work: UnitOfWork, target: StoredEvent, redaction: StoredEvent) -> None:
    event = target.event
    if target.redacted_by is not None or not may_redact(work, redaction, event):
        return
    left = matrix_events.redacted(event)
    body = canonical_json.encode_checked(left.pdu)
    events.replace_with_redacted(work, event.event_id, body, redaction.event.event_id)
    if event.type == "m.room.member":
        _forget_profile(work, left)


def _forget_profile(work: UnitOfWork, left: Event) -> None:
    """A redacted membership shows neither name nor picture any more."""
    membership = rooms.find_membership(work, left.room_id, identifiers.UserId(left.key[1]))
    if membership is not None and membership.event_id == left.event_id:
        rooms.save_memberships(work, [replace(membership, display_name=None, avatar_url=None)])
