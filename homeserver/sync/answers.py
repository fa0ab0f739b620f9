"""Changes as the JSON of a sync's answer.

Spec: client-server-api#get_matrixclientv3sync
"""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import orjson

from homeserver.encryption import deposits
from homeserver.ephemeral import presence
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import EventId, RoomId
from homeserver.rooms import client_format, pages
from homeserver.storage import encryption, ephemeral, events
from homeserver.storage.account_data import Entry
from homeserver.storage.ephemeral import Receipt
from homeserver.storage.unit_of_work import View
from homeserver.sync.asking import Asked
from homeserver.sync.changes import Changes
from homeserver.sync.filters import RoomEventFilter
from homeserver.sync.room_parts import RoomPart

Shown = dict[EventId, JsonObject]

_LOADED_AT_ONCE = 500


def write(view: View, asked: Asked, changes: Changes) -> JsonObject:
    """Everything but `next_batch`. Sections that say nothing are left out."""
    sections = {
        "rooms": _rooms(view, asked, changes),
        "presence": _events(_presence(asked, changes)),
        "account_data": _events(_global_account_data(asked, changes)),
        "to_device": _events([orjson.Fragment(one.message) for one in changes.to_device]),
        "device_lists": {
            name: users
            for name in ("changed", "left")
            if (users := getattr(changes.device_lists, name))
        },
    }
    return {name: section for name, section in sections.items() if section}


def device_keys(view: View, asked: Asked) -> JsonObject:
    """How many keys the device has left, which each answer says."""
    owner, device_id = asked.user_id, asked.requester.device_id
    return {
        "device_one_time_keys_count": encryption.one_time_key_counts(view, owner, device_id),
        "device_unused_fallback_key_types": deposits.unused_fallback_types(
            view, owner, device_id, asked.now_ms
        ),
    }


def _rooms(view: View, asked: Asked, changes: Changes) -> JsonObject:
    timelines = _shown_timelines(view, asked, [*changes.joined, *changes.left])
    states = _shown_states(view, asked, [*changes.joined, *changes.left])
    join: JsonObject = {}
    for part in changes.joined:
        beside = _beside(asked, changes, part.room_id)
        if beside or asked.is_initial or asked.wish.is_full_state or not part.is_empty:
            room = _room(asked, part, timelines, states) | beside
            join[part.room_id] = room | _counts(view, asked, part)
    sections: dict[str, JsonObject] = {
        "join": join,
        "leave": {part.room_id: _room(asked, part, timelines, states) for part in changes.left},
    }
    for one in changes.outside:
        kind = one.membership.membership
        stripped = {"events": one.stripped_state}
        sections.setdefault(kind, {})[one.membership.room_id] = {f"{kind}_state": stripped}
    return {name: section for name, section in sections.items() if section}


def _room(asked: Asked, part: RoomPart, timelines: Shown, states: Shown) -> JsonObject:
    name = "state_after" if asked.wish.uses_state_after else "state"
    shown = [timelines[one.event.event_id] for one in part.slice.events]
    return {
        "timeline": {
            "events": shown,
            "limited": part.is_limited,
            "prev_batch": pages.token(part.slice.before),
        },
        name: {"events": [states[one] for one in part.state if one in states]},
    }


def _counts(view: View, asked: Asked, part: RoomPart) -> JsonObject:
    """The summary, where it changed, and how much is unread."""
    read_up_to = max(
        (
            one.point.position
            for one in ephemeral.receipts_of_user(view, part.room_id, asked.user_id)
            if one.point is not None
        ),
        default=0,
    )
    unread = asked.sources.count_unread(view, asked.user_id, part.room_id, read_up_to, asked.until)
    counts: JsonObject = {
        "unread_notifications": {
            "notification_count": unread.notifications,
            "highlight_count": unread.highlights,
        }
    }
    if part.summary is not None:
        counts["summary"] = part.summary.to_json()
    return counts


def _shown_timelines(view: View, asked: Asked, parts: Sequence[RoomPart]) -> Shown:
    shown: Shown = {}
    for has_related in (True, False):
        several = list(
            chain.from_iterable(
                part.slice.events for part in parts if _may_be_related(part) is has_related
            )
        )
        for event in client_format.client_events(
            view, several, asked.requester, asked.now_ms, with_aggregations=has_related
        ):
            shown[event["event_id"]] = _without_room(event)
    return shown


def _may_be_related(part: RoomPart) -> bool:
    """Whether anything can relate to an event of the timeline: not to the newest one alone."""
    return part.is_limited or len(part.slice.events) > 1


def _shown_states(view: View, asked: Asked, parts: Iterable[RoomPart]) -> Shown:
    ids = list(chain.from_iterable(part.state for part in parts))
    wanted = asked.wish.filter.room.state
    shown: Shown = {}
    for start in range(0, len(ids), _LOADED_AT_ONCE):
        found = events.load_events(view, ids[start : start + _LOADED_AT_ONCE])
        for event_id, stored in found.items():
            event = stored.event
            if wanted.is_open or (
                wanted.allows(event.type, event.sender) and wanted.allows_content(event.content)
            ):
                one = client_format.client_event(stored, asked.requester, asked.now_ms)
                shown[event_id] = _without_room(one)
    return shown


def _without_room(event: JsonObject) -> JsonObject:
    event.pop("room_id", None)
    return event


def _beside(asked: Asked, changes: Changes, room_id: RoomId) -> JsonObject:
    wanted = asked.wish.filter.room
    ephemeral_events: list[JsonObject] = []
    if _allows(wanted.ephemeral, "m.typing", room_id) and room_id in changes.beside.typing:
        typists = asked.typing.typists(room_id)
        ephemeral_events.append({"type": "m.typing", "content": {"user_ids": typists}})
    if _allows(wanted.ephemeral, "m.receipt", room_id):
        ephemeral_events += _receipts(changes.beside.receipts.get(room_id, ()))
    entries = [
        _account_data(entry)
        for entry in changes.beside.account_data.get(room_id, ())
        if _allows(wanted.account_data, entry.type, room_id)
    ]
    sections = {"ephemeral": _events(ephemeral_events), "account_data": _events(entries)}
    return {name: section for name, section in sections.items() if section}


def _allows(wanted: RoomEventFilter, event_type: str, room_id: RoomId) -> bool:
    return wanted.allows_room(room_id) and wanted.allows_type(event_type)


def _receipts(several: Iterable[Receipt]) -> list[JsonObject]:
    """One event, or more where a user has receipts of several threads at one event.

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
    return [{"type": "m.receipt", "content": content} for content in shown]


def _global_account_data(asked: Asked, changes: Changes) -> list[JsonObject]:
    wanted = asked.wish.filter.account_data
    entries = changes.beside.account_data.get(None, ())
    return [_account_data(entry) for entry in entries if wanted.allows_type(entry.type)]


def _account_data(entry: Entry) -> JsonObject:
    return {"type": entry.type, "content": orjson.Fragment(entry.content)}


def _presence(asked: Asked, changes: Changes) -> list[JsonObject]:
    return [
        {
            "type": "m.presence",
            "sender": one.user_id,
            "content": presence.content_of(one, asked.now_ms),
        }
        for one in changes.presence
    ]


def _events(shown: Sequence[Any]) -> JsonObject:
    return {"events": shown} if shown else {}
