"""Rooms whose people we are not all connected to: the owner decides before we join.

Connections are pairwise: a room with a stranger in it works only as far as others pass things on.
"""

from collections.abc import Iterable

from federation.introductions import deciding
from homeserver import errors
from homeserver.matrix.identifiers import RoomId, ServerName
from homeserver.ports import Clock
from homeserver.storage import meetings, notices
from homeserver.storage.database import Database
from homeserver.storage.meetings import Meeting, RoomRequest
from homeserver.storage.unit_of_work import UnitOfWork

_MOST_ASKED_ABOUT = 50


class Entrance:
    """Stands between make_join's answer and our signature."""

    def __init__(self, database: Database, clock: Clock, own: ServerName, policy: str) -> None:
        self._database = database
        self._clock = clock
        self._own = own
        self._policy = policy

    async def check(
        self, peer: ServerName, room_id: RoomId, membership: str, present: Iterable[str]
    ) -> None:
        """Raise Forbidden, naming the strangers, unless the owner agrees to meet them all.

        With `ask` the wish is kept: once the owner has agreed, the server joins by itself.
        """
        if self._policy == "accept":
            return
        servers = {ServerName(one) for one in present}
        strangers = self._database.read(
            lambda view: deciding.strangers_among(view, room_id, servers, self._own)
        )
        if not strangers:
            return
        sentence = (
            "There are people in that room whose servers yours is not connected to: "
            f"{deciding.named(strangers)}."
        )
        if self._policy == "refuse" or len(strangers) > _MOST_ASKED_ABOUT:
            raise errors.Forbidden(f"{sentence} Connect with them first.")
        request = RoomRequest(room_id, peer, membership, is_agreed=False, at=self._clock.now_ms())
        await self._database.write(lambda work: _ask_owner(work, request, strangers))
        raise errors.Forbidden(
            f"{sentence} You are asked in your Connections room whether you want to meet them; "
            "once you agree, your server goes on by itself."
        )


def _ask_owner(work: UnitOfWork, request: RoomRequest, strangers: list[ServerName]) -> None:
    """Keep the wish, and ask; who asks for the same again is not told twice."""
    is_news = meetings.find_request(work, request.room_id) is None
    for server in strangers:
        known = meetings.find(work, server, request.room_id)
        if known is None or known.state != meetings.ASKED:
            is_news = True
            is_theirs = known is not None and known.is_theirs
            asked = Meeting(server, request.room_id, meetings.ASKED, is_theirs, "", request.at)
            meetings.save(work, asked)
    meetings.save_request(work, request)
    if is_news:
        content = {"room_id": request.room_id, "servers": strangers}
        notices.tell_owner(work, request.at, deciding.ROOM_REQUEST, "", content)
