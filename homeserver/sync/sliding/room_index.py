"""The owner's rooms in order of activity, filtered into lists; kept in memory, never rebuilt.

One change moves one room in each list: nothing here grows with the number of rooms, except where
a list is asked for that nobody asked for before.
"""

import bisect
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from homeserver.matrix.identifiers import RoomId, UserId
from homeserver.rooms import ignoring as ignored_users
from homeserver.rooms import invite_permission
from homeserver.storage import account_data, activity, events, rooms
from homeserver.storage.newest import load_newest
from homeserver.storage.rooms import Membership
from homeserver.storage.unit_of_work import View
from homeserver.sync import ignoring
from homeserver.sync.moves import MovedMeanwhile
from homeserver.sync.sliding import room_facts
from homeserver.sync.sliding.request import RoomFilter
from homeserver.sync.sliding.room_facts import Facts

_LISTS_REMEMBERED = 32
_LISTED = frozenset({"join", "invite", "knock"})
_GONE = frozenset({"leave", "ban"})
_WHO_MAY_INVITE = frozenset({ignored_users.TYPE, invite_permission.TYPE})


@dataclass(slots=True)
class Entry:
    """A room of the owner: where it stands, and what is known for filters (None: not read yet)."""

    membership: Membership
    active_at: int
    facts: Facts | None = None
    is_unwanted: bool | None = None


class RankedList:
    """The rooms that pass one filter, the one with the newest event first.

    `within`: only these rooms can pass, where the filter names spaces.
    """

    def __init__(self, within: frozenset[str] | None) -> None:
        self.within = within
        self._order: list[tuple[int, RoomId]] = []
        self._keys: dict[RoomId, int] = {}

    def __len__(self) -> int:
        return len(self._order)

    def place(self, room_id: RoomId, active_at: int) -> None:
        """Put a room where it belongs."""
        self.remove(room_id)
        bisect.insort(self._order, (-active_at, room_id))
        self._keys[room_id] = -active_at

    def remove(self, room_id: RoomId) -> None:
        """Take a room out, if it is there."""
        key = self._keys.pop(room_id, None)
        if key is not None:
            del self._order[bisect.bisect_left(self._order, (key, room_id))]

    def rank(self, room_id: RoomId) -> int | None:
        """A room's index, from 0; None where it does not pass."""
        key = self._keys.get(room_id)
        return None if key is None else bisect.bisect_left(self._order, (key, room_id))

    def window(self, first: int, last: int) -> list[RoomId]:
        """The rooms between two indexes, both included."""
        return [room_id for _, room_id in self._order[max(0, first) : last + 1]]


class RoomIndex:
    """One user's rooms up to a position. Only the event loop's thread changes it."""

    def __init__(self, user_id: UserId) -> None:
        self._user_id = user_id
        self._until: int | None = None
        self._lists: OrderedDict[RoomFilter, RankedList] = OrderedDict()
        self.entries: dict[RoomId, Entry] = {}
        self.direct: frozenset[RoomId] = frozenset()
        self.direct_changed: dict[RoomId, int] = {}
        # Changes when a room may have entered or left a list without anything happening in it.
        self.generation = 0

    def catch_up(self, view: View, until: int) -> None:
        """Take in what happened up to a position. Raises `MovedMeanwhile` where it is overtaken."""
        if self._until is None:
            self._read_all(view, until)
        elif until > self._until:
            self._read_changes(view, self._until, until)
        self._until = max(until, self._until or 0)

    def drop(self, room_id: RoomId) -> None:
        """Leave a room out of everything."""
        self.entries.pop(room_id, None)
        for ranked in self._lists.values():
            ranked.remove(room_id)

    def ranked(self, view: View, wanted: RoomFilter) -> RankedList:
        """The list that a filter makes."""
        ranked = self._lists.pop(wanted, None)
        if ranked is None:
            spaces = wanted.spaces
            ranked = RankedList(
                None if spaces is None else room_facts.children_of(view, spaces, self._user_id)
            )
            for room_id, entry in self.entries.items():
                self._place(view, wanted, ranked, room_id, entry)
        self._lists[wanted] = ranked
        if len(self._lists) > _LISTS_REMEMBERED:
            self._lists.popitem(last=False)
        return ranked

    def _read_all(self, view: View, until: int) -> None:
        newest = activity.newest_of_joined(view, self._user_id, until)
        found = rooms.rooms_of(view, self._user_id, _LISTED | _GONE)
        _check(found, until)
        self.direct = room_facts.load_direct(view, self._user_id)
        removed = _removed(view, found)
        for one in found:
            if one.membership in _LISTED or one.room_id in removed:
                active_at = max(newest.get(one.room_id, 0), 0) or one.position
                self.entries[one.room_id] = Entry(one, active_at)

    def _read_changes(self, view: View, after: int, until: int) -> None:
        moved = rooms.memberships_since(view, self._user_id, after)
        _check(moved, until)
        for one in moved:
            self._move(view, one)
        happened = events.changed_rooms(view, after, until)
        for room_id in happened.union(one.room_id for one in moved):
            self._refresh(view, room_id, until)
        if load_newest(view).account_data > after:
            self._read_account_data(view, after, until)

    def _move(self, view: View, one: Membership) -> None:
        is_listed = one.membership in _LISTED or one.room_id in _removed(view, [one])
        if not is_listed or one.is_forgotten:
            self.drop(one.room_id)
            return
        self.entries[one.room_id] = Entry(one, one.position)

    def _refresh(self, view: View, room_id: RoomId, until: int) -> None:
        """Something happened in a room: it goes up, and its facts may be others now."""
        self._drop_lists(lambda wanted: wanted.spaces is not None and room_id in wanted.spaces)
        entry = self.entries.get(room_id)
        if entry is None:
            return
        entry.facts = None
        if entry.membership.membership == "join":
            newest = activity.newest_in(view, room_id, until)
            entry.active_at = newest or entry.membership.position
        for wanted, ranked in self._lists.items():
            self._place(view, wanted, ranked, room_id, entry)

    def _read_account_data(self, view: View, after: int, until: int) -> None:
        changed = account_data.account_data_since(view, self._user_id, after, until)
        if any(one.type == "m.direct" and one.room_id is None for one in changed):
            direct = room_facts.load_direct(view, self._user_id)
            self.direct_changed.update(dict.fromkeys(self.direct ^ direct, until))
            self.direct = direct
            self._drop_lists(lambda wanted: wanted.is_dm is not None)
        if any(one.type in _WHO_MAY_INVITE and one.room_id is None for one in changed):
            for entry in self.entries.values():
                entry.is_unwanted = None
            self._drop_lists(lambda _wanted: True)
        if any(one.type == "m.tag" for one in changed):
            self._drop_lists(lambda wanted: wanted.tags is not None or bool(wanted.not_tags))

    def _drop_lists(self, is_concerned: Callable[[RoomFilter], bool]) -> None:
        for wanted in [one for one in self._lists if is_concerned(one)]:
            del self._lists[wanted]
            self.generation += 1

    def _place(
        self, view: View, wanted: RoomFilter, ranked: RankedList, room_id: RoomId, entry: Entry
    ) -> None:
        is_within = ranked.within is None or room_id in ranked.within
        if is_within and self._passes(view, wanted, room_id, entry):
            ranked.place(room_id, entry.active_at)
        else:
            ranked.remove(room_id)

    def _passes(self, view: View, wanted: RoomFilter, room_id: RoomId, entry: Entry) -> bool:
        is_invited = entry.membership.membership == "invite"
        if is_invited and self._is_unwanted(view, entry):
            return False
        if wanted.is_invited is not None and wanted.is_invited != is_invited:
            return False
        if wanted.is_dm is not None and wanted.is_dm != (room_id in self.direct):
            return False
        return self._facts_pass(view, wanted, room_id, entry)

    def _is_unwanted(self, view: View, entry: Entry) -> bool:
        if entry.is_unwanted is None:
            ignored = ignored_users.ignored_by(view, self._user_id)
            entry.is_unwanted = ignoring.is_unwanted(view, entry.membership, ignored)
        return entry.is_unwanted

    def _facts_pass(self, view: View, wanted: RoomFilter, room_id: RoomId, entry: Entry) -> bool:
        if wanted.tags is not None or wanted.not_tags:
            tags = room_facts.load_tags(view, self._user_id, room_id)
            if not room_facts.tags_pass(wanted, tags):
                return False
        if not room_facts.needs_facts(wanted):
            return True
        if entry.facts is None:
            entry.facts = room_facts.load_facts(view, room_id, self._user_id)
        return room_facts.facts_pass(wanted, entry.facts)


def _removed(view: View, found: Iterable[Membership]) -> frozenset[RoomId]:
    """The rooms from which somebody else removed the user; not invitations taken back."""
    gone = {one.event_id: one for one in found if one.membership in _GONE}
    if not gone:
        return frozenset()
    departures = events.load_bodies(view, gone.keys())
    return frozenset(
        gone[event_id].room_id
        for event_id, event in departures.items()
        if event.sender != gone[event_id].user_id
        and rooms.find_room(view, gone[event_id].room_id) is not None
    )


def _check(found: Iterable[Membership], until: int) -> None:
    if any(one.position > until for one in found):
        raise MovedMeanwhile
