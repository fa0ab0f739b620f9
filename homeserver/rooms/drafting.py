"""Events of our own users: given their place in a room's graph, built and appended."""

from dataclasses import dataclass, field

from homeserver import errors
from homeserver.matrix import canonical_json
from homeserver.matrix import events as matrix_events
from homeserver.matrix.canonical_json import MAX_INTEGER, JsonObject
from homeserver.matrix.events import MAX_OWN_PREV_EVENTS, Draft, Event
from homeserver.matrix.identifiers import EventId, RoomId, UserId
from homeserver.matrix.room_versions import room_version
from homeserver.rooms import appending, state
from homeserver.rooms.appending import HERE, Appended, Origin
from homeserver.rooms.local_server import LocalServer
from homeserver.storage import room_state, rooms
from homeserver.storage.rooms import Room
from homeserver.storage.unit_of_work import UnitOfWork, View


@dataclass(frozen=True, slots=True)
class Intent:
    """What somebody wants to say in a room: an event without its place in the graph."""

    sender: UserId
    type: str
    content: JsonObject = field(repr=False)
    state_key: str | None = None
    redacts: EventId | None = None


def membership(
    sender: UserId, user_id: UserId, value: str, content: JsonObject | None = None
) -> Intent:
    """What changes somebody's membership."""
    return Intent(sender, "m.room.member", {**(content or {}), "membership": value}, user_id)


def load_room(view: View, room_id: RoomId) -> Room:
    """A room that we hold; raises `NotInRoom` for any other."""
    room = rooms.find_room(view, room_id)
    if room is None:
        raise errors.NotInRoom
    return room


def is_inside(view: View, room_id: RoomId, local: LocalServer) -> bool:
    """Whether somebody of this server is in a room, so that it takes part in its graph."""
    return rooms.find_room(view, room_id) is not None and any(
        local.owns(user_id) for user_id in rooms.joined_users(view, room_id)
    )


def draft(view: View, room: Room, intent: Intent, now_ms: int) -> Draft:
    """Place an intent after the newest events of a room, citing what allows it there.

    Also the template that `make_join` and its kin answer with.
    """
    version = room_version(room.version_id)
    ends = room.extremities[-MAX_OWN_PREV_EVENTS:]
    before = state.at_ends(view, room, ends)
    cited = (intent.type, intent.sender, intent.state_key, intent.content)
    return Draft(
        room_id=room.room_id,
        sender=intent.sender,
        type=intent.type,
        state_key=intent.state_key,
        content=intent.content,
        prev_events=ends,
        auth_events=state.auth_event_ids(before, cited, version),
        depth=min(room.depth + 1, MAX_INTEGER),
        origin_server_ts=now_ms,
        redacts=intent.redacts,
    )


def standing(view: View, room: Room, intent: Intent) -> Event | None:
    """The event of the room's state that says exactly this already, by the same sender."""
    current = room_state.load_state(view, room.current_state_id)
    entry = state.load_entry(view, current, (intent.type, intent.state_key or ""))
    if entry is None or entry.sender != intent.sender:
        return None
    is_same = canonical_json.encode(entry.content) == canonical_json.encode(intent.content)
    return entry if is_same else None


def say(
    work: UnitOfWork,
    local: LocalServer,
    room: Room,
    intent: Intent,
    now_ms: int,
    origin: Origin = HERE,
) -> tuple[Event, Appended]:
    """Build, sign and append an event of ours; raises `NotAllowed` where the room forbids it."""
    event = build(local, draft(work, room, intent, now_ms), room.version_id)
    return event, appending.append(work, event, origin, room)


def build(local: LocalServer, placed: Draft, version_id: str) -> Event:
    """Hash and sign a draft as this server."""
    version = room_version(version_id)
    return matrix_events.build(placed, version, local.server_name, local.signing_key)
