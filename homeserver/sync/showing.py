"""Events, receipts and account data as both kinds of sync show them."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import chain

import orjson

from homeserver.ephemeral.receipts import PRIVATE
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import EventId, UserId
from homeserver.ports import Requester
from homeserver.rooms import client_format, veils
from homeserver.storage import events
from homeserver.storage.account_data import Entry
from homeserver.storage.ephemeral import Receipt
from homeserver.storage.events import StoredEvent
from homeserver.storage.unit_of_work import View
from homeserver.sync.filters import RoomEventFilter
from homeserver.sync.timelines import Slice

Shown = dict[EventId, JsonObject]

_LOADED_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Manner:
    """How to show events: to which device, when, and whether as servers send them to each other.

    Spec: client-server-api#room-event-format
    """

    requester: Requester
    now_ms: int
    is_federation: bool = False


def timelines(view: View, several: Iterable[Slice], manner: Manner) -> Shown:
    """The events of some timelines, by their IDs."""
    slices = list(several)
    shown: Shown = {}
    for has_related in (True, False):
        chosen = [one for one in slices if _may_be_related(one) is has_related]
        timeline: list[StoredEvent] = list(chain.from_iterable(one.events for one in chosen))
        if manner.is_federation:
            shown.update({one.event.event_id: one.event.pdu for one in timeline})
            continue
        for event in client_format.client_events(
            view, timeline, manner.requester, manner.now_ms, with_aggregations=has_related
        ):
            shown[event["event_id"]] = without_room(event)
    return shown


def states(
    view: View, ids: Collection[EventId], wanted: RoomEventFilter | None, manner: Manner
) -> Shown:
    """Events of states, as far as a filter lets them pass."""
    several = list(ids)
    wanted = None if wanted is None or wanted.is_open else wanted
    shown: Shown = {}
    for start in range(0, len(several), _LOADED_AT_ONCE):
        found = events.load_events(view, several[start : start + _LOADED_AT_ONCE])
        for stored in veils.shown(view, manner.requester.user_id, found.values()):
            if wanted is None or _passes(wanted, stored):
                shown[stored.event.event_id] = _state(stored, manner)
    return shown


def _state(stored: StoredEvent, manner: Manner) -> JsonObject:
    if manner.is_federation:
        return stored.event.pdu
    return without_room(client_format.client_event(stored, manner.requester, manner.now_ms))


def without_room(event: JsonObject) -> JsonObject:
    """An event of a room's part of an answer, which says which room it is."""
    event.pop("room_id", None)
    return event


def receipts(several: Iterable[Receipt]) -> list[JsonObject]:
    """The contents of one event, or of more where a user has receipts of several threads at one.

    Spec: client-server-api#mreceipt
    """
    shown: list[JsonObject] = []
    for receipt in several:
        mark: JsonObject = {"ts": receipt.read_at}
        if receipt.thread_id is not None:
            mark["thread_id"] = receipt.thread_id
        for content in shown:
            users = content.setdefault(receipt.event_id, {}).setdefault(receipt.kind, {})
            if receipt.user_id not in users:
                users[receipt.user_id] = mark
                break
        else:
            shown.append({receipt.event_id: {receipt.kind: {receipt.user_id: mark}}})
    return shown


def may_see(receipt: Receipt, user_id: UserId) -> bool:
    """Whether a receipt is for a user's eyes: private ones are for whose they are.

    Spec: client-server-api#receipts
    """
    return receipt.kind != PRIVATE or receipt.user_id == user_id


def account_data(entry: Entry) -> JsonObject:
    """An entry as an event."""
    return {"type": entry.type, "content": orjson.Fragment(entry.content)}


def _may_be_related(part: Slice) -> bool:
    """Whether anything can relate to an event of the timeline: not to the newest one alone."""
    return part.is_limited or len(part.events) > 1


def _passes(wanted: RoomEventFilter, stored: StoredEvent) -> bool:
    event = stored.event
    return wanted.allows(event.type, event.sender) and wanted.allows_content(event.content)
