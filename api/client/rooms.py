"""Create rooms and upgrade them.

Spec: client-server-api#creation, client-server-api#room-upgrades
"""

from typing import Any, Literal

from pydantic import BaseModel, Field, StrictBool

from api.routing import Routes
from homeserver import errors
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import RoomId, UserId
from homeserver.matrix.room_versions import DEFAULT
from homeserver.ports import Requester
from homeserver.rooms.creating import RoomCreator, Wish
from homeserver.rooms.upgrading import RoomUpgrades

routes = Routes("/_matrix/client/v3", "/_matrix/client/r0")


class InitialState(BaseModel):
    """One event of a new room's state."""

    type: str
    state_key: str = ""
    content: dict[str, Any]


class CreateRoom(BaseModel):
    """The body of createRoom."""

    preset: Literal["private_chat", "trusted_private_chat", "public_chat"] | None = None
    visibility: Literal["private", "public"] = "private"
    room_version: str = DEFAULT
    room_alias_name: str | None = None
    name: str | None = None
    topic: str | None = None
    invite: list[UserId] = Field(default_factory=list)
    invite_3pid: list[Any] = Field(default_factory=list)
    creation_content: dict[str, Any] = Field(default_factory=dict)
    initial_state: list[InitialState] = Field(default_factory=list)
    is_direct: StrictBool = False
    power_level_content_override: dict[str, Any] = Field(default_factory=dict)

    def wish(self) -> Wish:
        """The same in the words of the rooms."""
        if self.invite_3pid:
            raise errors.InvalidParam("This server invites people by user ID only.")
        default = "public_chat" if self.visibility == "public" else "private_chat"
        return Wish(
            preset=self.preset or default,
            version_id=self.room_version,
            creation_content=self.creation_content,
            initial_state=[(one.type, one.state_key, one.content) for one in self.initial_state],
            power_level_override=self.power_level_content_override,
            invite=self.invite,
            is_direct=self.is_direct,
            alias_localpart=self.room_alias_name,
            name=self.name,
            topic=self.topic,
            is_published=self.visibility == "public",
        )


class Upgrade(BaseModel):
    """The version a room shall have, and who else shall stand above all power levels."""

    new_version: str
    additional_creators: list[UserId] = Field(default_factory=list)


@routes.post("/createRoom")
async def create_room(requester: Requester, wanted: CreateRoom, creator: RoomCreator) -> JsonObject:
    """Create a room.

    Spec: client-server-api#post_matrixclientv3createroom
    """
    return {"room_id": await creator.create(requester, wanted.wish())}


@routes.post("/rooms/{room_id}/upgrade")
async def upgrade(
    requester: Requester, room_id: RoomId, wanted: Upgrade, upgrades: RoomUpgrades
) -> JsonObject:
    """Replace a room by one of another version.

    Spec: client-server-api#post_matrixclientv3roomsroomidupgrade
    """
    replacement = await upgrades.upgrade(
        requester, room_id, wanted.new_version, wanted.additional_creators
    )
    return {"replacement_room": replacement}
