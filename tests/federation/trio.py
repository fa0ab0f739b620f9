"""Three connected servers that share a room, and somebody who hears what Alice's boxes hold."""

from dataclasses import dataclass, field

import orjson

from federation import envelope as envelopes
from federation.envelope import BadEnvelope, Envelope
from federation.ratchets.interface import Ratchets
from federation.ratchets.libolm import Libolm
from federation.ratchets.vodozemac import Vodozemac
from federation.transport.memory import Passing
from homeserver.storage import frames, groups
from homeserver.storage.groups import GroupSession
from homeserver.storage.sharing import Audience
from homeserver.storage.unit_of_work import UnitOfWork
from tests.federation.conftest import Meeting
from tests.federation.node import ROOM, Node

LIBRARIES: dict[str, list[Ratchets]] = {
    "python-olm": [Libolm()] * 3,
    "vodozemac": [Vodozemac()] * 3,
    "mixed": [Libolm(), Vodozemac(), Libolm()],
}


@dataclass
class Trio:
    """Alice, Bob and Carol."""

    meeting: Meeting
    alice: Node
    bob: Node
    carol: Node
    # The group messages in each of Alice's boxes, by who got it.
    heard: dict[str, list[tuple[bytes, ...]]] = field(default_factory=dict)

    @property
    def nodes(self) -> tuple[Node, Node, Node]:
        return self.alice, self.bob, self.carol

    async def until_heard(self, *texts: str) -> None:
        """Until Bob and Carol have had exactly this from Alice, in this order."""
        listeners = (self.bob, self.carol)
        await self.meeting.clock.until(
            lambda: all(len(node.texts) >= len(texts) for node in listeners), within=86_400 * 40
        )
        await self.meeting.clock.settle()
        assert [node.texts for node in listeners] == [list(texts)] * 2

    def ciphertexts(self, node: Node) -> list[bytes]:
        """The different group messages that Alice sent to a node, in their order."""
        sent = (one for messages in self.heard.get(node.name, []) for one in messages)
        return list(dict.fromkeys(sent))

    async def listen(self, passing: Passing) -> None:
        """Note what Alice's box holds, request or answer."""
        for node in (self.bob, self.carol):
            line = self.alice.federation.lines.find(node.server_name)
            if line is None:
                continue
            key, box = line.theirs.request, passing.box
            if passing.answer is not None:
                key, box = line.ours.answer, passing.answer
            envelope = opened(key, box)
            if envelope is not None and envelope.olm:
                self.heard.setdefault(node.name, []).append(envelope.group_messages)


def opened(key: bytes, box: bytes) -> Envelope | None:
    try:
        return envelopes.open_box(key, box)
    except BadEnvelope:
        return None


async def befriended(
    meeting: Meeting, libraries: list[Ratchets] | None = None, *, may_call_bob: bool = True
) -> Trio:
    """Three servers of which each is connected to each, in a room that they are said to share."""
    ratchets = libraries or LIBRARIES["vodozemac"]
    alice = meeting.node("alice", ratchets=ratchets[0])
    bob = meeting.node("bob", ratchets=ratchets[1], is_reachable=may_call_bob)
    carol = meeting.node("carol", ratchets=ratchets[2])
    for inviter, invitee in ((alice, bob), (alice, carol), (carol, bob)):
        await meeting.connect(inviter, invitee)
    await meeting.clock.advance(5)
    trio = Trio(meeting, alice, bob, carol)
    for node in trio.nodes:
        share(node, *(other for other in trio.nodes if other is not node))
    meeting.network.before = meeting.network.after = trio.listen
    return trio


def share(node: Node, *others: Node, since: int = 0) -> None:
    """Who is in the room with this node, as its own server has it."""
    stays = orjson.dumps(sorted([other.server_name, since] for other in others))
    node.rooms.heard_by = Audience(stays, frozenset(other.server_name for other in others), since)


async def say(node: Node, *texts: str, to: tuple[Node, ...]) -> None:
    """Send events into the shared room, for several peers."""

    def operation(work: UnitOfWork) -> list[tuple[int, bytes]]:
        added = []
        for text in texts:
            pdu = orjson.dumps({"text": text, "room_id": ROOM})
            added.append((work.next_position(), pdu))
            for other in to:
                frames.queue_room(work, other.server_name, ROOM)
        node.rooms.events.extend(added)
        return added

    await node.database.write(operation)


def session_of(node: Node) -> GroupSession | None:
    """The node's own session for the room."""
    return node.database.read(lambda view: groups.find_session(view, ROOM))


def session_id(node: Node) -> str:
    session = session_of(node)
    assert session is not None
    return session.session_id
