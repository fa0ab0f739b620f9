"""Typing: what our user does is told to the room's servers at once or never.

Spec: client-server-api#typing-notifications, server-server-api#typing-notifications
"""

from homeserver import errors
from homeserver.ephemeral import audience
from homeserver.ephemeral.typing_board import TypingBoard
from homeserver.matrix import identifiers
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import RoomId, ServerName, UserId
from homeserver.ports import PeerNetwork, Requester
from homeserver.storage.database import Database

# A peer does not say how long; its clients repeat themselves more often than this.
_FROM_PEER_MS = 30_000


class Typing:
    """Tells and hears who is typing."""

    def __init__(self, database: Database, board: TypingBoard, peers: PeerNetwork) -> None:
        self.board = board
        self._database = database
        self._peers = peers

    def set_typing(
        self, requester: Requester, room_id: RoomId, user_id: str, timeout_ms: int | None
    ) -> None:
        """Say that the user types for so many milliseconds, or stopped (None).

        Spec: client-server-api#put_matrixclientv3roomsroomidtypinguserid
        """
        if user_id != requester.user_id:
            raise errors.Forbidden("You may speak for yourself only.")
        if not self._database.read(lambda view: audience.is_in(view, room_id, requester.user_id)):
            raise errors.NotInRoom
        self.board.set(room_id, requester.user_id, timeout_ms)
        told = {
            "room_id": room_id,
            "user_id": requester.user_id,
            "typing": timeout_ms is not None,
        }
        # Told again with each repetition: the peer's server forgets after a while.
        for peer in self._database.read(lambda view: audience.peers_in(view, room_id, "typing")):
            self._peers.tell_now(peer, {"edu_type": "m.typing", "content": told})

    def take_in_typing(self, peer: ServerName, edu: JsonObject) -> bool:
        """Believe what a peer says of its own user; False where it is none or not in the room."""
        content = edu.get("content")
        if not isinstance(content, dict):
            return False
        room_id, user_id, is_typing = (content.get(k) for k in ("room_id", "user_id", "typing"))
        if not isinstance(room_id, str) or not isinstance(user_id, str):
            return False
        if not identifiers.is_user_id(user_id) or identifiers.server_of(user_id) != peer:
            return False
        room, user = RoomId(room_id), UserId(user_id)
        if not self._database.read(lambda view: audience.is_heard(view, room, user)):
            return False
        self.board.set(room, user, _FROM_PEER_MS if is_typing is True else None)
        return True
