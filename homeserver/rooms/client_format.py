"""Events as clients see them. Sync, pages and pushes all use this.

Spec: client-server-api#room-event-format
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.events import Event, StateMap
from homeserver.matrix.identifiers import EventId, UserId
from homeserver.ports import Requester
from homeserver.rooms import ignoring, state, veils
from homeserver.storage import events, relations, room_state
from homeserver.storage.events import StoredEvent
from homeserver.storage.unit_of_work import View

# An edit of an encrypted event carries its new content inside.
_ENCRYPTED = "m.room.encrypted"
_MEMBER = "m.room.member"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an event replaced, its reader's membership then, and what relates to it."""

    previous: Event | None = None
    membership: str | None = None
    aggregations: JsonObject | None = None


ALONE = Surroundings()


def client_event(
    stored: StoredEvent,
    requester: Requester | None,
    now_ms: int,
    around: Surroundings = ALONE,
) -> JsonObject:
    """One event as its reader's client wants it."""
    event = stored.event
    shown: JsonObject = {
        "content": event.content,
        "event_id": event.event_id,
        "origin_server_ts": event.origin_server_ts,
        "room_id": event.room_id,
        "sender": event.sender,
        "type": event.type,
        "unsigned": _unsigned(stored, requester, now_ms, around),
    }
    if event.state_key is not None:
        shown["state_key"] = event.state_key
    if event.redacts is not None:
        # Clients look in either place, whatever the room's version.
        shown["redacts"] = event.redacts
        shown["content"] = event.content | {"redacts": event.redacts}
    return shown


def client_events(
    view: View,
    several: Sequence[StoredEvent],
    requester: Requester,
    now_ms: int,
    *,
    with_aggregations: bool = True,
) -> list[JsonObject]:
    """Events of one or more rooms with everything that belongs around them.

    What hidden senders said is left out or redacted here too, whoever asks; see `veils`.
    """
    several = veils.shown(view, requester.user_id, several)
    aggregations = aggregate(view, several, requester, now_ms) if with_aggregations else {}
    previous = _previous(view, several, requester)
    memberships: dict[int | None, str | None] = {}
    plain: dict[str | None, Surroundings] = {}
    shown = []
    for stored in several:
        membership = _membership(view, stored, requester, memberships)
        event_id = stored.event.event_id
        if event_id in previous or event_id in aggregations:
            around = Surroundings(previous.get(event_id), membership, aggregations.get(event_id))
        elif membership in plain:
            around = plain[membership]
        else:
            around = plain[membership] = Surroundings(membership=membership)
        shown.append(client_event(stored, requester, now_ms, around))
    return shown


def aggregate(
    view: View, several: Sequence[StoredEvent], requester: Requester, now_ms: int
) -> dict[EventId, JsonObject]:
    """What is bundled with events: their newest edit, and the summary of the thread they began.

    Spec: client-server-api#aggregations-of-child-events
    """
    originals = {
        one.event.event_id: one.event
        for one in several
        if not one.event.is_state and one.redacted_by is None
    }
    related = relations.targets_among(view, originals)
    if not related:
        return {}
    originals = {event_id: originals[event_id] for event_id in originals if event_id in related}
    ignored = ignoring.ignored_by(view, requester.user_id)
    bundled: dict[EventId, JsonObject] = {}
    for target, edit in _newest_edits(view, requester, originals).items():
        bundled.setdefault(target, {})["m.replace"] = client_event(edit, requester, now_ms)
    for target, summary in _threads(view, originals, requester, now_ms, ignored).items():
        bundled.setdefault(target, {})["m.thread"] = summary
    for target, referring in relations.references_of(view, originals.keys()).items():
        heard = veils.heard(view, originals[target].room_id, referring, ignored)
        chunk = [{"event_id": event_id} for event_id in heard]
        bundled.setdefault(target, {})["m.reference"] = {"chunk": chunk}
    return bundled


def _unsigned(
    stored: StoredEvent, requester: Requester | None, now_ms: int, around: Surroundings
) -> JsonObject:
    unsigned: JsonObject = {"age": max(0, now_ms - stored.event.origin_server_ts)}
    if requester is not None and stored.transaction is not None:
        device_id, transaction_id = stored.transaction
        if (device_id, stored.event.sender) == (requester.device_id, requester.user_id):
            unsigned["transaction_id"] = transaction_id
    if stored.redaction is not None:
        redaction = StoredEvent(stored.redaction)
        unsigned["redacted_because"] = client_event(redaction, None, now_ms)
    if around.previous is not None:
        unsigned["prev_content"] = around.previous.content
        unsigned["prev_sender"] = around.previous.sender
        unsigned["replaces_state"] = around.previous.event_id
    if around.membership is not None:
        unsigned["membership"] = around.membership
    if around.aggregations:
        unsigned["m.relations"] = around.aggregations
    return unsigned


def _previous(
    view: View, several: Sequence[StoredEvent], requester: Requester
) -> dict[EventId, Event]:
    """What each state event among them replaced."""
    replaced: dict[EventId, EventId] = {}
    for stored in several:
        if stored.event.state_key is not None:
            before = _state_before(view, stored).get(stored.event.key)
            if before is not None:
                replaced[stored.event.event_id] = before
    known = _load_shown(view, requester, replaced.values())
    return {one: known[before].event for one, before in replaced.items() if before in known}


def _state_before(view: View, stored: StoredEvent) -> StateMap:
    """The state it happened in, as it is shown."""
    if stored.state_before is None:
        return room_state.EMPTY
    before = room_state.load_state(view, stored.state_before)
    if stored.position is None:
        return before
    return veils.shown_state(view, stored.event.room_id, before, stored.position - 1)


def _load_shown(
    view: View, requester: Requester, event_ids: Collection[EventId]
) -> dict[EventId, StoredEvent]:
    found = events.load_events(view, event_ids).values()
    return {one.event.event_id: one for one in veils.shown(view, requester.user_id, found)}


def _membership(
    view: View,
    stored: StoredEvent,
    requester: Requester,
    known: dict[int | None, str | None],
) -> str | None:
    """The reader's membership at the event, its own effect included.

    `known`: the one in each state that was looked at already.
    """
    event, state_id = stored.event, stored.state_before
    if event.state_key == requester.user_id and event.type == _MEMBER:
        return str(event.content.get("membership"))
    if state_id not in known:
        key = state.member_key(requester.user_id)
        member = state.load_entry(view, _state_before(view, stored), key)
        absent = "leave" if state_id is not None else None
        known[state_id] = absent if member is None else str(member.content.get("membership"))
    return known[state_id]


def _newest_edits(
    view: View, requester: Requester, originals: Mapping[EventId, Event]
) -> dict[EventId, StoredEvent]:
    """The newest edit of each event, among those that count.

    Spec: client-server-api#validity-of-replacement-events
    """
    newest: dict[EventId, EventId] = {}
    for target, edits in relations.replacements_of(view, originals.keys()).items():
        original = originals[target]
        mine = [
            edit.event_id
            for edit in edits
            if (edit.sender, edit.type) == (original.sender, original.type)
        ]
        mine = veils.heard(view, original.room_id, mine)
        if mine and not _is_edit(original):
            newest[target] = mine[-1]
    found = _load_shown(view, requester, newest.values())
    return {
        target: found[edit]
        for target, edit in newest.items()
        if edit in found and _has_content(found[edit].event, originals[target])
    }


def _is_edit(event: Event) -> bool:
    relates_to = event.content.get("m.relates_to")
    return isinstance(relates_to, dict) and relates_to.get("rel_type") == "m.replace"


def _has_content(edit: Event, original: Event) -> bool:
    return edit.room_id == original.room_id and (
        edit.type == _ENCRYPTED or isinstance(edit.content.get("m.new_content"), dict)
    )


def _threads(
    view: View,
    roots: Mapping[EventId, Event],
    requester: Requester,
    now_ms: int,
    ignored: frozenset[UserId],
) -> dict[EventId, JsonObject]:
    def is_heard(root: EventId, sender: str, position: int) -> bool:
        return sender not in ignored and not veils.is_unheard(
            view, roots[root].room_id, sender, position
        )

    summaries = relations.thread_summaries(view, roots.keys(), requester.user_id, is_heard)
    latest = _load_shown(view, requester, [one.latest for one in summaries.values()])
    edits = _newest_edits(view, requester, {one: latest[one].event for one in latest})

    def shown(event_id: EventId) -> JsonObject:
        edit = edits.get(event_id)
        bundled = None if edit is None else {"m.replace": client_event(edit, requester, now_ms)}
        around = Surroundings(aggregations=bundled)
        return client_event(latest[event_id], requester, now_ms, around)

    return {
        root: {
            "latest_event": shown(summary.latest),
            "count": summary.count,
            "current_user_participated": summary.has_reader
            or roots[root].sender == requester.user_id,
        }
        for root, summary in summaries.items()
        if summary.latest in latest
    }
