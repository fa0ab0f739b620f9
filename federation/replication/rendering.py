"""What a room has for a peer: our own events, as far as its server was in the room then."""

from collections.abc import Sequence

from federation.replication import access
from homeserver.config import FederationSettings
from homeserver.matrix import canonical_json
from homeserver.matrix.identifiers import RoomId, ServerName
from homeserver.storage import sharing
from homeserver.storage.sharing import Audience
from homeserver.storage.unit_of_work import View


class OwnEvents:
    """Finds the events that the outbox sends; implements `filling.RoomSource`."""

    def __init__(self, settings: FederationSettings) -> None:
        self._settings = settings

    def pdus_for(
        self, view: View, peer: ServerName, room_id: RoomId, after: int, limit: int
    ) -> Sequence[tuple[int, bytes]]:
        """The first events after a position that are due to the peer: position, PDU as JSON.

        A connection made for one room carries that room only.
        """
        if not access.is_carried(view, room_id, peer):
            return ()
        found = sharing.own_events_after(view, room_id, after, limit, peer)
        return [
            (stored.point.position, canonical_json.encode_checked(stored.event.pdu))
            for stored in found
        ]

    def catch_up_from(self, view: View, peer: ServerName, room_id: RoomId, after: int) -> int:
        """Where to begin after a long absence: the newest go first, the peer asks for the rest."""
        most, newest = self._settings.catch_up_events, self._settings.catch_up_newest
        positions = sharing.newest_own_positions(view, room_id, after, most + 1, peer)
        return positions[newest] if len(positions) > most else after

    def audience(self, view: View, room_id: RoomId) -> Audience:
        """Whom what is said in the room now reaches."""
        return sharing.audience_of(view, room_id)
