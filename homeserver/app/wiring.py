"""Build every object once, bottom to top. Nothing here decides anything."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from api import application
from api.client import tables
from api.routing import Route
from homeserver.accounts.sessions import Sessions
from homeserver.app import owner_services, peer_services
from homeserver.app.owner_services import Foundation
from homeserver.config import Config
from homeserver.config.settings import Service
from homeserver.keyring import Keyring
from homeserver.storage.database import Database
from homeserver.storage.wake_ups import WakeUps


@dataclass(frozen=True, slots=True)
class Server:
    """A whole server, built and not yet listening."""

    config: Config
    database: Database
    services: Mapping[type, Any]
