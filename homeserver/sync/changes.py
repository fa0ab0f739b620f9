"""Everything one device has not seen yet, between two positions.

The owner's rooms in their sections, and what is said beside them: receipts, typing, account data,
presence, messages to the device, device lists. Classic sync makes its answer of this.

Messages to the device hold the keys of events, and no client tries an event again later. So while
more of them wait than an answer carries, it carries nothing else.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import RoomId, UserId
from homeserver.rooms import veils
from homeserver.storage import account_data, encryption, ephemeral, rooms
from homeserver.storage.account_data import Entry
from homeserver.storage.encryption import Page
from homeserver.storage.ephemeral import Presence, Receipt
from homeserver.storage.newest import Newest, load_newest
from homeserver.storage.rooms import Membership
from homeserver.storage.unit_of_work import View
from homeserver.sync import device_list_changes, ignoring, moves, room_parts, showing
from homeserver.sync.asking import Asked
from homeserver.sync.device_list_changes import DeviceListChanges
from homeserver.sync.moves import Sections
from homeserver.sync.room_parts import RoomPart


@dataclass(frozen=True, slots=True)
class Beside:
    """What is new beside the timelines, by room."""

    receipts: dict[RoomId, list[Receipt]] = field(default_factory=dict)
    account_data: dict[RoomId | None, list[Entry]] = field(default_factory=dict)
    typing: set[RoomId] = field(default_factory=set)

    @property
    def rooms(self) -> set[RoomId]:
        """The rooms that have any of it."""
        named = {room_id for room_id in self.account_data if room_id is not None}
        return self.receipts.keys() | self.typing | named


@dataclass(frozen=True, slots=True)
class Outside:
    """A room the owner is invited to or knocks on, with what is known of it."""

    membership: Membership
    stripped_state: list[JsonObject]


@dataclass(frozen=True, slots=True)
class Changes:
    """Everything new for one device. Of a first answer the rooms are read as they are taken."""

    joined: Iterable[RoomPart]
    left: list[RoomPart]
    outside: list[Outside]
    beside: Beside
    presence: list[Presence]
    to_device: Page
    device_lists: DeviceListChanges
    ignored: frozenset[UserId]
    rules_at: int  # the position of the newest change of account data


def collect(view: View, asked: Asked) -> Changes:
    """Read it all. Raises `MovedMeanwhile` where the position is overtaken."""
    messages = _load_to_device(view, asked)
    if messages.has_more:
        nothing = device_list_changes.NONE
        return Changes([], [], [], Beside(), [], messages, nothing, frozenset(), 0)
    sections = moves.load_sections(view, asked)
    newest = load_newest(view)
    beside = _load_beside(view, asked, sections, newest)
    ignored = asked.ignored(view, newest.account_data)
    joined = _load_joined(view, asked, sections, beside, ignored)
    if not asked.is_initial:
        joined = list(joined)
    gone = [*sections.left, *_left_before(view, asked, sections, beside)]
    left = [room_parts.load_left(view, asked, one, ignored) for one in gone]
    fresh = () if asked.is_initial else sections.fresh
    return Changes(
        joined,
        left,
        _load_outside(view, asked, sections, ignored),
        beside,
        _load_presence(view, asked) if newest.presence > asked.after else [],
        messages,
        device_list_changes.load_changes(
            view, asked, joined, fresh, sections.left, has_changes=newest.device_lists > asked.after
        ),
        ignored,
        newest.account_data,
    )


def _load_joined(
    view: View, asked: Asked, sections: Sections, beside: Beside, ignored: frozenset[UserId]
) -> Iterable[RoomPart]:
    quiet = sorted(beside.rooms - set(sections.joined))
    counts = veils.count_members_of_many(view, asked.user_id) if asked.is_initial else None
    for room_id in (*sections.joined, *quiet):
        if _concerns(view, asked, sections, room_id):
            is_fresh = room_id in sections.fresh
            yield room_parts.load_joined(view, asked, room_id, ignored, counts, is_fresh=is_fresh)


def _concerns(view: View, asked: Asked, sections: Sections, room_id: RoomId) -> bool:
    """Whether a room belongs among the joined ones, be it for a receipt's sake."""
    if room_id in sections.fresh or room_id in sections.joined:
        return True
    return asked.wish.filter.room.allows_room(room_id) and moves.is_joined(view, room_id, asked)


def _left_before(
    view: View, asked: Asked, sections: Sections, beside: Beside
) -> Iterable[Membership]:
    """The rooms that were left some time ago of which the owner's account data changed."""
    told = {one.room_id for one in sections.left}
    wanted = asked.wish.filter.room
    for room_id, entries in beside.account_data.items():
        if asked.is_initial or room_id is None or room_id in told:
            continue
        known = rooms.find_membership(view, room_id, asked.user_id)
        if known is None or known.membership not in moves.GONE or known.is_forgotten:
            continue
        if wanted.allows_room(room_id) and wanted.account_data.allows_any(
            room_id, [one.type for one in entries]
        ):
            yield known


def _load_beside(view: View, asked: Asked, sections: Sections, newest: Newest) -> Beside:
    receipts: dict[RoomId, list[Receipt]] = {}
    for receipt in _receipts(view, asked, sections, newest.receipts):
        if showing.may_see(receipt, asked.user_id):
            receipts.setdefault(receipt.room_id, []).append(receipt)
    entries: dict[RoomId | None, list[Entry]] = {}
    for entry in _entries(view, asked, sections, newest.account_data):
        entries.setdefault(entry.room_id, []).append(entry)
    return Beside(receipts, entries, _typing(asked, sections))


def _receipts(view: View, asked: Asked, sections: Sections, newest: int) -> list[Receipt]:
    whole = ephemeral.receipts_of_rooms(view, sections.fresh)
    if asked.is_initial or newest <= asked.after:
        return whole
    changed = ephemeral.receipts_since(view, asked.after, asked.until)
    return whole + [one for one in changed if one.room_id not in sections.fresh]


def _entries(view: View, asked: Asked, sections: Sections, newest: int) -> list[Entry]:
    changed = (
        account_data.account_data_since(view, asked.user_id, asked.after, asked.until)
        if newest > asked.after
        else []
    )
    if asked.is_initial:
        return changed
    fresh = [
        entry
        for room_id in sections.fresh
        for entry in account_data.account_data_of_room(view, asked.user_id, room_id)
    ]
    return fresh + [one for one in changed if one.room_id not in sections.fresh]


def _typing(asked: Asked, sections: Sections) -> set[RoomId]:
    """The rooms whose typists the device must be told."""
    since = asked.wish.since
    known = 0 if since is None else since.typing_in(asked.typing.run)
    changed = asked.typing.changed_since(known)
    fresh = {room_id for room_id in sections.fresh if asked.typing.typists(room_id)}
    if since is None:
        return fresh
    return changed | fresh


def _load_outside(
    view: View, asked: Asked, sections: Sections, ignored: frozenset[UserId]
) -> list[Outside]:
    return [
        Outside(one, rooms.find_stripped_state(view, one.room_id, asked.user_id))
        for one in sections.outside
        if not ignoring.is_unwanted(view, one, ignored)
    ]


def _load_presence(view: View, asked: Asked) -> list[Presence]:
    wanted = asked.wish.filter.presence
    if not wanted.allows_type("m.presence"):
        return []
    changed = ephemeral.presence_since(view, asked.after, asked.until)
    if not changed:
        return []
    near = veils.users_near(view, asked.user_id) | {asked.user_id}
    return [one for one in changed if one.user_id in near and wanted.allows_sender(one.user_id)]


def _load_to_device(view: View, asked: Asked) -> Page:
    since = asked.wish.since
    return encryption.to_device_page(
        view,
        asked.user_id,
        asked.requester.device_id,
        since.to_device_position if since is not None else 0,
        asked.until,
    )
