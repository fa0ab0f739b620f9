"""Whose key signed this event: cards of peers, and of strangers as members of a room hand them on.

A stranger's card proves itself, because its server's name is the hash of its inception. A name
from DNS proves nothing: the first card that a member hands on under it counts, for checking events
and nothing else (docs/decisions/0012).
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from federation import alarms, identity
from federation.identity import BadIdentity, Identity
from federation.replication import access, bodies, packing, verification
from federation.replication.asking import Ask
from federation.replication.verification import KeyAt
from homeserver import errors, metrics
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import RoomId, ServerName
from homeserver.ports import Clock
from homeserver.storage import cards, peers, rooms
from homeserver.storage.database import Database
from homeserver.storage.peers import Peer
from homeserver.storage.unit_of_work import UnitOfWork, View

_REMEMBERED = 2_000
# How many questions for cards one list of events may cost.
_MOST_PAGES = 300


@dataclass(frozen=True, slots=True)
class _Parsed:
    """A proof that was checked, so that it need not be again as long as it is the same."""

    card: JsonObject
    identity: Identity


class Cards:
    """The proofs of identity that events are checked with."""

    def __init__(self, database: Database, clock: Clock, own: Identity) -> None:
        self._database = database
        self._clock = clock
        self._own = own
        # Set once at wiring: hears that a peer's keys do not follow from those we know.
        self.when_alarmed: Callable[[ServerName], object] = lambda _peer: None
        self._parsed: dict[ServerName, _Parsed] = {}

    @property
    def own_name(self) -> ServerName:
        """Our own server's name."""
        return self._own.server_name

    async def keys_for(
        self, ask: Ask, peer: ServerName, room_id: RoomId, pdus: Sequence[Any]
    ) -> KeyAt:
        """The keys that these events may be signed with; asks the peer for cards we lack."""
        known = self._find(verification.signers(pdus))
        lacking = {
            server for server in verification.signers(pdus) if not _may_hold(known, server, pdus)
        }
        if lacking:
            await self._fetch(ask, peer, room_id, lacking)
            known |= self._find(lacking)
        return _keys_of(known)

    def known_keys(self, view: View, servers: Collection[ServerName]) -> KeyAt:
        """The keys of servers whose cards we hold; for peers, who show theirs themselves."""
        return _keys_of(self._identities(view, servers))

    async def take_in(
        self, proofs: Iterable[Any], asked: Collection[ServerName] = ()
    ) -> set[ServerName]:
        """Keep the cards that came with an answer, as far as they prove themselves; say whose.

        A card under a name from DNS proves nothing, and is kept only if it was `asked` for.
        """
        checked = [one for one in map(_checked, proofs) if one is not None]
        shown = [one for one in checked if identity.has_p2p_name(one) or one.server_name in asked]
        now_ms = self._clock.now_ms()

        def keep(work: UnitOfWork) -> None:
            for one in shown:
                self._keep(work, one, now_ms)

        if shown:
            await self._database.write(keep)
        return {one.server_name for one in shown}

    def answer(self, view: View, peer: ServerName, body: JsonObject) -> JsonObject:
        """The cards of servers in a room that the asker is in too."""
        asked = bodies.read(bodies.Cards, body)
        access.check_in_room(view, asked.room_id, peer)
        return {"cards": self.of_servers(view, asked.room_id, asked.servers)}

    def of_room(self, view: View, room_id: RoomId) -> list[JsonObject]:
        """The cards of a room's servers, as many as fit beside an answer."""
        proofs = self.of_servers(view, room_id, sorted(rooms.servers_in_room(view, room_id)))
        return packing.fitting(proofs, packing.CARDS_BYTES) if proofs else []

    def of_servers(
        self, view: View, room_id: RoomId, servers: Collection[ServerName]
    ) -> list[JsonObject]:
        """The cards of some servers of a room."""
        present = rooms.servers_in_room(view, room_id, access.EVERYBODY)
        wanted = present & set(servers)
        found = _load(view, wanted)
        if self._own.server_name in wanted:
            found[self._own.server_name] = self._own.proof
        return packing.fitting([found[server] for server in sorted(found)])

    def _keep(self, work: UnitOfWork, shown: Identity, now_ms: int) -> None:
        """Peers show their own cards; a stranger's has to continue the one we know."""
        if shown.server_name == self._own.server_name:
            return
        peer = peers.find_peer(work, shown.server_name)
        if peer is not None and peer.node_id != shown.node_id:
            # Anybody can make a card with a name from DNS: no reason to suspect who holds it.
            metrics.bump("cards_refused")
        elif peer is not None and peer.proof:
            self._compare(work, peer, shown, now_ms)
        else:
            _keep_strangers(work, shown, now_ms)

    def _compare(self, work: UnitOfWork, peer: Peer, shown: Identity, now_ms: int) -> None:
        """What others pass on of a peer may be older; it may not be something else."""
        try:
            alarms.check_hearsay(peer, shown)
        except alarms.ForeignKeys:
            alarms.sound(work, peer, now_ms)
            work.after_commit(lambda: self._tell(peer.server_name))

    def _tell(self, peer: ServerName) -> None:
        self.when_alarmed(peer)

    async def _fetch(
        self, ask: Ask, peer: ServerName, room_id: RoomId, servers: set[ServerName]
    ) -> None:
        """Ask for cards in pages, until the peer has given all that it has."""
        lacking = sorted(servers)
        for _ in range(_MOST_PAGES):
            if not lacking:
                return
            asked = lacking[: bodies.SERVERS_PER_QUESTION]
            try:
                answer = await ask(peer, "cards", {"room_id": room_id, "servers": asked})
            except errors.PeerRefused:
                return  # the events of those servers are refused for now
            given = await self.take_in(bodies.listed(answer, "cards")[: len(asked)], asked)
            # An answer without any card says that the peer has none of these; one with some may
            # have had no room for the others.
            settled = given & set(asked) or set(asked)
            lacking = [server for server in lacking if server not in settled]

    def _find(self, servers: Collection[ServerName]) -> dict[ServerName, Identity]:
        return self._database.read(lambda view: self._identities(view, servers))

    def _identities(
        self, view: View, servers: Collection[ServerName]
    ) -> dict[ServerName, Identity]:
        proofs = _load(view, servers)
        found = {server: self._parse(server, proof) for server, proof in proofs.items()}
        if self._own.server_name in servers:
            found[self._own.server_name] = self._own
        return found

    def _parse(self, server: ServerName, proof: JsonObject) -> Identity:
        parsed = self._parsed.get(server)
        if parsed is None or parsed.card != proof["card"]:
            if len(self._parsed) >= _REMEMBERED:
                self._parsed.clear()
            parsed = _Parsed(proof["card"], identity.verify_proof(proof))
            self._parsed[server] = parsed
        return parsed.identity


def _keep_strangers(work: UnitOfWork, shown: Identity, now_ms: int) -> None:
    known = cards.find_cards(work, [shown.server_name]).get(shown.server_name)
    before = None if known is None else identity.verify_proof(known)
    if before is not None and not identity.may_replace(before, shown):
        metrics.bump("cards_refused")
        if before.node_id != shown.node_id:
            alarms.tell_of_two(work, before, now_ms)
    elif known != shown.proof:
        cards.save_card(work, shown.server_name, shown.proof, now_ms)


def _keys_of(known: Mapping[ServerName, Identity]) -> KeyAt:
    def key_at(server: ServerName, key_id: str, at_ms: int) -> str | None:
        found = known.get(server)
        return found.card.key_at(key_id, at_ms) if found is not None else None

    return key_at


def _load(view: View, servers: Collection[ServerName]) -> dict[ServerName, JsonObject]:
    found = cards.find_cards(view, servers)
    for server in servers:
        peer = peers.find_peer(view, server)
        if peer is not None and peer.proof:  # there is none while a link to it is being opened
            found[server] = peer.proof
    return found


def _may_hold(known: dict[ServerName, Identity], server: ServerName, pdus: Sequence[Any]) -> bool:
    """Whether a card names the keys that this server's events claim to be signed with."""
    shown = known.get(server)
    if shown is None:
        return False
    named = shown.card.keys.keys() | shown.card.retired.keys()
    return verification.key_ids(pdus, server) <= named


def _checked(proof: Any) -> Identity | None:
    try:
        return identity.verify_proof(proof)
    except BadIdentity:
        metrics.bump("cards_refused")
        return None
