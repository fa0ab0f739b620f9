"""Build every object once, bottom to top. Nothing here decides anything."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from api import application
from api.admin import tables as admin_tables
from api.admin.server import About
from api.authentication import AdminToken
from api.client import tables
from federation import own_identity
from federation.connections_room.worker import ConnectionsRoom
from federation.introductions.strangers import Strangers
from federation.overview import Overview
from federation.peers import Peers
from federation.replication.service import Services
from homeserver import errors
from homeserver.accounts.deactivation import Deactivation
from homeserver.accounts.profile import Profiles
from homeserver.accounts.sessions import Sessions
from homeserver.app import connections, owner_services, peer_services
from homeserver.app.foundation import Foundation
from homeserver.app.owner_services import Outside
from homeserver.app.peer_services import PeerServices
from homeserver.app.surroundings import Surroundings
from homeserver.config import Config
from homeserver.ephemeral import Presences, Typing, TypingBoard
from homeserver.keyring import Keyring
from homeserver.matrix.identifiers import UserId, localpart, server_of
from homeserver.media import Media
from homeserver.push import rules
from homeserver.push.delivering import PushDelivery
from homeserver.rooms.aliases import RoomAliases
from homeserver.rooms.delaying import DelayedEvents
from homeserver.rooms.directory import RoomDirectory
from homeserver.rooms.spaces import Spaces
from homeserver.rooms.tying import Tying
from homeserver.rooms.upkeep import Upkeep
from homeserver.storage import accounts, channels
from homeserver.storage.database import Database
from homeserver.storage.wake_ups import WakeUps

_THE_REAL_ONES = Surroundings()


class RatchetsUnreadable(errors.HomeserverError):
    """This server's connections were encrypted with vodozemac, which python-olm cannot take over.

    Set federation.ratchets to vodozemac again.
    """

    def __init__(self) -> None:
        super().__init__(" ".join((type(self).__doc__ or "").split()))


class NamesChanged(errors.HomeserverError):
    """The settings give this server or its owner another name than they have for life."""

    def __init__(self, setting: str, name: str, wanted: str) -> None:
        super().__init__(
            f"server.{setting} was {name} when this server was set up, and is for life; "
            f"the settings now say {wanted}. Put {name} back."
        )


@dataclass(frozen=True, slots=True)
class Server:
    """A whole server, built and not yet listening."""

    config: Config
    database: Database
    services: Mapping[type, Any]
    peers: PeerServices

    def application(self, serves: Collection[str]) -> web.Application:
        """What one listener answers."""
        routes = tables.all_routes() if "client" in serves else []
        if "admin" in serves:
            routes += admin_tables.all_routes()
        built = application.build(routes, self.services, self.services[Sessions].authenticate)
        if "federation" in serves:
            self.peers.door.attach(built)
        return built

    async def start_workers(self) -> None:
        """Begin what goes on by itself."""
        await self.database.write(rules.refresh_defaults)
        library = self.config.federation.ratchets
        if not await self.database.write(lambda work: channels.take_over_ratchets(work, library)):
            raise RatchetsUnreadable
        await self.peers.start(self.services[Profiles].get_acquainted)
        self.services[Tying].start()
        self.services[Upkeep].start()
        self.services[DelayedEvents].start()
        self.services[ConnectionsRoom].start()
        self.services[PushDelivery].start()

    async def close(self) -> None:
        """End everything, the database last."""
        await self.services[PushDelivery].close()
        await self.services[ConnectionsRoom].close()
        await self.services[DelayedEvents].close()
        await self.services[Upkeep].close()
        await self.services[Tying].close()
        await self.services[Profiles].close()
        await self.peers.stop()
        self.services[TypingBoard].close()
        self.services[Presences].close()
        await self.services[Media].close()
        self.database.close()


def build(config: Config, keyring: Keyring, surroundings: Surroundings = _THE_REAL_ONES) -> Server:
    """Build a server; needs a running event loop."""
    own = own_identity.load(config.data_directory, keyring)
    database = surroundings.open_database(config.database_url, WakeUps())
    owner = database.read(accounts.find_owner)
    if owner is None:
        database.close()
        raise errors.NotFound("This database has no owner; `homeserver init` makes one.")
    _check_names(config, database, owner)
    base = Foundation(config, database, own.local, owner, surroundings)
    connected = peer_services.build(base, own, keyring)
    outside = Outside(connected.network, connected.replication.verify)
    services = dict(owner_services.build(base, outside))
    answering = (Typing, RoomAliases, Media, RoomDirectory, Spaces)
    connected.serve(Services(*(services[kind] for kind in answering)))
    federation = connected.federation
    services[Peers] = federation.peers
    services[Deactivation].before.append(
        lambda: federation.peers.pause_everything(is_paused=True, how="account ended")
    )
    federation.peers.discard_file = services[Media].discard
    services[Overview] = Overview(
        database, federation.lines, federation.hearing, federation.connecting, own
    )
    services[Strangers] = Strangers(database, base.clock)
    connected.introductions.enter = connections.entering(base, services)
    services[ConnectionsRoom] = connections.build(base, services)
    services[About] = About(owner, peer_services.routes(config), base.clock, base.clock.monotonic())
    services[PushDelivery] = PushDelivery(database, connected.outbound, base.clock)
    services[AdminToken] = AdminToken(config.data_directory / "admin.token")
    return Server(config, database, services, connected)


def _check_names(config: Config, database: Database, owner: UserId) -> None:
    """Refuse to start under other names than the settings give: both are for life."""
    given = config.server
    has = {"user_name": localpart(owner), "server_name": server_of(owner)}
    for setting, name in has.items():
        wanted = getattr(given, setting)
        if setting in given.model_fields_set and wanted not in (None, name):
            database.close()
            raise NamesChanged(setting, name, wanted)
