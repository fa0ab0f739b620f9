"""Which rooms an answer tells of, and from where on; and which fall behind untold.

Where every room in sight is told already, only those are looked at that something happened in, and
as many at the edges of the windows: rooms move up past each other one at a time.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from homeserver.matrix.identifiers import EventId, RoomId, UserId
from homeserver.storage import account_data, ephemeral, events, rooms
from homeserver.storage.account_data import Entry as AccountData
from homeserver.storage.ephemeral import Receipt
from homeserver.storage.newest import Newest, load_newest
from homeserver.storage.rooms import Membership
from homeserver.storage.sync_connections import ToldRoom
from homeserver.storage.unit_of_work import View
from homeserver.sync import ignoring, moves
from homeserver.sync.sliding.asking import Asked, RoomPlan
from homeserver.sync.sliding.request import RoomConfig
from homeserver.sync.sliding.room_index import RoomIndex
from homeserver.sync.sliding.scope import Scope


@dataclass(frozen=True, slots=True)
class News:
    """What happened after the device's position, anywhere."""

    newest: Newest
    rooms: set[RoomId]
    moved: dict[RoomId, Membership]
    receipts: list[Receipt]
    account_data: list[AccountData]

    def touched(self) -> set[RoomId]:
        """The rooms of which anything is new."""
        found = self.rooms | self.moved.keys() | {one.room_id for one in self.receipts}
        return found.union(one.room_id for one in self.account_data if one.room_id is not None)


@dataclass(slots=True)
class Plan:
    """The rooms to send; how far the device knows rooms afterwards, where that changes."""

    scope: Scope
    news: News
    touched: set[RoomId]
    ignored: frozenset[UserId]
    # The rooms for direct messages, and those that turned into one or ceased to be one.
    direct: frozenset[RoomId]
    direct_changed: set[RoomId]
    settling: object
    rooms: list[RoomPlan] = field(default_factory=list)
    changes: dict[RoomId, ToldRoom] = field(default_factory=dict)
    # Rooms that are in sight again.
    caught_up: set[RoomId] = field(default_factory=set)
    # The members that are told, once the rooms are read.
    members: dict[RoomId, dict[UserId, EventId]] = field(default_factory=dict)


def make(view: View, asked: Asked, index: RoomIndex) -> Plan:
    """Decide it for a request."""
    scope = Scope(view, asked.request, index)
    news = _load_news(view, asked)
    request = asked.request
    settling = (
        tuple(request.lists.items()),
        tuple(request.subscriptions.items()),
        index.generation,
    )
    turned = _turned_direct(asked, index)
    touched = news.touched() | turned
    ignored = asked.sources.ignored.load(view, asked.user_id, news.newest.account_data)
    plan = Plan(scope, news, touched, ignored, index.direct, turned, settling)
    if asked.pos is None or asked.connection.settled != (asked.version, settling):
        candidates = scope.everything()
    else:
        candidates = scope.edges(len(touched))
    candidates.update(dict.fromkeys(touched))
    for room_id in candidates:
        _look_at(view, asked, index, plan, room_id)
    return plan


def _look_at(view: View, asked: Asked, index: RoomIndex, plan: Plan, room_id: RoomId) -> None:
    told = asked.told(room_id)
    entry = index.entries.get(room_id)
    if entry is None:
        _leave(asked, plan, room_id, told)
        return
    if _is_kept_back(view, entry.membership, index, plan):
        return
    lists = plan.scope.lists_of(room_id)
    config = plan.scope.config_of(room_id, lists)
    if config is None:
        if told is not None and told.until is None and room_id in plan.touched:
            plan.changes[room_id] = replace(told, until=asked.after)
        return
    whole = RoomPlan(entry.membership, config, None, lists)
    if told is None or _is_unknown_to(view, asked, told, entry.membership):
        plan.rooms.append(whole)
        _tell(asked, plan, room_id, told, config)
        return
    since = asked.after if told.until is None else told.until
    had = asked.connection.config(told.config)
    is_expanded = config.timeline_limit > told.timeline_limit
    happened = max(entry.active_at, entry.membership.position, index.direct_changed.get(room_id, 0))
    if is_expanded or happened > since or not config.required_state <= had:
        plan.rooms.append(replace(whole, since=since, is_expanded=is_expanded, had=had))
    if told.until is not None:
        plan.caught_up.add(room_id)
    _tell(asked, plan, room_id, told, config)


def _tell(
    asked: Asked, plan: Plan, room_id: RoomId, told: ToldRoom | None, config: RoomConfig
) -> None:
    """Note what the device will know; nothing where that is what it knows already.

    What it was once told it keeps: smaller wishes later on change nothing.
    """
    limit, wanted = config.timeline_limit, config.required_state
    if told is not None:
        limit = max(limit, told.timeline_limit)
        had = asked.connection.config(told.config)
        wanted = had if wanted <= had else wanted | had
    after = ToldRoom(None, limit, asked.connection.config_number(wanted))
    if after != told:
        plan.changes[room_id] = after


def _leave(asked: Asked, plan: Plan, room_id: RoomId, told: ToldRoom | None) -> None:
    """The user went out of a room by themselves: a device that knows it is told so, once."""
    moved = plan.news.moved.get(room_id)
    if told is None or moved is None:
        return
    since = asked.after if told.until is None else told.until
    config = RoomConfig(told.timeline_limit, asked.connection.config(told.config))
    plan.rooms.append(RoomPlan(moved, config, since, (), had=config.required_state))
    _tell(asked, plan, room_id, told, config)


def _is_unknown_to(view: View, asked: Asked, told: ToldRoom, membership: Membership) -> bool:
    """Whether the user is in the room now and was not when the device was last told of it."""
    since = asked.after if told.until is None else told.until
    if membership.membership != "join" or membership.position <= since:
        return False
    return not moves.was_joined(view, membership.room_id, asked.user_id, since)


def _is_kept_back(view: View, membership: Membership, index: RoomIndex, plan: Plan) -> bool:
    """Whether nothing is to be told of a room: it is forgotten, or an unwanted invitation."""
    if _is_forgotten(view, membership):
        index.drop(membership.room_id)
        return True
    return ignoring.is_unwanted(view, membership, plan.ignored)


def _is_forgotten(view: View, membership: Membership) -> bool:
    """Whether a room that the user was removed from is forgotten by now; that moves nothing."""
    if membership.membership in ("join", "invite", "knock"):
        return False
    now = rooms.find_membership(view, membership.room_id, membership.user_id)
    return now is None or now.is_forgotten


def _turned_direct(asked: Asked, index: RoomIndex) -> set[RoomId]:
    return {one for one, changed_at in index.direct_changed.items() if changed_at > asked.after}


def _load_news(view: View, asked: Asked) -> News:
    newest = load_newest(view)
    if asked.pos is None:
        return News(newest, set(), {}, [], [])
    after, until = asked.after, asked.until
    return News(
        newest,
        events.changed_rooms(view, after, until) if until > after else set(),
        _by_room(rooms.memberships_since(view, asked.user_id, after)),
        ephemeral.receipts_since(view, after, until) if newest.receipts > after else [],
        account_data.account_data_since(view, asked.user_id, after, until)
        if newest.account_data > after
        else [],
    )


def _by_room(moved: Iterable[Membership]) -> dict[RoomId, Membership]:
    return {one.room_id: one for one in moved}
