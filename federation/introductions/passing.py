"""The common peer: passes two notes on once both sides have asked, and keeps nothing.

Nobody hears of a wish that is not his own, so nobody learns who would like to meet him.
"""

import orjson

from federation import payloads
from federation.introductions import said
from federation.introductions.said import WishTold
from federation.turn_state import Party
from homeserver import errors
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import ServerName
from homeserver.storage import audit, frames, meetings, peers, sharing
from homeserver.storage.meetings import Wish
from homeserver.storage.unit_of_work import UnitOfWork, View

_NOTE_BYTES = 64 * 1024
_LIFETIME_MS = 14 * 86_400_000


class Passing:
    """Brings together who wants to meet."""

    def __init__(self, party: Party) -> None:
        self._party = party

    def take_wish(self, work: UnitOfWork, peer: ServerName, body: JsonObject) -> None:
        """Keep a wish; if the other one has the same, tell both."""
        told = payloads.read(WishTold, body)
        note, now_ms = orjson.dumps(told.note), self._party.clock.now_ms()
        if len(note) > _NOTE_BYTES or told.target in (peer, self._party.own.server_name):
            raise errors.BadJson
        meetings.delete_wishes(work, before=now_ms - _LIFETIME_MS)
        wish = Wish(peer, told.target, told.room_id, note, now_ms)
        if not meetings.save_wish(work, wish):
            raise errors.Conflict("That is too many wishes at once.")
        other = meetings.find_wish(work, told.target, peer, told.room_id)
        if other is not None and self._may_pass(work, wish):
            self._pass(work, wish)
            self._pass(work, other)

    def _may_pass(self, view: View, wish: Wish) -> bool:
        """Both are in a room with us, and connected to us for it."""
        both = {wish.asker, wish.target}
        present = sharing.present_servers(view, wish.room_id)
        if not both | {self._party.own.server_name} <= present:
            return False
        return both <= meetings.carrying(view, wish.room_id) and all(
            peers.is_active(view, server) for server in both
        )

    def _pass(self, work: UnitOfWork, wish: Wish) -> None:
        asker = peers.find_peer(work, wish.asker)
        if asker is None:
            return
        body: JsonObject = {
            "room_id": wish.room_id,
            "called": asker.name[: payloads.NAME_CHARACTERS],
            "note": orjson.loads(wish.note),
        }
        frames.queue_item(work, wish.target, frames.CONTROL, said.INTRODUCTION, body)
        meetings.delete_wish(work, wish)
        entry = audit.Entry(
            at=self._party.clock.now_ms(),
            node_id=asker.node_id,
            server_name=asker.server_name,
            who="peer",
            step="introduced by us",
            how="both asked",
            standing_before=asker.standing,
            standing=asker.standing,
            detail=f"{wish.target} in {wish.room_id}",
        )
        audit.record(work, entry)
