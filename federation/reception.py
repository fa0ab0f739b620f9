"""Everything that arrives from outside passes here: one address, one box, one answer or none."""

import asyncio
from collections.abc import Callable

from federation import desk, doors, envelope
from federation import handshake_messages as messages
from federation.channel import Channel
from federation.doors import Door, Doors
from federation.envelope import BadEnvelope, Envelope
from federation.inviting import Inviting
from federation.lines import Lines
from federation.turn_state import ChannelClosed
from homeserver import metrics
from homeserver.matrix.identifiers import ServerName


class Reception:
    """Opens exactly one box per delivery, and leads it to where its address belongs."""

    def __init__(
        self, open_doors: Doors, lines: Lines, channel: Channel, inviting: Inviting
    ) -> None:
        self._doors = open_doors
        self._lines = lines
        self._channel = channel
        self._inviting = inviting
        # Set once at wiring: who counts the answers to those who are not connected.
        self.when_asked: Callable[[asyncio.BaseTransport | None], None] = lambda _socket: None

    async def receive(
        self,
        address: bytes,
        box: bytes,
        socket: asyncio.BaseTransport | None,
        *,
        is_limited: bool = False,
    ) -> bytes | None:
        """The answer to a box; None is the refusal, the same for every reason.

        A source that is limited costs as much as any other, and may not ask at an invitation: the
        limit is on strangers, and a peer behind the same IP address is none.
        """
        door = self._doors.find(address)
        try:
            came = envelope.open_box(door.keys.request, box)
        except BadEnvelope:
            metrics.bump("federation_refusals")
            return None
        nonce = envelope.nonce_of(box)
        if door.kind == doors.INTAKE:
            if is_limited:
                metrics.bump("federation_refusals")
                return None
            answer = await self._inviting.answer_request(door, came, nonce)
            if answer is not None:
                self.when_asked(socket)
            return answer
        if door.kind == doors.HANDSHAKE:
            return await self._inviting.answer_prove(door.name, door, came, nonce)
        return await self._answer_peer(door, came, nonce, socket)

    async def _answer_peer(
        self, door: Door, came: Envelope, nonce: bytes, socket: asyncio.BaseTransport | None
    ) -> bytes | None:
        line = self._lines.find(ServerName(door.name))
        if line is None:
            return None
        if came.note and messages.note_kind(came.note) == "prove":
            # READY was lost, and PROVE comes again to an address that is the connection's now.
            key = desk.key_of(messages.note_intake(came.note), line.node_id)
            return await self._inviting.answer_prove(key, door, came, nonce)
        if socket is not None:
            line.sockets.add(socket)
            if len(line.sockets) > _MOST_SOCKETS:
                line.sockets = {one for one in line.sockets if not one.is_closing()}
        try:
            return await self._channel.answer(line, came, nonce)
        except ChannelClosed:
            return None


_MOST_SOCKETS = 16
