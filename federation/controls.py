"""What the channel itself says in control messages: grants, routes, a newer card, a goodbye."""

import orjson

from federation import alarms, identity, invitation_links, payloads
from federation.inbox import Inbox
from federation.lines import Lines
from federation.turn_state import Party
from homeserver import crash_points, errors
from homeserver.crash_points import Point
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import ServerName
from homeserver.storage import channels, notices, peer_profiles, peers
from homeserver.storage.unit_of_work import UnitOfWork


class Controls:
    """Takes in what peers say about themselves; each in one unit of work."""

    def __init__(self, party: Party, lines: Lines) -> None:
        self._party = party
        self._lines = lines

    def register(self, inbox: Inbox) -> None:
        """Enter every kind."""
        inbox.register_control("grants", self.take_grants)
        inbox.register_control("routes", self.take_routes)
        inbox.register_control("card", self.take_card)
        inbox.register_control("goodbye", self.take_goodbye)

    def take_grants(self, work: UnitOfWork, peer: ServerName, body: JsonObject) -> None:
        """Remember what the peer lets us do."""
        told = payloads.read(payloads.GrantsTold, body)
        granted = told.grants.as_told()
        known = peers.find_peer(work, peer)
        if known is not None and known.granted.get("profile") != granted.get("profile"):
            # As much of it as is granted now is asked for again.
            peer_profiles.delete_profiles_of(work, peer)
        peers.change_peer(work, peer, granted=granted)

    def take_routes(self, work: UnitOfWork, peer: ServerName, body: JsonObject) -> None:
        """Find the peer elsewhere from now on; a higher sequence wins."""
        told = payloads.read(payloads.RoutesTold, body)
        routes = invitation_links.checked_routes(told.routes)
        channel = channels.find_channel(work, peer)
        if channel is not None and told.sequence > channel.routes_sequence:
            changes = {"routes": orjson.dumps(routes), "routes_sequence": told.sequence}
            channels.change_channel(work, peer, changes)
            work.after_commit(lambda: self._move(peer, routes))

    def take_card(self, work: UnitOfWork, peer: ServerName, body: JsonObject) -> None:
        """Adopt a card that chains, with a notice; anything else stops the traffic."""
        told = payloads.read(payloads.CardTold, body)
        known = peers.find_peer(work, peer)
        if known is None:
            return
        now = self._party.clock.now_ms()
        try:
            shown = identity.verify_proof(told.identity)
            alarms.check(known, shown)
        except errors.BadSignature:
            alarms.sound(work, known, now)
            work.after_commit(lambda: self._refresh(peer))
            return
        alarms.adopt(work, known, shown, now)

    def take_goodbye(self, work: UnitOfWork, peer: ServerName, body: JsonObject) -> None:
        """The other owner ended the connection, and said so."""
        payloads.read(payloads.Goodbye, body)
        known = peers.find_peer(work, peer)
        if known is not None:
            words = {"server_name": peer, "name": known.name}
            now = self._party.clock.now_ms()
            notices.tell_owner(work, now, "goodbye", known.node_id, words)
            crash_points.reach(Point.GOODBYE_TAKEN)

    def _move(self, peer: ServerName, routes: tuple[str, ...]) -> None:
        line = self._lines.find(peer)
        if line is not None:
            line.routes = routes
            line.failures, line.retry_at = 0, 0.0
            line.wake.set()

    def _refresh(self, peer: ServerName) -> None:
        self._lines.refresh(peer)
