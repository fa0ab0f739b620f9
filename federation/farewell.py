"""The last words to a peer whose connection ends: sealed in the transaction that ends it.

Tried for ten seconds beside everything else, then dropped. Nothing of it is stored.
"""

import asyncio
from collections.abc import Sequence

from federation import envelope
from federation.envelope import NO_RECEIPT, Envelope
from federation.frames import Outgoing
from federation.lines import Line
from federation.ratchets.interface import OlmMessage
from federation.transport.interface import FAREWELL, Transport
from federation.turn_state import ChannelClosed, Party, TurnState
from homeserver import crash_points, errors
from homeserver.crash_points import Point
from homeserver.storage.unit_of_work import UnitOfWork

_BODY = b'{"items":[{"kind":"goodbye","body":{}}]}'
_PAUSES = (0.0, 1.0, 3.0, 6.0)
_DELIVERY_SECONDS = 4.0


class Farewell:
    """Says goodbye, if the owner wants to."""

    def __init__(self, party: Party, transport: Transport) -> None:
        self._party = party
        self._transport = transport
        self._tasks: set[asyncio.Task[None]] = set()
        self._said_to: set[str] = set()

    def is_said_to(self, party: str) -> bool:
        """Whether last words are on their way to a party at this moment."""
        return party in self._said_to

    def seal(self, work: UnitOfWork, line: Line) -> Sequence[bytes]:
        """The boxes with the goodbye; none if there is no session of this run to say it in.

        Two where a frame is in flight, which the peer may have taken or not: one goes after it,
        the other in its place, and only one of them can be taken.
        """
        try:
            state = TurnState(work, self._party, line.peer, line.node_id)
        except ChannelClosed:
            return ()
        if not state.may_seal:
            return ()
        sequences = [state.channel.sent + 1]
        if state.in_flight is not None:
            sequences.append(state.in_flight.sequence)
        frame = Outgoing("control", self._party.clock.now_ms(), _BODY)
        boxes = []
        for sequence in sequences:
            # The ratchet's last state is not kept: the same unit of work destroys it.
            message, session = state.encrypt(frame, sequence)
            state.change(session=session)
            boxes.append(self._box(line, state, sequence, message))
        crash_points.reach(Point.GOODBYE_SEALED)
        return boxes

    def send(self, line: Line, boxes: Sequence[bytes]) -> None:
        """Try to deliver them for a while, after the connection has ended."""
        task = asyncio.get_running_loop().create_task(self._send(line, boxes))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Stop trying."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _box(self, line: Line, state: TurnState, sequence: int, message: OlmMessage) -> bytes:
        content = Envelope(
            answers=line.last_received,
            epoch=state.channel.epoch,
            sequence=sequence,
            acknowledged=state.channel.received,
            receipt=state.channel.receipt or NO_RECEIPT,
            settled=state.channel.acknowledged,
            olm_kind=message.kind,
            olm=message.body,
        )
        return envelope.seal(line.theirs.request, self._party.token(), content)

    async def _send(self, line: Line, boxes: Sequence[bytes]) -> None:
        party = f"{line.peer} farewell"
        self._said_to.add(party)
        try:
            left = list(boxes)
            for pause in _PAUSES:
                await self._party.clock.sleep(pause)
                for route in line.routes:
                    await self._deliver(line, party, route, left)
                if not left:
                    return
        finally:
            self._said_to.discard(party)
            await self._transport.hang_up(party)

    async def _deliver(self, line: Line, party: str, route: str, left: list[bytes]) -> None:
        """Deliver what is left by one route, up to the first that fails."""
        while left:
            crash_points.reach(Point.GOODBYE_READY)
            try:
                await self._transport.deliver(
                    party, route, line.their_address, left[0], _DELIVERY_SECONDS, grant=FAREWELL
                )
            except errors.PeerUnreachable:
                return
            crash_points.reach(Point.GOODBYE_GONE)
            del left[0]
