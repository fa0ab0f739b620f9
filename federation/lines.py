"""What is known in memory about each active connection, from the moment it opens to its close.

Nothing here survives a restart: after every start a line has to be confirmed afresh.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

import orjson

from federation import doors, envelope, payloads
from federation.doors import Door, Doors
from federation.envelope import NO_NONCE, DoorKeys
from homeserver.keyring import Keyring
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import ServerName
from homeserver.storage import channels, inbox, peers
from homeserver.storage.database import Database
from homeserver.storage.peers import Peer

_SENT_NONCES = 64
_RECEIVED_NONCES = 1_024
_MOST_EPHEMERAL = 50
_FRUITLESS = 4  # repairs may cross on their way
_MOST_REKEYS = 8
MOST_WAITING_ASKS = 64
INBOX_SOFT = 64  # frames in the inbox from which on the peer is asked to wait


@dataclass(frozen=True, slots=True)
class Ask:
    """A question that waits to be sent; JSON as it stands in the frame."""

    content: JsonObject


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that waits to be sent, with the bytes attached to it."""

    content: JsonObject
    attachment: bytes = b""


@dataclass(slots=True, eq=False)
class Line:
    """One open connection."""

    peer: ServerName
    node_id: str
    proof: JsonObject
    ours: DoorKeys
    theirs: DoorKeys
    our_address: bytes
    their_address: bytes
    routes: tuple[str, ...]
    knows_us: bool  # whether the peer was told a route of ours
    is_confirmed: bool = False
    is_closed: bool = False
    is_behind: bool = False  # the peer remembers less than it acknowledged
    is_full_there: bool = False
    has_said_full: bool = False
    lacks_group: bool = False  # the peer's frame in flight holds a group message we cannot read
    owes_acknowledgement: bool = False
    was_urgent: bool = False  # asks and answers take turns with the rest
    last_received: bytes = NO_NONCE
    stored: int = 0  # frames in the inbox
    rate: int = 30_000  # items a minute that the peer's grants allow
    spent: float = 0.0  # of them, running off with time
    spent_at: float = 0.0
    failures: int = 0
    fruitless: int = 0  # fresh boxes in a row that brought a repair no further
    rekeys: int = 0  # steps of repairs since a frame passed
    retry_at: float = 0.0
    heard_at: float | None = None
    poll: "asyncio.Future[None] | None" = None
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    asks: deque[Ask] = field(default_factory=deque)
    answers: deque[Answer] = field(default_factory=deque)
    ephemeral: OrderedDict[str, JsonObject] = field(default_factory=OrderedDict)
    sockets: set[asyncio.BaseTransport] = field(default_factory=set)
    _sent: OrderedDict[bytes, int] = field(default_factory=OrderedDict)
    _received: OrderedDict[bytes, None] = field(default_factory=OrderedDict)

    def note_sent(self, nonce: bytes, acknowledged: int) -> None:
        """Remember a box of ours, and what the peer had acknowledged by then."""
        self._sent[nonce] = acknowledged
        if len(self._sent) > _SENT_NONCES:
            self._sent.popitem(last=False)

    def note_received(self, nonce: bytes, answers: bytes) -> int | None:
        """Tell whether a box is fresh: it names one of ours and was never seen before.

        Returns what the peer had acknowledged when we sent the one it names, else None.
        """
        if nonce in self._received:
            return None
        self._received[nonce] = None
        if len(self._received) > _RECEIVED_NONCES:
            self._received.popitem(last=False)
        self.last_received = nonce
        return self._sent.get(answers)

    @property
    def is_stuck(self) -> bool:
        """Whether hearing from the peer is no reason to try again at once."""
        return self.fruitless >= _FRUITLESS

    @property
    def is_going_round(self) -> bool:
        """Whether repairs follow each other and lead to no frame."""
        return self.rekeys > _MOST_REKEYS

    def end_pause(self) -> None:
        """Try again at once, if it had to wait."""
        if self.failures:
            self.failures, self.retry_at = 0, 0.0
            self.wake.set()

    def may_take(self, now: float) -> bool:
        """Whether the peer has kept to its rate; what it spent runs off with time."""
        self.spent = max(0.0, self.spent - (now - self.spent_at) * self.rate / 60.0)
        self.spent_at = now
        return self.spent < self.rate

    def tell_now(self, key: str, edu: JsonObject) -> None:
        """Keep an EDU for the next frame; a newer one under the same key takes its place."""
        self.ephemeral[key] = edu
        if len(self.ephemeral) > _MOST_EPHEMERAL:
            self.ephemeral.popitem(last=False)
        self.wake.set()

    def note_worked_off(self) -> None:
        """One frame less in the inbox; tell a peer that was asked to wait that it may go on."""
        self.stored = max(0, self.stored - 1)
        if self.has_said_full and self.stored < INBOX_SOFT // 2:
            self.has_said_full = False
            self.owes_acknowledgement = True
            self.wake.set()

    @property
    def has_beside(self) -> bool:
        """Whether something waits beside what is stored: asks, answers, what is worthless later."""
        return bool(self.asks or self.answers or self.ephemeral)

    @property
    def has_to_speak(self) -> bool:
        """Whether the peer has to hear from us whatever is stored, and however full its inbox."""
        return self.has_beside or not self.is_confirmed or self.owes_acknowledgement

    def end_poll(self) -> bool:
        """Let a poll that is being held go on; False if there is none."""
        if self.poll is None or self.poll.done():
            return False
        self.poll.set_result(None)
        return True


class Lines:
    """Every open connection. Follows the database; `refresh` after each change of standing."""

    def __init__(self, database: Database, keyring: Keyring, doors: Doors) -> None:
        self._database = database
        self._keyring = keyring
        self._doors = doors
        self._lines: dict[ServerName, Line] = {}
        self.when_opened: list[Callable[[Line], None]] = []
        self.when_reach_moved: list[Callable[[Line], None]] = []
        self.when_closed: list[Callable[[Line], None]] = []

    def load(self) -> None:
        """Open what the database says is active."""
        for channel in self._database.read(channels.load_channels):
            self.refresh(channel.peer)

    def find(self, peer: ServerName) -> Line | None:
        """The open line to a peer."""
        return self._lines.get(peer)

    def all(self) -> list[Line]:
        """Every open line."""
        return list(self._lines.values())

    def awake(self) -> frozenset[ServerName]:
        """The peers that take what is said now."""
        lines = self._lines.values()
        return frozenset(line.peer for line in lines if line.is_confirmed and not line.failures)

    def refresh(self, server_name: ServerName, *, anew: bool = False) -> Line | None:
        """Open, keep or close the line to a peer as its standing says.

        `anew` after a handshake, which brings other addresses and keys.
        """
        line = self._lines.get(server_name)
        peer, channel, is_paused = self._database.read(
            lambda view: (
                peers.find_peer(view, server_name),
                channels.find_channel(view, server_name),
                peers.is_everything_paused(view),
            )
        )
        may_talk = peer is not None and peer.may(payloads.CONNECTION) and not is_paused
        if line is not None and (anew or not may_talk or channel is None):
            self._close(line)
            line = None
        if line is None and may_talk and channel is not None and peer is not None:
            line = self._open(peer, channel)
        return line

    def note_reach(self, line: Line, *, knows_us: bool) -> None:
        """The peer was told where to find us, or that it is not to call; then we have to."""
        if line.knows_us is not knows_us:
            line.knows_us = knows_us
            for tell in self.when_reach_moved:
                tell(line)

    def close_all(self) -> None:
        """Stop talking to everybody, for the server's own stop."""
        for line in self.all():
            self._close(line)

    def _open(self, peer: Peer, channel: channels.Channel) -> Line:
        ours = self._keyring.open("door", peer.node_id, channel.our_door_key)
        theirs = self._keyring.open("door", peer.node_id, channel.their_door_key)
        line = Line(
            peer.server_name,
            peer.node_id,
            peer.proof,
            envelope.door_keys(ours),
            envelope.door_keys(theirs),
            channel.our_address,
            channel.their_address,
            tuple(orjson.loads(channel.routes)),
            bool(orjson.loads(channel.told_routes)),
            rate=int(peer.grants.get("rate", 30_000)),
            stored=self._database.read(lambda view: inbox.count_frames(view, peer.server_name)),
        )
        self._lines[peer.server_name] = line
        self._doors.open(line.our_address, Door(doors.PEER, peer.server_name, line.ours))
        for tell in self.when_opened:
            tell(line)
        return line

    def _close(self, line: Line) -> None:
        line.is_closed = True
        self._lines.pop(line.peer, None)
        self._doors.close(line.our_address)
        line.end_poll()
        for socket in line.sockets:
            socket.close()
        line.sockets.clear()
        for tell in self.when_closed:
            tell(line)
