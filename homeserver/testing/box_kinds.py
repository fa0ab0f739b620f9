"""What kind of box passes: as much as its envelope says, which only the two servers can open.

For the report of a simulation. What a frame holds is encrypted once more, and stays so.
"""

from collections.abc import Callable

from federation import envelope
from federation.envelope import BadEnvelope, Envelope
from homeserver.matrix.identifiers import ServerName
from homeserver.testing.network import Parcel
from homeserver.testing.simulated_server import SimulatedServer

HANDSHAKE = "handshake"


class BoxKinds:
    """Names the kinds of boxes between servers of one world."""

    def __init__(self, find: Callable[[str], SimulatedServer | None]) -> None:
        self._find = find

    def name(self, parcel: Parcel) -> str:
        """The kind of a box; nothing where the servers are not in this process."""
        source, target = self._find(parcel.source), self._find(parcel.target)
        if source is None or target is None or not source.is_running:
            return ""
        line = source.built.peers.federation.lines.find(ServerName(target.server_name))
        if line is None:
            return HANDSHAKE
        key = line.theirs.request if parcel.kind == "request" else line.ours.answer
        try:
            return kind_of(envelope.open_box(key, parcel.box))
        except BadEnvelope:
            return HANDSHAKE


def kind_of(opened: Envelope) -> str:
    """What an open envelope says of itself."""
    if opened.sequence:
        beside = len(opened.group_messages)
        return f"frame {opened.sequence}" + (f" with {beside} for groups" if beside else "")
    if opened.olm:
        return "question or answer"
    if opened.note:
        return "note"
    if opened.patience_s:
        return "poll"
    return "acknowledgement" if opened.acknowledged else "positions"
