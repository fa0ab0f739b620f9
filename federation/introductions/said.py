"""The control messages of introductions, with the grant that each needs. Pure."""

from pydantic import Field

from federation import payloads
from federation.payloads import CONNECTION, NAME_CHARACTERS, Payload
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import RoomId, ServerName
from homeserver.storage import meetings

WISH, INTRODUCTION, ROOM_AGREED = meetings.WISH, "introduction", "room_agreed"
_NAME = 255


@payloads.register(f"control.{WISH}")
class WishTold(Payload):
    """To a common peer: pass this note to somebody in the room, if that one has the same wish."""

    grant = CONNECTION

    target: ServerName = Field(max_length=_NAME)
    room_id: RoomId = Field(max_length=_NAME)
    note: JsonObject


@payloads.register(f"control.{INTRODUCTION}")
class IntroductionTold(Payload):
    """From the common peer: the other one's note, and what the common peer calls him."""

    grant = "introduce"

    room_id: RoomId = Field(max_length=_NAME)
    called: str = Field(max_length=NAME_CHARACTERS)
    note: JsonObject


@payloads.register(f"control.{ROOM_AGREED}")
class RoomAgreedTold(Payload):
    """Over a connection made for rooms: the sender's owner agrees to one more."""

    grant = CONNECTION

    room_id: RoomId = Field(max_length=_NAME)
