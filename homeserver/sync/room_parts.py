"""What a device gets of one room it is joined to, or has left: timeline, state, summary."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from homeserver.matrix.identifiers import EventId, RoomId, UserId
from homeserver.storage.rooms import Membership
from homeserver.storage.unit_of_work import View
from homeserver.sync import room_state_changes, summaries, timelines
from homeserver.sync.asking import Asked
from homeserver.sync.room_state_changes import MEMBER, Entries
from homeserver.sync.summaries import Summary
from homeserver.sync.timelines import Slice, Span


@dataclass(frozen=True, slots=True)
class RoomPart:
    """A room's timeline and the events of its state that belong beside it."""

    room_id: RoomId
    slice: Slice
    state: list[EventId]
    is_limited: bool
    summary: Summary | None = None
    joins_and_leaves: frozenset[UserId] = frozenset()

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing."""
        return not (self.slice.events or self.state or self.is_limited)


def load_joined(
    view: View,
    asked: Asked,
    room_id: RoomId,
    ignored: frozenset[UserId],
    counts: Mapping[RoomId, Mapping[str, int]] | None,
    *,
    is_fresh: bool,
) -> RoomPart:
    """Read what is new in a room the owner is in; `counts` of members where many were asked for."""
    knows_state = not (is_fresh or asked.wish.is_full_state)
    span = Span(
        room_id,
        0 if is_fresh else asked.after,
        asked.until,
        asked.after if knows_state else None,
    )
    wanted = asked.wish.filter.room.timeline
    part = timelines.load_slice(view, asked.user_id, span, wanted, ignored)
    has_changes = not knows_state or bool(room_state_changes.member_changes(part))
    summary = (
        summaries.load_summary(
            view, room_id, asked.user_id, part.at_end, counts.get(room_id) if counts else None
        )
        if has_changes
        else None
    )
    needed = set(room_state_changes.senders(part))
    if not knows_state:
        needed.add(asked.user_id)
    if summary is not None:
        needed.update(summary.heroes or ())
    entries = _entries(asked, room_id, part, needed, is_whole=not knows_state)
    is_limited = part.is_limited or (is_fresh and not asked.is_initial)
    moved = room_state_changes.joins_and_leaves(view, part)
    return RoomPart(room_id, part, list(entries.values()), is_limited, summary, frozenset(moved))


def load_left(view: View, asked: Asked, left: Membership, ignored: frozenset[UserId]) -> RoomPart:
    """Read what happened in a room up to the moment the owner was out of it: perhaps nothing."""
    after = min(asked.after, left.position)
    known_at = None if asked.is_initial else after
    span = Span(left.room_id, after, left.position, known_at)
    wanted = asked.wish.filter.room.timeline
    part = timelines.load_slice(view, asked.user_id, span, wanted, ignored)
    departure = timelines.find_end_outside(view, left) if left.position > after else None
    if departure is not None:
        is_shown = timelines.passes(wanted, ignored, departure)
        part = timelines.ended_by(part, departure, is_shown=is_shown)
    needed = room_state_changes.senders(part)
    entries = _entries(asked, left.room_id, part, needed, is_whole=known_at is None)
    return RoomPart(left.room_id, part, list(entries.values()), part.is_limited)


def _entries(
    asked: Asked, room_id: RoomId, part: Slice, needed: Iterable[UserId], *, is_whole: bool
) -> Entries:
    wanted = asked.wish.filter.room.state
    if not wanted.allows_room(room_id):
        return {}
    uses_end = asked.wish.uses_state_after
    entries = (
        room_state_changes.after_timeline(part)
        if uses_end
        else room_state_changes.before_timeline(part)
    )
    if wanted.lazy_load_members:
        entries = _with_members(asked, room_id, part, entries, needed, is_whole=is_whole)
    return room_state_changes.allowed(entries, wanted)


def _with_members(
    asked: Asked,
    room_id: RoomId,
    part: Slice,
    entries: Entries,
    needed: Iterable[UserId],
    *,
    is_whole: bool,
) -> Entries:
    """The members a lazy client needs, without those that it was told of already.

    Spec: client-server-api#lazy-loading-room-members
    """
    told, mark = asked.told_members, (asked.after, 0)
    is_plain = is_whole or asked.wish.filter.room.state.include_redundant_members
    chosen = room_state_changes.with_members(
        entries,
        part,
        needed,
        is_whole=is_whole,
        uses_end=asked.wish.uses_state_after,
        is_known=lambda user, one: not is_plain and told.has(room_id, user, one, mark),
    )
    if is_whole:
        told.forget(room_id)
    members = {UserId(key[1]): one for key, one in chosen.items() if key[0] == MEMBER}
    told.note(room_id, members, (asked.until, 0))
    return chosen
