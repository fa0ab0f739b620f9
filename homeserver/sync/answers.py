"""Changes as the JSON of a sync's answer.

Spec: client-server-api#get_matrixclientv3sync
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

import orjson

from homeserver.encryption import deposits
from homeserver.ephemeral import presence
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import RoomId
from homeserver.ports import Requester
from homeserver.rooms import pages
from homeserver.storage import encryption
from homeserver.storage.unit_of_work import View
from homeserver.sync import showing, unread
from homeserver.sync.asking import Asked
from homeserver.sync.changes import Changes
from homeserver.sync.room_parts import RoomPart
from homeserver.sync.showing import Manner, Shown
from homeserver.sync.unread import UnreadRooms

_ROOMS_AT_ONCE = 10


def write(view: View, asked: Asked, changes: Changes) -> JsonObject:
    """Everything but `next_batch`. Sections that say nothing are left out."""
    sections = {
        "rooms": _rooms(view, asked, changes),
        "presence": _events(_presence(asked, changes)),
        "account_data": _events(_global_account_data(asked, changes)),
        "to_device": _events([orjson.Fragment(one.message) for one in changes.to_device.messages]),
        "device_lists": {
            name: users
            for name in ("changed", "left")
            if (users := getattr(changes.device_lists, name))
        },
    }
    return {name: section for name, section in sections.items() if section}


def device_keys(view: View, requester: Requester, now_ms: int) -> JsonObject:
    """How many keys the device has left, which each answer says."""
    owner, device_id = requester.user_id, requester.device_id
    return {
        "device_one_time_keys_count": encryption.one_time_key_counts(view, owner, device_id),
        "device_unused_fallback_key_types": deposits.unused_fallback_types(
            view, owner, device_id, now_ms
        ),
    }


def _rooms(view: View, asked: Asked, changes: Changes) -> JsonObject:
    join: JsonObject = {}
    for parts in _some_at_once(changes.joined):
        join |= _joined(view, asked, changes, parts)
    leave: JsonObject = {}
    for parts in _some_at_once(changes.left):
        timelines, states = _events_of(view, asked, parts)
        for part in parts:
            kept = _events(_account_data(asked, changes, part.room_id))
            beside = {"account_data": kept} if kept else {}
            leave[part.room_id] = _room(asked, part, timelines, states) | beside
    sections: dict[str, JsonObject] = {"join": join, "leave": leave}
    for one in changes.outside:
        kind = one.membership.membership
        stripped = {"events": one.stripped_state}
        sections.setdefault(kind, {})[one.membership.room_id] = {f"{kind}_state": stripped}
    return {name: section for name, section in sections.items() if section}


def _some_at_once(several: Iterable[RoomPart]) -> Iterator[list[RoomPart]]:
    """So many rooms that questions are shared, and so few that their events stay at hand."""
    rest = iter(several)
    while parts := list(islice(rest, _ROOMS_AT_ONCE)):
        yield parts


def _joined(view: View, asked: Asked, changes: Changes, parts: list[RoomPart]) -> JsonObject:
    """Some rooms, each as its finished JSON: a first answer has thousands of events."""
    timelines, states = _events_of(view, asked, parts)
    counting = UnreadRooms(view, asked.sources, asked.user_id, asked.until)
    counting.prepare([part.room_id for part in parts])
    join: JsonObject = {}
    for part in parts:
        beside = _beside(asked, changes, part.room_id)
        if beside or asked.is_initial or asked.wish.is_full_state or not part.is_empty:
            room = _room(asked, part, timelines, states) | beside
            room |= _counts(asked, changes, part, counting)
            join[part.room_id] = orjson.Fragment(orjson.dumps(room))
    return join


def _events_of(view: View, asked: Asked, parts: list[RoomPart]) -> tuple[Shown, Shown]:
    """The events of their timelines, and of their states."""
    manner = Manner(asked.requester, asked.now_ms, asked.wish.filter.event_format == "federation")
    timelines = showing.timelines(view, [part.slice for part in parts], manner)
    ids = list(chain.from_iterable(part.state for part in parts))
    return timelines, showing.states(view, ids, asked.wish.filter.room.state, manner)


def _room(asked: Asked, part: RoomPart, timelines: Shown, states: Shown) -> JsonObject:
    name = asked.wish.state_after_name if asked.wish.uses_state_after else "state"
    shown = [timelines[one.event.event_id] for one in part.slice.events]
    return {
        "timeline": {
            "events": shown,
            "limited": part.is_limited,
            "prev_batch": pages.token(part.slice.before),
        },
        name: {"events": [states[one] for one in part.state if one in states]},
    }


def _counts(asked: Asked, changes: Changes, part: RoomPart, counting: UnreadRooms) -> JsonObject:
    """The summary, where it changed, and how much is unread.

    Spec: client-server-api#receiving-notifications
    """
    counted = counting.count(part.room_id, part.slice.ends_at, changes.rules_at)
    counts: JsonObject = {}
    if asked.wish.filter.room.timeline.unread_thread_notifications:
        counts["unread_notifications"] = unread.to_json(counted.main)
        threads = {root: unread.to_json(one) for root, one in counted.threads.items()}
        if threads:
            counts["unread_thread_notifications"] = threads
    else:
        counts["unread_notifications"] = unread.to_json(counted.total)
    if part.summary is not None:
        counts["summary"] = part.summary.to_json()
    return counts


def _beside(asked: Asked, changes: Changes, room_id: RoomId) -> JsonObject:
    wanted = asked.wish.filter.room
    ephemeral_events: list[JsonObject] = []
    if wanted.ephemeral.allows_any(room_id, ["m.typing"]) and room_id in changes.beside.typing:
        typists = asked.typing.typists(room_id, changes.ignored)
        ephemeral_events.append({"type": "m.typing", "content": {"user_ids": typists}})
    if wanted.ephemeral.allows_any(room_id, ["m.receipt"]):
        ephemeral_events += [
            {"type": "m.receipt", "content": content}
            for content in showing.receipts(changes.beside.receipts.get(room_id, ()))
        ]
    kept = _account_data(asked, changes, room_id)
    sections = {"ephemeral": _events(ephemeral_events), "account_data": _events(kept)}
    return {name: section for name, section in sections.items() if section}


def _account_data(asked: Asked, changes: Changes, room_id: RoomId) -> list[JsonObject]:
    wanted = asked.wish.filter.room.account_data
    return [
        showing.account_data(entry)
        for entry in changes.beside.account_data.get(room_id, ())
        if wanted.allows_any(room_id, [entry.type])
    ]


def _global_account_data(asked: Asked, changes: Changes) -> list[JsonObject]:
    wanted = asked.wish.filter.account_data
    entries = changes.beside.account_data.get(None, ())
    return [showing.account_data(entry) for entry in entries if wanted.allows_type(entry.type)]


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
