"""Watches every box that leaves a server.

Whether the owner's word allows it and what is in it, and whether a key of a ratchet is used twice.
Beside that, whether servers keep what they have acknowledged.

It sees what only the harness can see: the sender's own record of where it stands with the other.
"""

from collections.abc import Callable, Iterable

from federation import envelope
from federation.consent import Standing
from federation.desk import SILENT
from federation.envelope import BadEnvelope
from federation.lines import Line
from homeserver.matrix.identifiers import ServerName
from homeserver.storage import inbox, invitations, peers
from homeserver.testing import letters
from homeserver.testing.grant_watch import GrantWatch
from homeserver.testing.letters import Letters
from homeserver.testing.network import Parcel
from homeserver.testing.ratchet_watch import KeyUses
from homeserver.testing.simulated_server import SimulatedServer

# A handshake passes while it is on its way; everything else needs an active connection.
_MAY_SPEAK = (Standing.ACTIVE.value, Standing.REQUESTED.value, Standing.OFFERED.value)

_LONGEST_MOMENT_S = 100.0


class WireWatch:
    """What was sent and should not have been, in words."""

    def __init__(self, find: Callable[[str], SimulatedServer | None]) -> None:
        self._find = find
        self.uses = KeyUses()
        self.letters = Letters()
        self._grants = GrantWatch()
        self._lacking: dict[
            tuple[str, str], float
        ] = {}  # since when frames are not where they belong
        self.overheard: list[str] = []
        self.spared: set[str] = set()  # servers that break the rules because the story says so

    @property
    def breaches(self) -> list[str]:
        """Everything that has gone wrong so far."""
        return [*self.overheard, *self.uses.repeated]

    def look_at_inboxes(self, servers: Iterable[SimulatedServer], now: float) -> None:
        """What a server has acknowledged it keeps, until it is worked off.

        The row goes a moment before the server counts it as done: only what lasts is told.
        """
        for server in servers:
            if not server.is_running or server.name in self.spared:
                continue
            for line in server.built.peers.federation.lines.all():
                self._look_at_inbox(server, line, now)

    def see(self, parcel: Parcel) -> None:
        """A box is about to leave."""
        source, target = self._find(parcel.source), self._find(parcel.target)
        if source is None or target is None or not source.is_running:
            return
        if source.name in self.spared:
            return
        line = source.built.peers.federation.lines.find(ServerName(target.server_name))
        if not parcel.party.endswith(" farewell"):
            self._check_standing(parcel, source, target)
        if line is not None:
            self._look_inside(parcel, line, source, target)

    def _check_standing(
        self, parcel: Parcel, source: SimulatedServer, target: SimulatedServer
    ) -> None:
        peer, is_paused = source.built.database.read(
            lambda view: (
                peers.find_peer(view, ServerName(target.server_name)),
                peers.is_everything_paused(view),
            )
        )
        standing = "none" if peer is None else peer.standing
        if standing == Standing.DECLINED.value and _is_silence(parcel, source, target):
            return
        if standing not in _MAY_SPEAK or is_paused:
            paused = ", and everything is paused" if is_paused else ""
            self._tell(
                f"{source.name} sent {target.name} {parcel.kind} of {len(parcel.box)} bytes "
                f"while the connection was {standing}{paused}"
            )

    def _look_at_inbox(self, server: SimulatedServer, line: Line, now: float) -> None:
        place = server.name, line.peer
        kept = server.built.database.read(lambda view: inbox.count_frames(view, line.peer))
        if kept >= line.stored:
            self._lacking.pop(place, None)
        elif now - self._lacking.setdefault(place, now) >= _LONGEST_MOMENT_S:
            words = "frames that are not worked off, and keeps"
            self._tell(f"{server.name} acknowledged {line.stored} {words} {kept}")

    def _look_inside(
        self, parcel: Parcel, line: Line, source: SimulatedServer, target: SimulatedServer
    ) -> None:
        key = line.theirs.request if parcel.kind == "request" else line.ours.answer
        try:
            opened = envelope.open_box(key, parcel.box)
        except BadEnvelope:
            return  # of a handshake: its messages are noted where they are read
        if not opened.olm:
            return
        self.uses.note(opened.olm_kind, opened.olm)
        plaintext = self.letters.take(opened.olm)
        if plaintext is None:
            return  # on its way for a second time: what was allowed then may be no more
        found = letters.read(plaintext, opened.group_messages)
        for session, message in found.group_messages:
            self.uses.note_group_message(session, message)
        for words in self._grants.breaches(found, source, target):
            self._tell(words)

    def _tell(self, words: str) -> None:
        if words not in self.overheard:
            self.overheard.append(words)


def _is_silence(parcel: Parcel, source: SimulatedServer, target: SimulatedServer) -> bool:
    """Whether it is what a declined request is told, as one was that waits: to ask again later."""
    under_way = source.built.database.read(invitations.load_handshakes)
    is_told = any(
        one.state == SILENT and one.server_name == target.server_name for one in under_way
    )
    return is_told and parcel.kind == "answer" and len(parcel.box) == envelope.SIZES[0]
