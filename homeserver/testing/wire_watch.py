"""Watches every box that leaves a server: whether the owner's word allows it, and its ratchet keys.

It sees what only the harness can see: the sender's own record of where it stands with the other.
"""

from collections.abc import Callable

from federation import envelope
from federation.consent import Standing
from federation.desk import SILENT
from federation.envelope import BadEnvelope
from federation.lines import Line
from homeserver.matrix.identifiers import ServerName
from homeserver.storage import invitations, peers
from homeserver.testing.network import Parcel
from homeserver.testing.ratchet_watch import KeyUses
from homeserver.testing.simulated_server import SimulatedServer

# A handshake passes while it is on its way; everything else needs an active connection.
_MAY_SPEAK = (Standing.ACTIVE.value, Standing.REQUESTED.value, Standing.OFFERED.value)


class WireWatch:
    """What was sent and should not have been, in words."""

    def __init__(self, find: Callable[[str], SimulatedServer | None]) -> None:
        self._find = find
        self.uses = KeyUses()
        self.overheard: list[str] = []
        self.spared: set[str] = set()  # servers that break the rules because the story says so

    @property
    def breaches(self) -> list[str]:
        """Everything that has gone wrong so far."""
        return [*self.overheard, *self.uses.repeated]

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
            self._note_keys(parcel, line)

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
            self.overheard.append(
                f"{source.name} sent {target.name} {parcel.kind} of {len(parcel.box)} bytes "
                f"while the connection was {standing}{paused}"
            )

    def _note_keys(self, parcel: Parcel, line: Line) -> None:
        key = line.theirs.request if parcel.kind == "request" else line.ours.answer
        try:
            opened = envelope.open_box(key, parcel.box)
        except BadEnvelope:
            return  # of a handshake: its messages are noted where they are read
        if opened.olm:
            self.uses.note(opened.olm_kind, opened.olm)


def _is_silence(parcel: Parcel, source: SimulatedServer, target: SimulatedServer) -> bool:
    """Whether it is what a declined request is told, as one was that waits: to ask again later."""
    under_way = source.built.database.read(invitations.load_handshakes)
    is_told = any(
        one.state == SILENT and one.server_name == target.server_name for one in under_way
    )
    return is_told and parcel.kind == "answer" and len(parcel.box) == envelope.SIZES[0]
