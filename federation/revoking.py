"""What a revoke does beyond the channel: to shared rooms and, if the owner wishes, to what we hold.

Says in plain words what happens, and beforehand what would. Runs in the unit of work that ends
the connection.
"""

from dataclasses import asdict, dataclass
from typing import Literal

from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import RoomId, ServerName

RoomChoice = Literal["cut", "leave", "eject"]


@dataclass(frozen=True, slots=True)
class AffectedRoom:
    """One shared room and what becomes of it, in a sentence."""

    room_id: RoomId
    name: str
    others: tuple[ServerName, ...]  # third servers, which hear both sides
    what: str


@dataclass(frozen=True, slots=True)
class RevokeReport:
    """What a revoke did, or would do, for the owner to read."""

    server_name: ServerName
    name: str
    is_dry_run: bool
    rooms: tuple[AffectedRoom, ...]
    deleted: tuple[str, ...]
    cannot_be_taken_back: tuple[str, ...]
    can_pass_on: tuple[str, ...]

    def to_json(self) -> JsonObject:
        """As the admin API shows it."""
        return asdict(self)
