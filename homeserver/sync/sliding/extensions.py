"""What an answer says beside the rooms: messages, keys, account data, receipts, typing, threads.

The letters in a position say which extensions the device has had: the first time one is asked for,
it tells of every room in sight.

Spec: MSC4186, MSC4308, MSC4508, MSC4538, MSC4543, MSC4551, MSC3959
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import orjson

from homeserver import errors
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import RoomId
from homeserver.rooms import thread_subscriptions
from homeserver.storage import account_data, encryption, ephemeral
from homeserver.storage import thread_subscriptions as stored_threads
from homeserver.storage.encryption import Page
from homeserver.storage.ephemeral import Receipt
from homeserver.storage.unit_of_work import View
from homeserver.sync import answers, showing
from homeserver.sync.sliding import device_changes
from homeserver.sync.sliding.asking import Asked
from homeserver.sync.sliding.planning import Plan
from homeserver.sync.sliding.request import ExtensionWish

_TO_DEVICE, _E2EE = "to_device", "e2ee"
_LETTERS = {
    "account_data": "a",
    _E2EE: "e",
    "receipts": "r",
    "threads": "s",
    _TO_DEVICE: "d",
    "typing": "t",
}
_DIGITS = 18


@dataclass(slots=True)
class Extended:
    """The sections, by the keys under which they were asked for, and whether any is news."""

    sections: JsonObject = field(default_factory=dict)
    has_news: bool = False
    keys: JsonObject | None = None
    letters: frozenset[str] = frozenset()


def write_alone(view: View, asked: Asked, messages: Page) -> Extended:
    """Messages to the device, and how many keys it has left, while more messages wait behind.

    They hold the keys of events, and no client tries an event again later. So the rest comes when
    the device has them all.
    """
    wishes = asked.request.extensions
    extended = Extended(
        sections={wishes[_TO_DEVICE].key: _message_section(asked, wishes[_TO_DEVICE], messages)},
        has_news=True,
        letters=asked.pos.extensions if asked.pos is not None else frozenset(),
    )
    if _E2EE in wishes:
        extended.keys = answers.device_keys(view, asked.requester, asked.now_ms)
        extended.sections[wishes[_E2EE].key] = extended.keys
    return extended


def write(
    view: View, asked: Asked, plan: Plan, rooms: dict[RoomId, JsonObject], messages: Page
) -> Extended:
    """Every extension that is asked for and has something to say."""
    had = asked.pos.extensions if asked.pos is not None else frozenset()
    extended = Extended(letters=had)
    for name, wish in asked.request.extensions.items():
        letter = _LETTERS[name]
        extended.letters |= {letter}
        writing = _Writing(view, asked, plan, rooms, messages, wish, letter not in had)
        section = _WRITERS[name](writing)
        if section is not None:
            extended.sections[wish.key] = section
            extended.has_news = extended.has_news or _is_news(name, section)
            if name == _E2EE:
                extended.keys = {key: section[key] for key in section if key != "device_lists"}
    return extended


@dataclass(frozen=True, slots=True)
class _Writing:
    """One extension being written. `is_first`: the device had nothing of it before."""

    view: View
    asked: Asked
    plan: Plan
    rooms: dict[RoomId, JsonObject]
    messages: Page
    wish: ExtensionWish
    is_first: bool

    def fresh(self) -> set[RoomId]:
        """The rooms of which everything is to be told: new ones, and those in sight again."""
        found = {one.room_id for one in self.plan.rooms if one.since is None}
        if self.is_first:
            found.update(self.plan.scope.everything())
        found.update(self.plan.caught_up)
        return {room_id for room_id in found if self.concerns(room_id)}

    def concerns(self, room_id: RoomId) -> bool:
        """Whether the room is in sight for this extension."""
        return self.plan.scope.is_for(self.wish, room_id)

    def is_joined(self, room_id: RoomId) -> bool:
        """Whether the user is in the room too: ephemeral things are told only there."""
        return self.plan.scope.is_joined(room_id) and self.concerns(room_id)


def _is_news(name: str, section: JsonObject) -> bool:
    if name == _TO_DEVICE:
        return bool(section["events"])
    return "device_lists" in section if name == _E2EE else True


def read_messages(view: View, asked: Asked) -> Page:
    """The next messages to the device, if it asks for them."""
    wish = asked.request.extensions.get(_TO_DEVICE)
    if wish is None:
        return Page()
    since, most = parse_since(wish), min(wish.limit, encryption.PAGE_MESSAGES)
    requester = asked.requester
    return encryption.to_device_page(
        view, requester.user_id, requester.device_id, since, asked.until, most
    )


def _to_device(writing: _Writing) -> JsonObject | None:
    return _message_section(writing.asked, writing.wish, writing.messages)


def _message_section(asked: Asked, wish: ExtensionWish, messages: Page) -> JsonObject:
    all_read = max(asked.until, parse_since(wish))
    last = messages.messages[-1].position if messages.has_more else all_read
    return {
        "next_batch": str(last),
        "events": [orjson.Fragment(one.message) for one in messages.messages],
    }


def parse_since(wish: ExtensionWish) -> int:
    """Up to where the device has its messages."""
    if wish.since is None:
        return 0
    if not (wish.since.isascii() and wish.since.isdecimal() and len(wish.since) <= _DIGITS):
        raise errors.InvalidParam("That is not a token of messages to the device.")
    return int(wish.since)


def _e2ee(writing: _Writing) -> JsonObject | None:
    section = answers.device_keys(writing.view, writing.asked.requester, writing.asked.now_ms)
    lists = device_changes.load(writing.view, writing.asked, writing.plan.news)
    if lists:
        section["device_lists"] = lists
    return section


def _account_data(writing: _Writing) -> JsonObject | None:
    view, asked, news = writing.view, writing.asked, writing.plan.news
    if writing.is_first:
        changed = account_data.account_data_since(view, asked.user_id, 0, asked.until)
    else:
        changed = news.account_data
    told_rooms: dict[RoomId, list[JsonObject]] = {}
    fresh = writing.fresh()
    for room_id in fresh:
        whole = account_data.account_data_of_room(view, asked.user_id, room_id)
        if whole:
            told_rooms[room_id] = [showing.account_data(one) for one in whole]
    told = [showing.account_data(one) for one in changed if one.room_id is None]
    for one in changed:
        if one.room_id is not None and one.room_id not in fresh and writing.concerns(one.room_id):
            told_rooms.setdefault(one.room_id, []).append(showing.account_data(one))
    sections = {"global": told, "rooms": told_rooms}
    return {name: section for name, section in sections.items() if section} or None


def _receipts(writing: _Writing) -> JsonObject | None:
    fresh = {room_id for room_id in writing.fresh() if writing.is_joined(room_id)}
    chosen: dict[RoomId, list[Receipt]] = {}
    for one in ephemeral.receipts_of_rooms(writing.view, list(fresh)):
        if showing.may_see(one, writing.asked.user_id) and _is_told(writing, one):
            chosen.setdefault(one.room_id, []).append(one)
    for one in writing.plan.news.receipts:
        if one.room_id in fresh or not writing.is_joined(one.room_id):
            continue
        if showing.may_see(one, writing.asked.user_id):
            chosen.setdefault(one.room_id, []).append(one)
    is_bare = writing.asked.request.is_stable
    rooms: JsonObject = {}
    for room_id, several in chosen.items():
        content = _united(showing.receipts(several))
        rooms[room_id] = content if is_bare else {"type": "m.receipt", "content": content}
    return {"rooms": rooms} if rooms else None


def _is_told(writing: _Writing, receipt: Receipt) -> bool:
    """Of a room that is new to the device: its own receipts, and those at events it is sent.

    What was missed of a room that is in sight again is told whole.
    """
    if receipt.user_id == writing.asked.user_id or receipt.room_id in writing.plan.caught_up:
        return True
    timeline = writing.rooms.get(receipt.room_id, {}).get("timeline", ())
    return any(event["event_id"] == receipt.event_id for event in timeline)


def _united(contents: Iterable[JsonObject]) -> JsonObject:
    """One content. Of two receipts of one user at one event the later one is shown."""
    whole: JsonObject = {}
    for content in contents:
        for event_id, kinds in content.items():
            for kind, users in kinds.items():
                whole.setdefault(event_id, {}).setdefault(kind, {}).update(users)
    return whole


def _typing(writing: _Writing) -> JsonObject | None:
    board, pos = writing.asked.sources.typing, writing.asked.pos
    known = 0 if pos is None else pos.typing_in(board.run)
    told = board.changed_since(known) if pos is not None else set()
    ignored = writing.plan.ignored
    told |= {room_id for room_id in writing.fresh() if board.typists(room_id, ignored)}
    rooms: JsonObject = {}
    for room_id in told:
        if writing.is_joined(room_id):
            content = {"user_ids": board.typists(room_id, ignored)}
            is_bare = writing.asked.request.is_stable
            rooms[room_id] = content if is_bare else {"type": "m.typing", "content": content}
    return {"rooms": rooms} if rooms else None


def _threads(writing: _Writing) -> JsonObject | None:
    """What was said of threads since: the newest, with where the page before them ends."""
    asked, limit = writing.asked, min(writing.wish.limit, thread_subscriptions.LARGEST_PAGE)
    after = 0 if writing.is_first or asked.pos is None else asked.pos.position
    span = (after, asked.until)
    found = stored_threads.changed_between(writing.view, asked.user_id, span, limit)
    if not found:
        return None
    is_full = len(found) == limit
    older = {"prev_batch": thread_subscriptions.before_oldest(found)} if is_full else {}
    return thread_subscriptions.told(found) | older


_WRITERS: dict[str, Callable[[_Writing], JsonObject | None]] = {
    _TO_DEVICE: _to_device,
    _E2EE: _e2ee,
    "account_data": _account_data,
    "receipts": _receipts,
    "threads": _threads,
    "typing": _typing,
}
