"""What lists are filtered by: facts of a room that its state or the owner's account data tell."""

from collections.abc import Collection
from dataclasses import dataclass

from homeserver.matrix.identifiers import RoomId, UserId
from homeserver.rooms import state, veils
from homeserver.storage import account_data, room_state, rooms
from homeserver.storage.unit_of_work import View
from homeserver.sync.sliding.request import RoomFilter

_ENCRYPTION = ("m.room.encryption", "")
_NAME = ("m.room.name", "")


@dataclass(frozen=True, slots=True)
class Facts:
    """A room's type, whether it is encrypted, and its name."""

    room_type: str | None
    is_encrypted: bool
    name: str


def load_facts(view: View, room_id: RoomId, user_id: UserId) -> Facts:
    """From the room's state, or from what came with an invitation."""
    current = room_state.current_state(view, room_id)
    if not current:
        return _of_invitation(view, room_id, user_id)
    named = [current[key] for key in (state.CREATE, _NAME) if key in current]
    entries = {one.key: one for one in veils.shown_entries(view, user_id, room_id, named)}
    create, name = entries.get(state.CREATE), entries.get(_NAME)
    return Facts(
        _text(create.content.get("type")) if create is not None else None,
        _ENCRYPTION in current,
        _text(name.content.get("name")) or "" if name is not None else "",
    )


def _of_invitation(view: View, room_id: RoomId, user_id: UserId) -> Facts:
    stripped = rooms.find_stripped_state(view, room_id, user_id)
    contents = {entry.get("type"): entry.get("content") or {} for entry in stripped}
    create, name = contents.get("m.room.create", {}), contents.get("m.room.name", {})
    return Facts(
        _text(create.get("type")),
        "m.room.encryption" in contents,
        _text(name.get("name")) or "",
    )


def needs_facts(wanted: RoomFilter) -> bool:
    """Whether a filter looks at the room's state."""
    return (
        wanted.is_encrypted is not None
        or wanted.room_types is not None
        or bool(wanted.not_room_types)
        or wanted.name_like is not None
    )


def facts_pass(wanted: RoomFilter, facts: Facts) -> bool:
    """Whether a room passes as far as its state is concerned."""
    return (
        (wanted.is_encrypted is None or facts.is_encrypted == wanted.is_encrypted)
        and (wanted.room_types is None or facts.room_type in wanted.room_types)
        and facts.room_type not in wanted.not_room_types
        and (wanted.name_like is None or wanted.name_like.lower() in facts.name.lower())
    )


def tags_pass(wanted: RoomFilter, tags: Collection[str]) -> bool:
    """Whether a room passes as far as its tags are concerned; `not_tags` wins."""
    if not wanted.not_tags.isdisjoint(tags):
        return False
    return wanted.tags is None or not wanted.tags.isdisjoint(tags)


def load_direct(view: View, user_id: UserId) -> frozenset[RoomId]:
    """The rooms that the owner's clients hold for direct messages.

    Spec: client-server-api#mdirect
    """
    content = account_data.find_account_data(view, user_id, None, "m.direct") or {}
    return frozenset(
        RoomId(room_id)
        for several in content.values()
        if isinstance(several, list)
        for room_id in several
        if isinstance(room_id, str)
    )


def load_tags(view: View, user_id: UserId, room_id: RoomId) -> frozenset[str]:
    """The tags of one room.

    Spec: client-server-api#room-tagging
    """
    content = account_data.find_account_data(view, user_id, room_id, "m.tag") or {}
    tags = content.get("tags")
    return frozenset(tags) if isinstance(tags, dict) else frozenset()


def children_of(view: View, spaces: Collection[str], user_id: UserId) -> frozenset[str]:
    """The rooms that stand directly in those of these spaces in which the user is.

    Spec: client-server-api#mspacechild
    """
    found: set[str] = set()
    for space_id in spaces:
        membership = rooms.find_membership(view, RoomId(space_id), user_id)
        if membership is None or membership.membership != "join":
            continue
        current = room_state.current_state(view, RoomId(space_id))
        named = [event_id for key, event_id in current.items() if key[0] == "m.space.child"]
        children = veils.shown_entries(view, user_id, RoomId(space_id), named)
        found.update(one.key[1] for one in children if isinstance(one.content.get("via"), list))
    return frozenset(found)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
