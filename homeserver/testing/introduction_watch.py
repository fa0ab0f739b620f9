"""Whether people are introduced as their grants and their wishes allow.

Only who may introduce an owner hears whom that owner would like to meet; and nobody hears of a wish
that is not their own.
"""

from collections.abc import Iterator
from typing import Any

from federation import identity
from federation.identity import BadIdentity
from federation.introductions import said
from homeserver.storage.peers import Peer
from homeserver.testing.letters import Letter
from homeserver.testing.simulated_server import SimulatedServer

_MOST_WISHES = 10_000


class IntroductionWatch:
    """Remembers who has asked whom to be introduced to whom, and in which room."""

    def __init__(self) -> None:
        # By who was asked, who asked, whom they want to meet, and the room.
        self._wishes: dict[tuple[str, str, str, str], None] = {}

    def beyond(
        self, letter: Letter, source: SimulatedServer, target: SimulatedServer, peer: Peer | None
    ) -> Iterator[str]:
        """What of a letter is not granted, or was not asked for."""
        for wish in letter.controls(said.WISH):
            whom, room_id = str(wish.get("target")), str(wish.get("room_id"))
            self._wishes[target.server_name, source.server_name, whom, room_id] = None
            if peer is None or not peer.is_granted("introduce"):
                yield "a wish to be introduced"
        while len(self._wishes) > _MOST_WISHES:
            self._wishes.pop(next(iter(self._wishes)))
        for introduction in letter.controls(said.INTRODUCTION):
            whom, room_id = _writer(introduction.get("note")), str(introduction.get("room_id"))
            if (source.server_name, target.server_name, whom, room_id) not in self._wishes:
                yield f"an introduction to {whom}, for which it has not asked"


def _writer(note: Any) -> str:
    """Whose note it is."""
    try:
        return str(identity.verify_proof(note["proof"]).server_name)
    except (BadIdentity, KeyError, TypeError):
        return "nobody"
