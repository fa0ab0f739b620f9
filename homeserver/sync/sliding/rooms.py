"""What an answer says of each room.

All rooms are read first and written together: their events come from the database in one question.

Spec: MSC4186, room results
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain

from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.events import StateKey
from homeserver.matrix.identifiers import EventId, RoomId, UserId
from homeserver.rooms import pages
from homeserver.storage import rooms
from homeserver.storage.unit_of_work import View
from homeserver.sync import showing, summaries, timelines, unread
from homeserver.sync.filters import RoomEventFilter
from homeserver.sync.room_state_changes import MEMBER
from homeserver.sync.showing import Manner, Shown
from homeserver.sync.sliding import bumping, room_states
from homeserver.sync.sliding.asking import Asked, RoomPlan
from homeserver.sync.sliding.planning import Plan
from homeserver.sync.sliding.request import LARGEST_TIMELINE
from homeserver.sync.sliding.room_states import StateChanges
from homeserver.sync.summaries import Summary
from homeserver.sync.timelines import Slice, Span
from homeserver.sync.unread import UnreadRooms

_AVATAR: StateKey = ("m.room.avatar", "")
_OUTSIDE = ("invite", "knock")
_NONE = EventId("")


@dataclass(frozen=True, slots=True)
class _Part:
    """A room that was read and is not yet written."""

    plan: RoomPlan
    slice: Slice
    state: StateChanges
    summary: Summary | None


def write(view: View, asked: Asked, plan: Plan) -> dict[RoomId, JsonObject]:
    """Every room of the plan that there is something to say of."""
    outside = [one for one in plan.rooms if _is_outside(view, asked, one)]
    parts = [_load(view, asked, one, plan) for one in plan.rooms if one not in outside]
    shown = showing.timelines(view, [one.slice for one in parts], _manner(asked))
    states = _load_states(view, asked, parts)
    written: dict[RoomId, JsonObject] = {one.room_id: _outside(view, asked, one) for one in outside}
    counting = UnreadRooms(view, asked.sources, asked.user_id, asked.until)
    counting.prepare([part.plan.room_id for part in parts])
    for part in parts:
        room = _facts(view, asked, part, plan) | _people(part, states)
        room |= _timeline(asked, part, shown) | _state(asked, part, states)
        if room or part.plan.since is None:
            written[part.plan.room_id] = room | _always(asked, part, plan, counting)
    return written


def _is_outside(view: View, asked: Asked, plan: RoomPlan) -> bool:
    """Whether nothing is known of a room but what came with an invitation or knock.

    Clients of the form before take a room without `invite_state` for one they are in, unless
    their own departure is among its events: where that ended it is shown like any other.
    """
    if plan.membership.membership in _OUTSIDE:
        return True
    return asked.request.is_stable and rooms.find_room(view, plan.room_id) is None


def _load(view: View, asked: Asked, plan: RoomPlan, whole: Plan) -> _Part:
    has_left = plan.membership.membership != "join"
    span = Span(
        plan.room_id,
        0 if plan.since is None or plan.is_expanded else plan.since,
        min(asked.until, plan.membership.position) if has_left else asked.until,
        plan.since,
    )
    limit = plan.config.timeline_limit
    part = timelines.load_slice(view, asked.user_id, span, _newest(limit), whole.ignored)
    departure = timelines.find_end_outside(view, plan.membership) if has_left else None
    if departure is not None:
        part = timelines.ended_by(part, departure, is_shown=True)
    if limit == 0:
        part = replace(part, events=[])
    state = _choose_state(asked, plan, part, whole)
    if departure is not None:
        state.sent[departure.event.key] = departure.event.event_id
        return _Part(plan, part, state, None)
    summary = (
        summaries.load_summary(
            view, plan.room_id, asked.user_id, part.at_end, named_by=[summaries.NAME]
        )
        if state.have_members_changed or state.has_changed(summaries.NAME)
        else None
    )
    return _Part(plan, part, state, summary)


def _choose_state(asked: Asked, plan: RoomPlan, part: Slice, whole: Plan) -> StateChanges:
    """What to tell of the state. Of a room with a gap clients forget the members.

    Spec: MSC4186, lazy loaded memberships
    """
    told, mark = asked.connection.told_members, (asked.after, asked.version)
    if plan.since is None or part.is_limited:
        told.forget(plan.room_id)
    state = room_states.choose(
        plan, part, lambda user, one: told.has(plan.room_id, user, one, mark)
    )
    members = {UserId(key[1]): one for key, one in state.sent.items() if key[0] == MEMBER}
    whole.members[plan.room_id] = members
    return state


@lru_cache(maxsize=64)
def _newest(limit: int) -> RoomEventFilter:
    return RoomEventFilter(limit=max(1, min(limit, LARGEST_TIMELINE)))


def _load_states(view: View, asked: Asked, parts: Sequence[_Part]) -> Shown:
    ids: set[EventId] = set(chain.from_iterable(part.state.sent.values() for part in parts))
    for part in parts:
        places = [summaries.NAME, _AVATAR]
        if part.summary is not None:
            places += [(MEMBER, user_id) for user_id in part.summary.heroes or ()]
        ids.update(part.slice.at_end[key] for key in places if key in part.slice.at_end)
    return showing.states(view, ids, None, _manner(asked))


def _manner(asked: Asked) -> Manner:
    return Manner(asked.requester, asked.now_ms)


def _outside(view: View, asked: Asked, plan: RoomPlan) -> JsonObject:
    stripped = rooms.find_stripped_state(view, plan.room_id, asked.user_id)
    name = "stripped_state" if asked.request.is_stable else "invite_state"
    room: JsonObject = {name: stripped, "bump_stamp": plan.membership.position, "initial": True}
    return room | _standing(asked, plan)


def _facts(view: View, asked: Asked, part: _Part, plan: Plan) -> JsonObject:
    """Whether it is new, a direct room, and when something was last said in it."""
    room: JsonObject = {}
    room_id, since = part.plan.room_id, part.plan.since
    if since is None:
        room["initial"] = True
    elif part.plan.is_expanded:
        is_stable = asked.request.is_stable
        room["expanded_timeline" if is_stable else "unstable_expanded_timeline"] = True
    if since is None or room_id in plan.direct_changed:
        room["is_dm"] = room_id in plan.direct
    bumped_at = bumping.find(view, part.plan, part.slice, asked.until)
    if bumped_at is not None:
        room["bump_stamp"] = bumped_at
    return room


def _people(part: _Part, states: Shown) -> JsonObject:
    """Name and avatar where they changed; how many there are, and after whom to name the room."""
    room: JsonObject = {}
    for name, key, field in (("name", summaries.NAME, "name"), ("avatar", _AVATAR, "url")):
        if part.state.has_changed(key):
            event = states.get(part.slice.at_end.get(key, _NONE))
            value = event["content"].get(field) if event is not None else None
            if isinstance(value, str) and value:
                room[name] = value
            elif part.plan.since is not None:
                room[name] = None
    if part.summary is not None:
        room["joined_count"] = part.summary.joined
        room["invited_count"] = part.summary.invited
        if part.summary.heroes:
            room["heroes"] = [_hero(part, states, user_id) for user_id in part.summary.heroes]
    return room


def _hero(part: _Part, states: Shown, user_id: UserId) -> JsonObject:
    hero: JsonObject = {"user_id": user_id}
    event = states.get(part.slice.at_end.get((MEMBER, user_id), _NONE))
    content = event["content"] if event is not None else {}
    for name in ("displayname", "avatar_url"):
        if isinstance(content.get(name), str):
            hero[name] = content[name]
    return hero


def _timeline(asked: Asked, part: _Part, shown: Shown) -> JsonObject:
    if not (part.slice.events or part.slice.is_limited or part.plan.since is None):
        return {}
    told = asked.after
    live = [one for one in part.slice.events if told and (one.position or asked.until) > told]
    return {
        "timeline": [shown[one.event.event_id] for one in part.slice.events],
        "prev_batch": pages.token(part.slice.before),
        "limited": part.slice.is_limited,
        "num_live": len(live),
    }


def _state(asked: Asked, part: _Part, states: Shown) -> JsonObject:
    entries = [states[one] for one in part.state.sent.values() if one in states]
    if asked.request.is_stable:
        entries += [{"type": kind, "state_key": key} for kind, key in part.state.gone]
    return {"required_state": entries} if entries else {}


def _always(asked: Asked, part: _Part, plan: Plan, counting: UnreadRooms) -> JsonObject:
    """What comes with every room that is sent at all."""
    room = _standing(asked, part.plan)
    if not asked.request.is_stable and part.plan.membership.membership == "join":
        rules_at = plan.news.newest.account_data
        counted = counting.count(part.plan.room_id, part.slice.ends_at, rules_at)
        room |= unread.to_json(counted.total)
    return room


def _standing(asked: Asked, plan: RoomPlan) -> JsonObject:
    if not asked.request.is_stable:
        return {}
    standing: JsonObject = {"membership": plan.membership.membership}
    return standing | {"lists": list(plan.lists)} if plan.lists else standing
