"""Whether what leaves a server is what its owner lets the other side learn.

What a peer may *send* is cut where it is taken in; there the owners' clients show it. What a server
gives away of its own, and what it asks for, is watched here, when it first leaves: presence,
answers, routes, files, and what is of rooms in which the other side has never been.
"""

from collections.abc import Iterator
from typing import Any

from homeserver.matrix.identifiers import RoomId, ServerName
from homeserver.storage import meetings, peers, sharing
from homeserver.storage.peers import Peer
from homeserver.testing.answer_watch import AnswerWatch
from homeserver.testing.introduction_watch import IntroductionWatch
from homeserver.testing.letters import Letter
from homeserver.testing.simulated_server import SimulatedServer


class GrantWatch:
    """Sees every letter, and remembers what questions and wishes were about."""

    def __init__(self) -> None:
        self._answers = AnswerWatch()
        self._introductions = IntroductionWatch()

    def breaches(
        self, letter: Letter, source: SimulatedServer, target: SimulatedServer
    ) -> Iterator[str]:
        """What of it the sender's owner has not granted."""
        ours = _peer(source, target)
        theirs = _peer(target, source) if target.is_running else None
        told = [
            *self._answers.beyond(letter, (source, target), ours, theirs),
            *self._introductions.beyond(letter, source, target, ours),
        ]
        if ours is not None:
            told += _beyond(letter, source, target, ours)
        for what in told:
            yield f"{source.name} sent {target.name} {what}, which is not granted"


def _peer(source: SimulatedServer, target: SimulatedServer) -> Peer | None:
    name = ServerName(target.server_name)
    return source.built.database.read(lambda view: peers.find_peer(view, name))


def _beyond(
    letter: Letter, source: SimulatedServer, target: SimulatedServer, peer: Peer
) -> Iterator[str]:
    if _tells_routes(letter) and not peer.is_granted("route"):
        yield "its routes"
    kinds = {edu.get("edu_type") for edu in letter.listed("edus")}
    if "m.presence" in kinds and not peer.is_granted("presence"):
        yield "presence"
    for room_id in sorted(_rooms(letter)):
        if not _was_there(source, target, room_id):
            yield f"something of the room {room_id}, in which nobody of it has been"
        elif not _is_carried(source, target, room_id):
            yield f"something of the room {room_id}, in which they have not met"


def _tells_routes(letter: Letter) -> bool:
    return any(body.get("routes") for body in letter.controls("routes"))


def _rooms(letter: Letter) -> set[str]:
    """The rooms of which a transaction says something."""
    # A room of version 12 is named by its first event, which therefore names none.
    found = {pdu["room_id"] for pdu in letter.listed("pdus") if "room_id" in pdu}
    for edu in letter.listed("edus"):
        content: Any = edu.get("content")
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


def _is_carried(source: SimulatedServer, target: SimulatedServer, room_id: str) -> bool:
    """Whether the connection is for this room: one that was made for rooms is for those only."""
    name = ServerName(target.server_name)
    return source.built.database.read(lambda view: meetings.is_carried(view, RoomId(room_id), name))
