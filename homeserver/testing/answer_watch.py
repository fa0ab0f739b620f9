"""Whether questions are asked, and answered, as the grants of both owners allow.

Looks into what is really sent: which fields of a profile, how many bytes of which file, of which
room. An edit may be in flight: what was granted when it was asked, or is when it leaves, counts.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from federation import payloads
from federation.payloads import OPERATIONS
from homeserver.matrix.identifiers import RoomId, ServerName
from homeserver.storage import meetings, room_media
from homeserver.storage.peers import Peer
from homeserver.testing.letters import Letter
from homeserver.testing.simulated_server import SimulatedServer

_MOST_ASKS = 10_000
_PROFILE, _FILE = "query/profile", "media/download"
_NAME = "displayname"
# Who asks, and who is asked; or who answers, and who is answered.
Way = tuple[SimulatedServer, SimulatedServer]


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question, and what each of the two let the other do when it was asked."""

    operation: str
    body: dict[str, Any]
    asker: Peer | None  # as the one who is asked has it
    asked: Peer | None  # as the one who asks has it


class AnswerWatch:
    """Remembers what was asked, to see which question an answer belongs to."""

    def __init__(self) -> None:
        # By who was asked, who asked, and the question's own name.
        self._asked: dict[tuple[str, str, str], _Asked] = {}

    def beyond(
        self, letter: Letter, way: Way, ours: Peer | None, theirs: Peer | None
    ) -> Iterator[str]:
        """What of a letter is not granted. `ours` is what its sender has about its reader."""
        source, target = way
        for ask in letter.listed("asks") if letter.kind == "ask" else ():
            operation, body = str(ask.get("operation")), _object(ask.get("body"))
            key = target.name, source.name, str(ask.get("id"))
            self._asked[key] = _Asked(operation, body, theirs, ours)
            if ours is not None:
                yield from _beyond_ask(source, operation, body, ours)
        while len(self._asked) > _MOST_ASKS:
            self._asked.pop(next(iter(self._asked)))
        for answer in letter.listed("answers") if letter.kind == "answer" else ():
            asked = self._asked.pop((source.name, target.name, str(answer.get("id"))), None)
            # A refusal says nothing.
            if asked is not None and ours is not None and isinstance(answer.get("body"), dict):
                yield from _beyond_answer(source, asked, answer, ours)
                yield from _beyond_size(asked, answer, theirs)


def _beyond_ask(
    source: SimulatedServer, operation: str, body: dict[str, Any], peer: Peer
) -> Iterator[str]:
    if operation == _FILE and not peer.is_granted("media"):
        yield "a question for a file"
    if peer.room_id is not None and operation in payloads.BEYOND_ROOMS:
        yield f"{operation} over a connection made for rooms"
    yield from _of_another_room(source, operation, body, peer)


def _beyond_answer(
    source: SimulatedServer, asked: _Asked, answer: dict[str, Any], peer: Peer
) -> Iterator[str]:
    grant = OPERATIONS.get(asked.operation)
    if grant is None:
        return
    # Of one who was down when it was asked nobody knows what it granted then.
    was_granted = asked.asker is None or asked.asker.may(grant)
    is_of_rooms = peer.room_id is not None and asked.operation in payloads.BEYOND_ROOMS
    if is_of_rooms or not (was_granted or peer.may(grant)):
        yield f"an answer to {asked.operation}"
    elif asked.operation == _PROFILE:
        then = asked.asker or peer
        for field in sorted(answer["body"]):
            if not (_may_see(then, field) or _may_see(peer, field)):
                yield f"{field} of a profile"
    elif asked.operation == _FILE and not _is_file_of_rooms(source, asked, peer):
        yield "a file of other rooms"
    yield from _of_another_room(source, f"an answer to {asked.operation}", asked.body, peer)


def _may_see(peer: Peer, field: str) -> bool:
    """Whether somebody may see this field of our profile."""
    granted = peer.grants.get("profile") if peer.is_granted("profile") else "none"
    return granted == "all" or (granted == "name" and field == _NAME)


def _beyond_size(asked: _Asked, answer: dict[str, Any], theirs: Peer | None) -> Iterator[str]:
    """Bytes of a file that is larger than its asker lets whoever is asked send.

    Of what comes in parts those before count, too, whatever size the answer tells.
    """
    attached = int(answer.get("attached", 0))
    if asked.operation != _FILE or not attached:
        return
    granters = [one for one in (asked.asked, theirs) if one is not None]
    most = max((one.grants["media_max_bytes"] for one in granters), default=attached)
    size = max(_number(answer["body"].get("size")), _number(asked.body.get("offset")) + attached)
    if size > most:
        yield f"{attached} bytes of a file of {size}"


def _is_file_of_rooms(source: SimulatedServer, asked: _Asked, peer: Peer) -> bool:
    """Whether whom its owner met in rooms may have a file: one that other rooms name is theirs."""
    media_id, own = str(asked.body.get("media_id")), ServerName(source.server_name)
    naming = source.built.database.read(lambda view: room_media.rooms_naming(view, own, media_id))
    return not naming or any(_is_carried(source, room_id, peer) for room_id in naming)


def _of_another_room(
    source: SimulatedServer, what: str, body: dict[str, Any], peer: Peer
) -> Iterator[str]:
    room_id = body.get("room_id")
    if room_id is not None and not _is_carried(source, str(room_id), peer):
        yield f"{what} about the room {room_id}, in which they have not met"


def _is_carried(source: SimulatedServer, room_id: str, peer: Peer) -> bool:
    return peer.room_id is None or source.built.database.read(
        lambda view: meetings.is_carried(view, RoomId(room_id), peer.server_name)
    )


def _object(given: Any) -> dict[str, Any]:
    return given if isinstance(given, dict) else {}


def _number(given: Any) -> int:
    return given if isinstance(given, int) else 0
