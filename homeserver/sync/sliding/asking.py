"""What one answer of sliding sync is made from."""

from dataclasses import dataclass

from homeserver.matrix.identifiers import RoomId, UserId
from homeserver.ports import Requester
from homeserver.storage.rooms import Membership
from homeserver.storage.sync_connections import ToldRoom
from homeserver.sync.asking import SyncSources
from homeserver.sync.sliding.connections import Connection
from homeserver.sync.sliding.positions import Pos
from homeserver.sync.sliding.request import RoomConfig, SlidingRequest
from homeserver.sync.sliding.required_state import NOTHING, RequiredState


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, who makes it on which connection, and up to where it is answered now."""

    requester: Requester
    request: SlidingRequest
    pos: Pos | None
    connection: Connection
    until: int
    typing_until: int  # where typing stood; taken beforehand, so that nothing is told too late
    now_ms: int
    sources: SyncSources

    @property
    def after(self) -> int:
        """Up to where the device knows what it was told about; 0 where it knows nothing."""
        return self.pos.position if self.pos is not None else 0

    @property
    def version(self) -> int:
        """The version of the connection that the device has."""
        return self.pos.version if self.pos is not None else 0

    @property
    def user_id(self) -> UserId:
        """Whose device it is."""
        return self.requester.user_id

    def told(self, room_id: RoomId) -> ToldRoom | None:
        """How far the device knows a room; None where it does not."""
        if self.pos is None:
            return None
        return self.connection.find(self.version, room_id)


@dataclass(frozen=True, slots=True)
class RoomPlan:
    """A room to send. `since` is None where the device does not know it yet."""

    membership: Membership
    config: RoomConfig
    since: int | None
    lists: tuple[str, ...] = ()
    # More of the timeline is wanted than before, and this is what was wanted of the state.
    is_expanded: bool = False
    had: RequiredState = NOTHING

    @property
    def room_id(self) -> RoomId:
        """Which room."""
        return self.membership.room_id
