"""Sliding sync, in the form that was accepted and in the one before, which clients speak today.

Spec: MSC4186; docs/sliding-sync.md says where the two forms differ
"""

from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, Field, StrictBool, StrictInt, StrictStr, StringConstraints

from api.routing import Query, Routes
from homeserver import errors
from homeserver.matrix.identifiers import RoomId, parse_opaque_id
from homeserver.ports import Requester
from homeserver.sync.sliding.request import (
    ExtensionWish,
    ListWish,
    RoomConfig,
    RoomFilter,
    SlidingRequest,
)
from homeserver.sync.sliding.required_state import Pattern, RequiredState, Rule
from homeserver.sync.sliding.service import SlidingSync

unstable = Routes("/_matrix/client/unstable/org.matrix.simplified_msc3575")
stable = Routes("/_matrix/client/v4")

_MOST_LISTS = 100
_MOST_SUBSCRIPTIONS = 100
_MOST_PATTERNS = 200
_EXTENSIONS = ("to_device", "e2ee", "account_data", "receipts", "typing", "threads")
# Never had another name, in either form.
_THREADS = "io.element.msc4308.thread_subscriptions"
# The names of those whose proposals are not accepted yet, where the form is the accepted one.
_PREFIXED = {
    "org.matrix.msc4538.to_device": "to_device",
    "org.matrix.msc4543.e2ee": "e2ee",
    "org.matrix.msc4551.receipts": "receipts",
    "org.matrix.msc4508.typing": "typing",
}

_Presence = Literal["offline", "online", "unavailable"]
_Name = Annotated[str, StringConstraints(strict=True, max_length=255)]
_Index = Annotated[int, Field(strict=True, ge=0)]
_Pair = Annotated[list[_Index], Field(min_length=2, max_length=2)]
_OldPattern = Annotated[list[StrictStr], Field(min_length=2, max_length=2)]


class StatePattern(BaseModel):
    """Entries of the state; a field that is left out matches anything."""

    type: StrictStr | None = None
    state_key: StrictStr | None = None


class StateWish(BaseModel):
    """What is wanted of a room's state."""

    include: list[StatePattern] = Field(default=[], max_length=_MOST_PATTERNS)
    exclude: list[StatePattern] = Field(default=[], max_length=_MOST_PATTERNS)
    lazy_members: StrictBool = False


class RoomWish(BaseModel):
    """What is wanted of rooms; the state in either form."""

    timeline_limit: _Index = 0
    required_state: StateWish | Annotated[list[_OldPattern], Field(max_length=_MOST_PATTERNS)] = []


class FilterWish(BaseModel):
    """Which rooms belong in a list."""

    is_dm: StrictBool | None = None
    is_encrypted: StrictBool | None = None
    is_invite: StrictBool | None = None
    is_invited: StrictBool | None = None
    room_types: list[StrictStr | None] | None = None
    not_room_types: list[StrictStr | None] | None = None
    spaces: Annotated[list[StrictStr], Field(max_length=100)] | None = None
    tags: list[StrictStr] | None = None
    not_tags: list[StrictStr] | None = None
    room_name_like: StrictStr | None = None


class WindowWish(RoomWish):
    """A list and the windows that are looked at."""

    ranges: Annotated[list[_Pair], Field(max_length=100)] | None = None
    range: _Pair | None = None
    slow_get_all_rooms: StrictBool = False
    filters: FilterWish | None = None


class Extension(BaseModel):
    """An extension; what some of them do not have, others ignore."""

    enabled: StrictBool | None = False
    lists: list[StrictStr] | None = None
    rooms: list[StrictStr] | None = None
    limit: StrictInt = 100
    since: StrictStr | None = None


class SlidingBody(BaseModel):
    """A request's body. The accepted form has the position here and not in the query."""

    conn_id: _Name | None = None
    pos: StrictStr | None = None
    timeout: _Index = 0
    set_presence: StrictStr = "online"
    lists: dict[_Name, WindowWish] | None = None
    room_subscriptions: dict[StrictStr, RoomWish] | None = None
    extensions: dict[str, Any] | None = None


class SlidingQuery(BaseModel):
    """The parameters that stood in the query before."""

    pos: str | None = None
    timeout: int | None = Field(default=None, ge=0)
    set_presence: _Presence | None = None


@stable.post("/sync")
async def sync(requester: Requester, body: SlidingBody, sliding: SlidingSync) -> bytes:
    """The rooms in sight and what is new in them."""
    return await sliding.answer(requester, read(requester, body, is_stable=True))


@unstable.post("/sync")
async def sync_as_before(
    requester: Requester, query: Query[SlidingQuery], body: SlidingBody, sliding: SlidingSync
) -> bytes:
    """The same, in the form that came before."""
    found = {name: value for name, value in query if value is not None}
    whole = body.model_copy(update=found)
    return await sliding.answer(requester, read(requester, whole, is_stable=False))


def read(requester: Requester, body: SlidingBody, *, is_stable: bool) -> SlidingRequest:
    """What a request's body asks for, in either form."""
    lists, rooms = body.lists or {}, body.room_subscriptions or {}
    if len(lists) > _MOST_LISTS or len(rooms) > _MOST_SUBSCRIPTIONS:
        raise errors.InvalidParam("A request may have 100 lists and 100 subscriptions.")
    if body.set_presence not in get_args(_Presence):
        raise errors.InvalidParam("There is no such presence.")
    if is_stable:
        # Clients that speak the form before name their things as they like.
        for name in (*lists, *([body.conn_id] if body.conn_id else [])):
            parse_opaque_id(name)
    return SlidingRequest(
        is_stable,
        body.pos or None,
        body.conn_id or "",
        body.timeout,
        body.set_presence,
        {name: _list(requester, wish) for name, wish in lists.items()},
        {RoomId(room_id): _config(requester, wish) for room_id, wish in rooms.items()},
        _extensions(body.extensions or {}, is_stable=is_stable),
    )


def _list(requester: Requester, wish: WindowWish) -> ListWish:
    ranges = [wish.range] if wish.range is not None else wish.ranges
    if any(first > last for first, last in ranges or ()):
        raise errors.InvalidParam("A range ends before it begins.")
    is_whole = ranges is None or wish.slow_get_all_rooms
    return ListWish(
        _config(requester, wish),
        _filter(wish.filters or FilterWish()),
        None if is_whole else tuple((first, last) for first, last in ranges or ()),
    )


def _filter(wish: FilterWish) -> RoomFilter:
    return RoomFilter(
        wish.is_dm,
        wish.is_encrypted,
        wish.is_invite if wish.is_invited is None else wish.is_invited,
        None if wish.room_types is None else frozenset(wish.room_types),
        frozenset(wish.not_room_types or ()),
        None if wish.spaces is None else frozenset(wish.spaces),
        None if wish.tags is None else frozenset(wish.tags),
        frozenset(wish.not_tags or ()),
        wish.room_name_like,
    )


def _config(requester: Requester, wish: RoomWish) -> RoomConfig:
    required = wish.required_state
    if isinstance(required, StateWish):
        include, exclude = _patterns(required.include), _patterns(required.exclude)
        rules = frozenset({Rule(include, exclude)} if include else ())
        return RoomConfig(wish.timeline_limit, RequiredState(rules, required.lazy_members))
    return RoomConfig(wish.timeline_limit, _as_before(requester, required))


def _patterns(wishes: list[StatePattern]) -> frozenset[Pattern]:
    return frozenset((one.type, one.state_key) for one in wishes)


def _as_before(requester: Requester, wanted: list[list[str]]) -> RequiredState:
    """The state in the form before: pairs, in which `*`, `$ME` and `$LAZY` mean something.

    Beside a pair that matches everything, the others say which ones of their types are wanted.
    """
    pairs = {(kind, key) for kind, key in wanted}
    is_lazy = ("m.room.member", "$LAZY") in pairs
    named = {
        (kind, requester.user_id if key == "$ME" else key)
        for kind, key in pairs
        if (kind, key) != ("*", "*") and key != "$LAZY"
    }
    rules = {Rule(frozenset((_any(kind), _any(key)) for kind, key in named))} if named else set()
    if ("*", "*") in pairs:
        limited = {(kind, None) for kind, _ in pairs if kind != "*"}
        rules.add(Rule(frozenset({(None, None)}), frozenset(limited)))
    return RequiredState(frozenset(rules), is_lazy)


def _any(text: str) -> str | None:
    return None if text == "*" else text


def _extensions(wished: dict[str, Any], *, is_stable: bool) -> dict[str, ExtensionWish]:
    """Those that are enabled and known; the others are passed over."""
    found: dict[str, ExtensionWish] = {}
    for key, wish in wished.items():
        name = "threads" if key == _THREADS else _PREFIXED.get(key, key) if is_stable else key
        if name not in _EXTENSIONS or not isinstance(wish, dict):
            continue
        parsed = _parse(wish)
        if parsed.enabled:
            found[name] = ExtensionWish(
                key, _names(parsed.lists), _names(parsed.rooms), _limit(parsed), parsed.since
            )
    return found


def _parse(wish: dict[str, Any]) -> Extension:
    try:
        return Extension.model_validate(wish)
    except ValueError:
        raise errors.InvalidParam("An extension is not asked for like that.") from None


def _limit(wish: Extension) -> int:
    if wish.limit < 1:
        raise errors.InvalidParam("A limit is at least 1.")
    return wish.limit


def _names(wished: list[str] | None) -> frozenset[str] | None:
    return None if wished is None or "*" in wished else frozenset(wished)
