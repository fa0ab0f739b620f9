"""Search what was said in rooms that are not encrypted: all words of the search term, any order.

A search walks from the newest event backwards, so far and no farther; the token in its answer
goes on from there.

Spec: client-server-api#server-side-search
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from homeserver import errors
from homeserver.matrix import canonical_json
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import RoomId, UserId
from homeserver.ports import Clock, Requester
from homeserver.rooms import client_format, filtering, pages, seeing, state
from homeserver.rooms.filtering import Wanted
from homeserver.rooms.pages import Asked
from homeserver.storage import events, room_state, searching
from homeserver.storage.database import Database
from homeserver.storage.events import Point, StoredEvent
from homeserver.storage.unit_of_work import View

KEYS = {
    "content.body": "m.room.message",
    "content.name": "m.room.name",
    "content.topic": "m.room.topic",
}
_BATCH = 500
# How many events one request looks at. An answer that found too little says where to go on.
_LOOKED_AT = 50_000
_MOST_WORDS = 20
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Around:
    """How much of what surrounds a found event is wanted."""

    before: int
    after: int
    with_profiles: bool


@dataclass(frozen=True, slots=True)
class Search:
    """What somebody looks for."""

    term: str
    keys: frozenset[str]
    wanted: Wanted
    limit: int
    by_rank: bool
    rooms: frozenset[RoomId] | None = None
    around: Around | None = None
    with_state: bool = False
    groups: tuple[str, ...] = ()
    start: str | None = None


@dataclass(slots=True)
class _Found:
    """What one request found, newest first, and where the next one goes on."""

    events: list[tuple[float, StoredEvent]] = field(default_factory=list)
    goes_on: Point | None = None


class MessageSearch:
    """Finds messages, names and topics."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def search(self, requester: Requester, asked: Search) -> JsonObject:
        """The category `room_events` of an answer.

        Spec: client-server-api#post_matrixclientv3search
        """
        words = _words(asked.term)
        start = pages.END if asked.start is None else pages.parse_token(asked.start)
        now_ms = self._clock.now_ms()

        def look(view: View) -> JsonObject:
            found = _find(view, requester.user_id, asked, words, start)
            return _answer(view, requester, asked, found, words, now_ms)

        return await self._database.scan(look)


def _words(term: str) -> list[str]:
    words = [word.casefold() for word in _WORD.findall(term)]
    if not words:
        raise errors.InvalidParam("There is no word in the search term.")
    return words[:_MOST_WORDS]


def _find(view: View, user_id: UserId, asked: Search, words: list[str], start: Point) -> _Found:
    found, point, looked_at = _Found(), start, 0
    readable: dict[RoomId, bool] = {}
    while looked_at < _LOOKED_AT:
        batch = searching.said_before(view, point, _BATCH, asked.rooms)
        for one in batch:
            point = Point(one.point.position, one.point.rank - 1)
            if not _may_match(one.pdu, asked, words):
                continue
            hit = _look_closer(view, user_id, asked, words, one, readable)
            if hit is not None:
                found.events.append(hit)
                if len(found.events) == asked.limit:
                    found.goes_on = point
                    return found
        looked_at += len(batch)
        if len(batch) < _BATCH:
            return found
    found.goes_on = point
    return found


def _look_closer(
    view: View,
    user_id: UserId,
    asked: Search,
    words: list[str],
    one: searching.Said,
    readable: dict[RoomId, bool],
) -> tuple[float, StoredEvent] | None:
    if one.room_id not in readable:
        readable[one.room_id] = _may_read(view, one.room_id, user_id, asked)
    stored = events.find_event(view, one.event_id) if readable[one.room_id] else None
    if stored is None or not filtering.passing(view, user_id, asked.wanted, [stored]):
        return None
    shown = seeing.heard(view, user_id, [stored])
    # What a hidden sender said is not even found: only what is left of it counts.
    rank = _rank(shown[0].event.type, shown[0].event.content, asked, words) if shown else 0.0
    return (rank, shown[0]) if rank else None


def _may_read(view: View, room_id: RoomId, user_id: UserId, asked: Search) -> bool:
    if not asked.wanted.allows_room(room_id):
        return False
    try:
        seeing.load_readable(view, room_id, user_id)
    except errors.NotInRoom:
        return False
    return True


def _may_match(pdu: bytes, asked: Search, words: list[str]) -> bool:
    """Whether an event as it lies on the disk has the words where they count.

    Most of what is looked at falls here, so it costs no look into the database.
    """
    text = pdu.decode("utf-8", "replace").casefold()
    if not all(word in text for word in words):
        return False
    told = canonical_json.decode(pdu)
    return _rank(told["type"], told["content"], asked, words) > 0


def _rank(kind: str, content: JsonObject, asked: Search, words: list[str]) -> float:
    """How much of the text the words are; 0 where one is missing."""
    for key in asked.keys:
        text = content.get(key.removeprefix("content."))
        if kind == KEYS[key] and isinstance(text, str):
            folded = text.casefold()
            if all(word in folded for word in words):
                return min(1.0, sum(map(len, words)) / max(1, len(folded)))
    return 0.0


def _answer(
    view: View,
    requester: Requester,
    asked: Search,
    found: _Found,
    words: list[str],
    now_ms: int,
) -> JsonObject:
    hits = found.events
    if asked.by_rank:
        hits = sorted(hits, key=lambda hit: hit[0], reverse=True)
    stored = [one for _, one in hits]
    shown = client_format.client_events(view, stored, requester, now_ms)
    results = []
    for (rank, one), event in zip(hits, shown, strict=True):
        result: JsonObject = {"rank": rank, "result": event}
        if asked.around is not None:
            result["context"] = _context(view, requester, asked, asked.around, one, now_ms)
        results.append(result)
    answer: JsonObject = {"count": len(results), "highlights": words, "results": results}
    if found.goes_on is not None:
        answer["next_batch"] = pages.token(found.goes_on)
    if asked.groups:
        answer["groups"] = {group: _grouped(stored, group) for group in asked.groups}
    if asked.with_state:
        rooms = {one.event.room_id for one in stored}
        answer["state"] = {room: _state(view, requester, room, now_ms) for room in sorted(rooms)}
    return answer


def _context(
    view: View,
    requester: Requester,
    asked: Search,
    around: Around,
    target: StoredEvent,
    now_ms: int,
) -> JsonObject:
    room_id, user_id = target.event.room_id, requester.user_id
    back = Asked(room_id, user_id, pages.before(target), around.before, asked.wanted, True)  # noqa: FBT003 - its last field
    ahead = Asked(room_id, user_id, target.point, around.after, asked.wanted, False)  # noqa: FBT003 - its last field
    earlier, later = pages.read(view, back), pages.read(view, ahead)

    def shown(several: Sequence[StoredEvent]) -> list[JsonObject]:
        return client_format.client_events(view, several, requester, now_ms)

    context: JsonObject = {
        "events_before": shown(earlier.shown),
        "events_after": shown(later.shown),
        "start": pages.token(earlier.end or pages.START),
        "end": pages.token(later.end or target.point),
    }
    if around.with_profiles:
        said = [*earlier.shown, target, *later.shown]
        context["profile_info"] = _profiles(view, room_id, {one.event.sender for one in said})
    return context


def _profiles(view: View, room_id: RoomId, users: set[UserId]) -> JsonObject:
    current = room_state.current_state(view, room_id)
    members = state.load_entries(view, current, [state.member_key(user) for user in users])
    return {
        key[1]: {
            name: value
            for name in ("displayname", "avatar_url")
            if isinstance(value := member.content.get(name), str)
        }
        for key, member in members.items()
    }


def _grouped(stored: Sequence[StoredEvent], group: str) -> JsonObject:
    """By room or by sender, in the order in which they turn up."""
    groups: JsonObject = {}
    for one in stored:
        name = one.event.room_id if group == "room_id" else one.event.sender
        entry = groups.setdefault(name, {"order": len(groups) + 1, "results": []})
        entry["results"].append(one.event.event_id)
    return groups


def _state(view: View, requester: Requester, room_id: RoomId, now_ms: int) -> list[JsonObject]:
    readable = seeing.load_readable(view, room_id, requester.user_id)
    current = seeing.readable_state(view, readable)
    found = events.load_events(view, current.values())
    return client_format.client_events(
        view, list(found.values()), requester, now_ms, with_aggregations=False
    )
