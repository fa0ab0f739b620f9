"""The room in which the server speaks to its owner: built here, and told of new devices."""

from collections.abc import Mapping
from typing import Any

from federation import told_grants
from federation.connections_room.obeying import Obeying, Owners
from federation.connections_room.room import OwnersRoom
from federation.connections_room.worker import ConnectionsRoom
from federation.introductions.meeting import Enter
from federation.introductions.strangers import Strangers
from federation.overview import Overview
from federation.peers import Peers
from homeserver.accounts.account_data import ClientConfig
from homeserver.accounts.login import LogIn
from homeserver.app.foundation import Foundation
from homeserver.matrix.identifiers import DeviceId
from homeserver.media import Media
from homeserver.ports import Requester
from homeserver.rooms import invite_permission
from homeserver.rooms.creating import RoomCreator
from homeserver.rooms.membership import Membership
from homeserver.rooms.sending import RoomSender
from homeserver.storage import accounts, notices
from homeserver.storage.meetings import RoomRequest
from homeserver.storage.unit_of_work import UnitOfWork

# The server acts for its owner without any device.
_NO_DEVICE = DeviceId("")


def entering(base: Foundation, services: Mapping[type, Any]) -> Enter:
    """How the server enters a room by itself, once its owner has agreed to who is there."""

    async def enter(request: RoomRequest) -> None:
        owner = Requester(base.owner, _NO_DEVICE)
        verb = services[Membership].knock if request.membership == "knock" else None
        await (verb or services[Membership].join)(owner, request.room_id, [request.via], {})

    return enter


def build(base: Foundation, services: Mapping[type, Any]) -> ConnectionsRoom:
    """Build it, and let it hear what the owner writes and who logs in."""
    room = OwnersRoom(base.local, base.owner, services[RoomCreator])
    owners = Owners(services[Peers], services[Overview], services[Strangers], services[Media])
    obeying = Obeying(base.database, base.clock, owners)
    built = ConnectionsRoom(base.database, base.clock, room, obeying)
    services[RoomSender].when_sent.append(built.hear)

    def announce(work: UnitOfWork, requester: Requester, name: str | None) -> None:
        """A first device is the owner's own doing; any further one is worth a word."""
        if accounts.list_devices(work, requester.user_id):
            content = {"device_id": requester.device_id, "name": name}
            notices.tell_owner(work, base.clock.now_ms(), "device", "", content)

    services[ClientConfig].when_saved[invite_permission.TYPE] = told_grants.tell_everybody
    services[LogIn].when_new_device.append(announce)
    return built
