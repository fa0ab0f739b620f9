"""Whether what leaves a server is what its owner lets the other side learn.

What a peer may *send* is cut where it is taken in; there the owners' clients show it. What a server
gives away of its own is watched here, when it first leaves: presence, answers, routes, and room
events and what is fleeting in rooms that the other side has never been in.
"""

from collections.abc import Iterator
from typing import Any

from federation.payloads import OPERATIONS
from homeserver.matrix.identifiers import RoomId, ServerName
from homeserver.storage import peers, sharing
from homeserver.storage.peers import Peer
from homeserver.testing.letters import Letter
from homeserver.testing.simulated_server import SimulatedServer

_MOST_ASKS = 10_000


class GrantWatch:
    """Remembers what was asked, to see which question an answer belongs to."""

    def __init__(self) -> None:
        # By who was asked, who asked, and the question: its operation, and whether it was granted.
        self._asked: dict[tuple[str, str, str], tuple[str, bool]] = {}

    def breaches(
        self, letter: Letter, source: SimulatedServer, target: SimulatedServer
    ) -> Iterator[str]:
        """What of it the sender's owner has not granted."""
        peer = _peer(source, target)
        if letter.kind == "ask":
            self._note_asks(letter, source, target)
        if peer is None:
            return
        for what in self._beyond(letter, source, target, peer):
            yield f"{source.name} sent {target.name} {what}, which is not granted"

    def _note_asks(self, letter: Letter, source: SimulatedServer, target: SimulatedServer) -> None:
        granter = _peer(target, source) if target.is_running else None
        for ask in _listed(letter.body, "asks"):
            operation = str(ask.get("operation"))
            grant = OPERATIONS.get(operation)
            may = granter is None or grant is None or granter.may(grant)
            self._asked[target.name, source.name, str(ask.get("id"))] = operation, may
        while len(self._asked) > _MOST_ASKS:
            self._asked.pop(next(iter(self._asked)))

    def _beyond(
        self, letter: Letter, source: SimulatedServer, target: SimulatedServer, peer: Peer
    ) -> Iterator[str]:
        if letter.kind == "answer":
            yield from self._beyond_answers(letter, source, target, peer)
        if _tells_routes(letter) and not peers.permits(peer.grants, "route"):
            yield "its routes"
        kinds = {edu.get("edu_type") for edu in _listed(letter.body, "edus")}
        if "m.presence" in kinds and not peers.permits(peer.grants, "presence"):
            yield "presence"
        for room_id in sorted(_rooms(letter)):
            if not _was_there(source, target, room_id):
                yield f"something of the room {room_id}, in which nobody of it has been"

    def _beyond_answers(
        self, letter: Letter, source: SimulatedServer, target: SimulatedServer, peer: Peer
    ) -> Iterator[str]:
        for answer in _listed(letter.body, "answers"):
            key = source.name, target.name, str(answer.get("id"))
            operation, was_granted = self._asked.pop(key, ("", True))
            grant = OPERATIONS.get(operation)
            if answer.get("body") is None or grant is None:
                continue  # a refusal says nothing
            if not was_granted and not peer.may(grant):  # an edit may be in flight
                yield f"an answer to {operation}"


def _peer(source: SimulatedServer, target: SimulatedServer) -> Peer | None:
    name = ServerName(target.server_name)
    return source.built.database.read(lambda view: peers.find_peer(view, name))


def _tells_routes(letter: Letter) -> bool:
    return letter.kind == "control" and any(
        item.get("kind") == "routes" and (item.get("body") or {}).get("routes")
        for item in _listed(letter.body, "items")
    )


def _rooms(letter: Letter) -> set[str]:
    """The rooms of which a transaction says something."""
    # A room of version 12 is named by its first event, which therefore names none.
    found = {pdu["room_id"] for pdu in _listed(letter.body, "pdus") if "room_id" in pdu}
    for edu in _listed(letter.body, "edus"):
        content = edu.get("content")
        if edu.get("edu_type") == "m.typing" and isinstance(content, dict):
            found.add(str(content.get("room_id")))
        elif edu.get("edu_type") == "m.receipt" and isinstance(content, dict):
            found |= content.keys()
    return found


def _was_there(source: SimulatedServer, target: SimulatedServer, room_id: str) -> bool:
    name = ServerName(target.server_name)
    return bool(
        source.built.database.read(lambda view: sharing.stays_of(view, RoomId(room_id), name))
    )


def _listed(body: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = body.get(name)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
