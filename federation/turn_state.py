"""What one turn with a peer works on: the channel's row, its frame in flight, the ratchets.

A turn runs inside one unit of work. What changes is collected and written once, at its end.
"""

from dataclasses import dataclass, field, fields, replace
from typing import Any

import orjson

from federation import frames as frame_format
from federation import receipts
from federation.envelope import Envelope
from federation.frames import Outgoing
from federation.own_identity import OwnIdentity
from federation.ratchets.interface import OlmMessage
from federation.sessions import Sessions
from homeserver import crash_points
from homeserver.crash_points import Point
from homeserver.matrix.identifiers import ServerName
from homeserver.ports import Clock, Entropy
from homeserver.storage import channels, frames, groups, peers
from homeserver.storage.channels import Channel, InFlight
from homeserver.storage.peers import Peer
from homeserver.storage.unit_of_work import UnitOfWork


class ChannelClosed(Exception):
    """The peer is not active any more."""


@dataclass(slots=True)
class Party:
    """What is the same for every turn of this server."""

    own: OwnIdentity
    sessions: Sessions
    clock: Clock
    entropy: Entropy
    run: bytes = field(init=False)  # tells what was begun since the last start
    has_started_over: bool = False  # an old copy was found out in this run, and all keys destroyed

    def __post_init__(self) -> None:
        self.run = self.entropy.token_bytes(16)

    def token(self) -> bytes:
        """A nonce."""
        return self.entropy.token_bytes(24)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A box that opened.

    `known` is what the peer had acknowledged when we sent the box that this one names; None if it
    names none of ours, and may be a replay.
    """

    envelope: Envelope
    known: int | None
    is_first: bool = False  # it confirms the line: nothing fresh has come since the start
    is_behind: bool = False  # the peer's position was seen to have gone back before
    may_take: bool = True  # False until the line is confirmed after a start
    has_room: bool = True  # False while our inbox is full


class TurnState:
    """One turn's view of a channel."""

    def __init__(
        self,
        work: UnitOfWork,
        party: Party,
        peer: ServerName,
        node_id: str,
        *,
        even_if_paused: bool = False,
    ) -> None:
        channel = channels.find_channel(work, peer)
        if channel is None or not (even_if_paused or peers.is_active(work, peer)):
            raise ChannelClosed
        self.work = work
        self.party = party
        self.peer = peer
        self.node_id = node_id
        self.channel: Channel = channel
        self.in_flight: InFlight | None = channels.find_in_flight(work, peer)
        self.taken: str | None = None  # the kind of the frame that this turn took
        self.weight = 0
        self.lacks_group = False  # what goes beside the Olm message could not be read
        self.owes_frame = False  # a session has just begun: the other side waits for a frame of it
        self.is_stopped = False  # an alarm: nothing passes until the owner has decided
        self._stored = channel

    @property
    def creates_sessions(self) -> bool:
        """Only the side whose node id sorts lower does, so that two never cross."""
        return self.party.own.node_id < self.node_id

    @property
    def may_seal(self) -> bool:
        """Whether there is a session of this run.

        One from before the start may have come from an old copy of the disk, and then have
        encrypted already what it would encrypt now: it only reads.
        """
        channel = self.channel
        return channel.session is not None and channel.session_run == self.party.run

    def their_peer(self) -> Peer:
        """The peer as we know it."""
        peer = peers.find_peer(self.work, self.peer)
        if peer is None:
            raise ChannelClosed
        return peer

    def receipt_of(self, sequence: int) -> bytes:
        """The receipt of a frame of ours."""
        life, direction = self.channel.life or b"", self.party.own.node_id
        keyring = self.party.sessions.keyring
        return receipts.receipt_of(keyring, self.node_id, life, direction, sequence)

    def encrypt(self, frame: Outgoing, sequence: int) -> tuple[OlmMessage, bytes]:
        """A frame in the session of this run, and the session after it. Nothing is changed."""
        channel, sessions = self.channel, self.party.sessions
        if channel.session is None or not self.may_seal:
            raise ChannelClosed
        more = {"receipt": self.receipt_of(sequence).hex()}
        if channel.answer_nonce is not None:
            more["nonce"] = channel.answer_nonce
        direction = self.party.own.node_id
        plaintext = frame_format.write(direction, channel.epoch, sequence, frame, more)
        return sessions.encrypt(self.node_id, channel.epoch, channel.session, plaintext)

    def change(self, **changes: Any) -> None:
        """Change the channel's row; written when the turn ends."""
        self.channel = replace(self.channel, **changes)

    def save(self) -> None:
        """Write what changed."""
        changes = {
            column.name: value
            for column in fields(Channel)
            if (value := getattr(self.channel, column.name)) != getattr(self._stored, column.name)
        }
        channels.change_channel(self.work, self.peer, changes)
        self._stored = self.channel

    def seal(self, frame: Outgoing) -> None:
        """Encrypt a frame under the next sequence; it is in flight from now on."""
        sequence = self.channel.sent + 1
        self._put_in_flight(frame, sequence)
        self.change(sent=sequence, received_since_sent=0)

    def begin_session(self) -> None:
        """A session has taken over: what is in flight goes in it, or else a first frame."""
        self.owes_frame = self.in_flight is None
        self.seal_anew()

    def seal_anew(self) -> None:
        """Encrypt what is in flight in the session of now, under its sequence from before.

        Everything then stands in the Olm message, group messages and their keys left out.
        """
        before = self.in_flight
        if before is not None and self.may_seal:
            frame = Outgoing(
                before.kind, before.sent_at, before.body, before.attachment, before.settles
            )
            self._put_in_flight(frame, before.sequence)
            if before.group_messages:
                groups.forget_shares(self.work, self.peer)

    def settle(self, acknowledged: int) -> bool:
        """Take an acknowledgement: what it covers leaves the outbox for good."""
        flying = self.in_flight
        if flying is None or not self.channel.acknowledged < acknowledged <= self.channel.sent:
            return False
        if acknowledged >= flying.sequence:
            settles = orjson.loads(flying.settles)
            frames.settle_rooms(self.work, self.peer, settles.get("rooms", {}))
            frames.settle_items(self.work, settles.get("items", ()))
            frames.settle_newest(self.work, self.peer, settles.get("newest", ()))
            channels.delete_in_flight(self.work, self.peer)
            self.in_flight = None
            if self.channel.session is not None and flying.epoch == self.channel.epoch:
                self.change(is_restored=False)  # what was destroyed has been replaced
            crash_points.reach(Point.FRAME_SETTLED)
        self.change(acknowledged=acknowledged)
        return True

    def _put_in_flight(self, frame: Outgoing, sequence: int) -> None:
        message, session = self.encrypt(frame, sequence)
        self.in_flight = _in_flight(self.peer, sequence, self.channel.epoch, frame, message)
        channels.save_in_flight(self.work, self.in_flight)
        self.change(session=session)


def _in_flight(
    peer: ServerName, sequence: int, epoch: int, frame: Outgoing, message: OlmMessage
) -> InFlight:
    return InFlight(
        peer=peer,
        sequence=sequence,
        epoch=epoch,
        kind=frame.kind,
        sent_at=frame.sent_at,
        body=frame.body,
        attachment=frame.attachment,
        olm_kind=message.kind,
        olm=message.body,
        group_messages=frame.group_messages,
        settles=frame.settles,
    )
