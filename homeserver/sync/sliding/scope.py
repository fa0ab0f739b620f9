"""The rooms that a request looks at: the windows of its lists, and its subscriptions."""

from collections.abc import Iterable, Sequence

from homeserver.matrix.identifiers import RoomId
from homeserver.storage.unit_of_work import View
from homeserver.sync.sliding.request import (
    ExtensionWish,
    ListWish,
    Range,
    RoomConfig,
    SlidingRequest,
    united,
)
from homeserver.sync.sliding.room_index import RankedList, RoomIndex

_EVERYTHING: tuple[Range, ...] = ((0, 2**31),)


class Scope:
    """Answers for one room, or for all, whether and how a request looks at them."""

    def __init__(self, view: View, request: SlidingRequest, index: RoomIndex) -> None:
        self._request = request
        self._index = index
        self._ranked: dict[str, RankedList] = {
            name: index.ranked(view, wish.filter) for name, wish in request.lists.items()
        }

    @property
    def counts(self) -> dict[str, int]:
        """How many rooms each list has, seen or not."""
        return {name: len(ranked) for name, ranked in self._ranked.items()}

    def lists_of(self, room_id: RoomId) -> tuple[str, ...]:
        """The lists in whose windows a room is."""
        return tuple(
            name
            for name, wish in self._request.lists.items()
            if _is_inside(self._ranked[name].rank(room_id), _ranges(wish))
        )

    def config_of(self, room_id: RoomId, lists: Iterable[str]) -> RoomConfig | None:
        """What is wanted of a room that is in the windows of these lists; None: nothing."""
        configs = [self._request.lists[name].config for name in lists]
        subscription = self._request.subscriptions.get(room_id)
        if subscription is not None and room_id in self._index.entries:
            configs.append(subscription)
        return united(configs)

    def everything(self) -> dict[RoomId, None]:
        """Every room in sight, in order."""
        rooms: dict[RoomId, None] = {}
        for name, wish in self._request.lists.items():
            for first, last in _ranges(wish):
                rooms.update(dict.fromkeys(self._ranked[name].window(first, last)))
        known = (one for one in self._request.subscriptions if one in self._index.entries)
        rooms.update(dict.fromkeys(known))
        return rooms

    def edges(self, count: int) -> dict[RoomId, None]:
        """The rooms in sight that may be new there after so many rooms moved."""
        rooms: dict[RoomId, None] = {}
        for name, wish in self._request.lists.items():
            for first, end in _ranges(wish):
                ranked = self._ranked[name]
                last = min(end, len(ranked) - 1)
                rooms.update(dict.fromkeys(ranked.window(max(first, last - count + 1), last)))
                rooms.update(dict.fromkeys(ranked.window(first, min(last, first + count - 1))))
        return rooms

    def is_joined(self, room_id: RoomId) -> bool:
        """Whether the user is in a room."""
        entry = self._index.entries.get(room_id)
        return entry is not None and entry.membership.membership == "join"

    def is_for(self, wish: ExtensionWish, room_id: RoomId) -> bool:
        """Whether an extension applies to a room."""
        is_chosen = wish.rooms is None or room_id in wish.rooms
        if is_chosen and room_id in self._request.subscriptions:
            return room_id in self._index.entries
        lists = self.lists_of(room_id)
        return bool(lists) if wish.lists is None else not wish.lists.isdisjoint(lists)


def _ranges(wish: ListWish) -> Sequence[Range]:
    return _EVERYTHING if wish.ranges is None else wish.ranges


def _is_inside(rank: int | None, ranges: Sequence[Range]) -> bool:
    return rank is not None and any(first <= rank <= last for first, last in ranges)
