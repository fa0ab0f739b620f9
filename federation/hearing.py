"""When a peer was last heard from: known in memory, noted now and then for the next start."""

from federation.lines import Line, Lines
from homeserver.matrix.identifiers import ServerName
from homeserver.ports import Clock
from homeserver.storage import peers
from homeserver.storage.database import Database
from homeserver.storage.peers import Peer
from homeserver.storage.unit_of_work import UnitOfWork

# How exact the stored moment has to be: a poll that hears the peer every minute writes nothing.
_EXACT_MS = 6 * 3_600_000


class Hearing:
    """Tells, and notes, when each peer was last heard from. Times are milliseconds since 1970."""

    def __init__(self, database: Database, lines: Lines, clock: Clock) -> None:
        self._database = database
        self._lines = lines
        self._clock = clock
        self._closed: dict[ServerName, int] = {}
        lines.when_closed.append(self._remember)

    def last_heard_at(self, peer: Peer) -> int | None:
        """The newest that is known; None if the peer was never heard from."""
        line = self._lines.find(peer.server_name)
        if line is not None and line.heard_at is not None:
            return self._moment(line)
        return self._closed.get(peer.server_name, peer.heard_at)

    async def note(self, exact_ms: int = _EXACT_MS) -> None:
        """Store what has changed by at least so much, in one unit of work; mostly nothing."""
        known = {
            peer.server_name: peer.heard_at or 0 for peer in self._database.read(peers.load_peers)
        }
        heard = self._closed | {
            line.peer: self._moment(line) for line in self._lines.all() if line.heard_at is not None
        }
        moments = {
            peer: moment
            for peer, moment in heard.items()
            if peer in known and moment - known[peer] >= exact_ms
        }
        if not moments:
            return

        def save(work: UnitOfWork) -> None:
            for peer, moment in moments.items():
                peers.change_peer(work, peer, heard_at=moment)

        await self._database.write(save)
        for peer in moments:
            self._closed.pop(peer, None)

    def _remember(self, line: Line) -> None:
        if line.heard_at is not None:
            self._closed[line.peer] = self._moment(line)

    def _moment(self, line: Line) -> int:
        ago_s = self._clock.monotonic() - (line.heard_at or 0.0)
        return self._clock.now_ms() - int(ago_s * 1000)
