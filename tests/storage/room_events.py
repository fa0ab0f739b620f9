"""Events and rooms made from thin air, for queries that do not look at their meaning."""

from homeserver.matrix import events as matrix_events
from homeserver.matrix import signing
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.events import Draft, Event
from homeserver.matrix.identifiers import RoomId, ServerName, UserId
from homeserver.matrix.room_versions import ROOM_VERSIONS
from homeserver.storage.rooms import Membership

ROOM = RoomId("!room:alice.test")
ALICE = UserId("@alice:alice.test")
BOB = UserId("@bob:bob.test")
KEY = signing.generate(b"k" * 32, "1")


def event(
    number: int,
    content: JsonObject | None = None,
    *,
    room_id: RoomId = ROOM,
    sender: UserId = ALICE,
    kind: tuple[str, str | None] = ("m.room.message", None),
) -> Event:
    """An event of its own; the number makes it differ from the others."""
    draft = Draft(
        room_id=room_id,
        sender=sender,
        type=kind[0],
        state_key=kind[1],
        content=content or {"body": str(number)},
        prev_events=(),
        auth_events=(),
        depth=number,
        origin_server_ts=number,
    )
    return matrix_events.build(draft, ROOM_VERSIONS["11"], ServerName("alice.test"), KEY)


def member(number: int, user_id: UserId, value: str = "join", room_id: RoomId = ROOM) -> Membership:
    """A membership without an event behind it."""
    about = event(number, {"membership": value}, kind=("m.room.member", user_id))
    return Membership(room_id, user_id, value, about.event_id, number)
