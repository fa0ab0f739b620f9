"""Build every object once, bottom to top. Nothing here decides anything."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from api import application
from api.client import tables
from federation import own_identity
from homeserver.accounts.sessions import Sessions
from homeserver.app import owner_services, peer_services
from homeserver.app.owner_services import Foundation, Outside
from homeserver.config import Config
from homeserver.ephemeral import Presences, TypingBoard
from homeserver.keyring import Keyring
from homeserver.media import Media
from homeserver.ports import SystemClock, SystemEntropy
from homeserver.rooms.local_server import LocalServer
from homeserver.storage.database import Database
from homeserver.storage.wake_ups import WakeUps


@dataclass(frozen=True, slots=True)
class Server:
    """A whole server, built and not yet listening."""

    config: Config
    database: Database
    services: Mapping[type, Any]

    def application(self, serves: Collection[str]) -> web.Application:
        """What one listener answers."""
        routes = tables.all_routes() if "client" in serves else []
        return application.build(routes, self.services, self.services[Sessions].authenticate)

    async def start_workers(self) -> None:
        """Begin what goes on by itself."""

    async def close(self) -> None:
        """End everything, the database last."""
        self.services[TypingBoard].close()
        self.services[Presences].close()
        await self.services[Media].close()
        self.database.close()


def build(config: Config, keyring: Keyring) -> Server:
    """Build a server; needs a running event loop."""
    own = own_identity.load(config.data_directory, keyring)
    base = Foundation(
        config,
        Database(config.database_url, WakeUps()),
        LocalServer(own.server_name, own.event_key),
        SystemClock(),
        SystemEntropy(),
    )
    outside = Outside(peer_services.Nobody(), peer_services.verify)
    return Server(config, base.database, owner_services.build(base, outside))
