"""What the owner sees of the connections: standings, grants, what waits, what was agreed."""

from collections import Counter
from dataclasses import asdict, replace

from federation import fingerprints, sentences
from federation.connecting import Connecting
from federation.consent import Standing
from federation.hearing import Hearing
from federation.lines import Lines
from federation.own_identity import OwnIdentity
from homeserver.matrix.canonical_json import JsonObject
from homeserver.storage import audit, frames, inbox, invitations, meetings, notices, peers
from homeserver.storage.database import Database
from homeserver.storage.invitations import Invitation
from homeserver.storage.peers import Peer
from homeserver.storage.unit_of_work import View


class Overview:
    """Describes; changes nothing."""

    def __init__(
        self,
        database: Database,
        lines: Lines,
        hearing: Hearing,
        connecting: Connecting,
        own: OwnIdentity,
    ) -> None:
        self._database = database
        self._lines = lines
        self._hearing = hearing
        self._connecting = connecting
        self._own = own

    def status(self) -> JsonObject:
        """Who this server is, and how much waits in both directions."""
        known = self._database.read(peers.load_peers)
        waiting = [self._database.read(lambda view, p=peer: _waiting(view, p)) for peer in known]  # type: ignore[misc]
        return {
            "server_name": self._own.server_name,
            "node_id": self._own.node_id,
            "everything_paused": self._database.read(peers.is_everything_paused),
            "peers": dict(Counter(peer.standing for peer in known)),
            "outbox_pending": sum(outbox for outbox, _ in waiting),
            "inbox_pending": sum(inbox for _, inbox in waiting),
        }

    def peer(self, peer: Peer) -> JsonObject:
        """One connection; times are milliseconds since 1970."""
        outbox, inbox = self._database.read(lambda view: _waiting(view, peer))
        line = self._lines.find(peer.server_name)
        return {
            "server_name": peer.server_name,
            "node_id": peer.node_id,
            "name": peer.name,
            "standing": peer.standing,
            "meaning": self._meaning(peer),
            "is_refused": self._is_refused(peer),
            "how": peer.how,
            "rooms": self._rooms_of(peer),
            "connected_at": peer.connected_at,
            "last_heard_at": self._hearing.last_heard_at(peer),
            "paused_because": peer.paused_because,
            "alarm": peer.alarm,
            "route": line.routes[0] if line is not None and line.routes else None,
            "outbox_pending": outbox,
            "inbox_pending": inbox,
            "lost": self._database.read(lambda view: frames.losses(view, peer.server_name)),
            "words": fingerprints.words_between(self._own.node_id, peer.node_id),
            "grants_given": peer.grants,
            "grants_received": peer.granted,
        }

    def _rooms_of(self, peer: Peer) -> list[str] | None:
        """The rooms that a connection by introduction is for; None: it is for everything."""
        if peer.room_id is None:
            return None
        known = self._database.read(lambda view: meetings.of_server(view, peer.server_name))
        return sorted(
            one.room_id for one in known if one.is_theirs and one.state == meetings.AGREED
        )

    def after(self, before: Peer) -> JsonObject:
        """A connection as it is now, or what it was once nothing is left of it."""
        now = self._database.read(lambda view: peers.find_peer(view, before.server_name))
        return self.peer(now or replace(before, standing=Standing.NONE.value))

    def invitations(self) -> list[JsonObject]:
        """Every invitation of ours that is not forgotten yet, without its secret."""
        return [_invitation(one) for one in self._database.read(invitations.load_invitations)]

    def trail(
        self, after: int = 0, limit: int = 1_000, node_id: str | None = None
    ) -> list[JsonObject]:
        """One page of the evidence of consent, oldest first, each entry with its number."""
        lines = self._database.read(lambda view: audit.lines_after(view, after, limit, node_id))
        return [{"number": line.number, **asdict(line.entry)} for line in lines]

    def remembered(self, name: str) -> str | None:
        """The node id of somebody of whom nothing but the trail is left."""
        return self._database.read(lambda view: audit.find_node(view, name))

    def notices(self) -> list[JsonObject]:
        """What the owner was or will be told of connections, the newest first."""
        return [
            {"at": one.at, "kind": one.kind, "node_id": one.node_id, "content": one.content}
            for one in self._database.read(notices.newest)
        ]

    def _is_refused(self, peer: Peer) -> bool:
        is_offered = peer.standing == Standing.OFFERED
        return is_offered and self._connecting.is_refused(peer.node_id)

    def _meaning(self, peer: Peer) -> str:
        """The standing in a sentence."""
        if peer.alarm is not None:
            return f"Stopped: {peer.alarm}. Look into it; `dismiss` goes on."
        if self._is_refused(peer):
            return sentences.REFUSED
        if peer.standing == Standing.PAUSED and peer.paused_because:
            return f"The connection is paused: {peer.paused_because}."
        return sentences.STANDINGS[peer.standing]


def _waiting(view: View, peer: Peer) -> tuple[int, int]:
    waiting = frames.count_waiting(view, peer.server_name)
    return sum(waiting.values()), inbox.count_frames(view, peer.server_name)


def _invitation(invitation: Invitation) -> JsonObject:
    return {
        "id": invitation.intake,
        "state": invitation.ticket,
        "how": invitation.how,
        "asks_owner": invitation.asks_owner,
        "expected": invitation.expected,
        "was_used_twice": invitation.is_warned,
        "created_at": invitation.created_at,
        "expires_at": invitation.expires_at,
    }
