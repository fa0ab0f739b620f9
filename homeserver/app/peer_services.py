"""Everything that deals with peers: the channel to them, and rooms and keys over it."""

from collections.abc import Callable
from dataclasses import dataclass

from federation import ways_out
from federation.assembly import Federation, World
from federation.desk import Terms
from federation.introductions import meeting
from federation.introductions.entrance import Entrance
from federation.introductions.meeting import Introductions
from federation.introductions.passing import Passing
from federation.introductions.wishing import Wishing
from federation.own_identity import OwnIdentity
from federation.peer_network import ConnectedPeers, Questions
from federation.ratchets.interface import Ratchets
from federation.replication.rendering import OwnEvents
from federation.replication.service import Replication, Services
from federation.transport.http import FederationDoor, HttpTransport
from federation.transport.strangers import Strangers
from homeserver.app.foundation import Foundation
from homeserver.config import Config
from homeserver.encryption import device_keys
from homeserver.keyring import Keyring
from homeserver.matrix.identifiers import ServerName, localpart
from homeserver.outbound import Outbound
from homeserver.rooms import outside
from homeserver.storage import erasing, peer_profiles


@dataclass(frozen=True, slots=True)
class PeerServices:
    """Peers, as the rest of the server deals with them."""

    federation: Federation
    replication: Replication
    network: ConnectedPeers
    outbound: Outbound
    door: FederationDoor
    introductions: Introductions

    def serve(self, services: Services) -> None:
        """Answer peers with what the core offers. Once, before the start."""
        self.replication.serve(self.federation.requests, self.federation.inbox, services)

    async def start(self, get_acquainted: Callable[[ServerName], None]) -> None:
        """Open the doors and begin to work."""
        await self.introductions.start()
        self.federation.lines.when_opened.append(self.replication.greet)
        self.federation.lines.when_opened.append(lambda line: get_acquainted(line.peer))
        self.federation.start()
        self.replication.start()

    async def stop(self) -> None:
        """Stop working; nothing is lost."""
        await self.introductions.close()
        await self.federation.stop()
        await self.replication.close()
        await self.outbound.close()


def build(base: Foundation, own: OwnIdentity, keyring: Keyring) -> PeerServices:
    """Build what asks peers; `serve` adds later what answers them."""
    outbound = Outbound()
    transport = base.surroundings.transport or HttpTransport(outbound)
    world = World(base.database, keyring, base.clock, base.entropy, transport)
    settings = base.config.federation
    terms = Terms(localpart(base.owner), routes(base.config), settings)
    ratchets = base.surroundings.ratchets or ratchets_of(settings.ratchets)
    federation = Federation(world, own, ratchets, OwnEvents(settings), terms)
    ways_out.permit(outbound, base.database, federation.farewell)
    ask = Questions(federation.requests).ask
    replication = Replication(base.database, base.local, base.clock, own.identity, ask)
    network = ConnectedPeers(
        base.database,
        federation.requests,
        federation.outbox,
        replication.cards,
        replication.entering,
        Entrance(base.database, base.clock, own.server_name, settings.strangers_in_rooms),
    )
    introductions = _introductions(base, federation, terms)
    replication.tell_of_alarms(federation.lines.refresh)
    federation.peers.when_ended.append(device_keys.forget_peer)
    federation.peers.when_ended.append(erasing.delete_moments)
    federation.peers.when_ended.append(peer_profiles.delete_profiles_of)
    federation.peers.when_ended.append(
        lambda work, peer: outside.forget_server(
            work, base.local, base.owner, peer, base.clock.now_ms()
        )
    )
    limits = base.config.rate_limits
    strangers = Strangers(limits.strangers_per_minute, base.clock) if limits.enabled else None
    door = FederationDoor(federation.reception.receive, strangers)
    federation.reception.when_asked = door.note_asked
    return PeerServices(federation, replication, network, outbound, door, introductions)


def _introductions(base: Foundation, federation: Federation, terms: Terms) -> Introductions:
    built = Introductions(
        base.database,
        base.clock,
        federation.peers,
        Wishing(federation.party, federation.inviting, federation.connecting, terms),
        terms.federation.strangers_in_rooms,
    )
    built.register(federation.inbox, Passing(federation.party))
    federation.peers.when_ended.append(meeting.forget_peer)
    return built


def routes(config: Config) -> tuple[str, ...]:
    """Where peers find this server: what the owner says, else where it listens."""
    if config.server.public_urls:
        return config.server.public_urls
    listener = config.listener_serving("federation")
    return () if listener is None else (listener.url,)


def ratchets_of(library: str) -> Ratchets:
    """The library that the settings name, loaded when it is needed."""
    if library == "vodozemac":
        from federation.ratchets.vodozemac import Vodozemac

        return Vodozemac()
    from federation.ratchets.libolm import Libolm

    return Libolm()
