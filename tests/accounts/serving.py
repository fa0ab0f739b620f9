"""The client API of an account, served for real, on a clock and with peers that a test controls."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from api import application
from api.client import (
    account,
    account_data,
    dehydrated,
    devices,
    encryption,
    key_backup,
    login,
    profile,
    push,
    third_parties,
    versions,
)
from api.routing import Routes
from homeserver import errors
from homeserver.accounts import passwords, registration
from homeserver.accounts.account_data import ClientConfig
from homeserver.accounts.deactivation import Deactivation
from homeserver.accounts.devices import Devices
from homeserver.accounts.interactive_auth import InteractiveAuth
from homeserver.accounts.login import LogIn
from homeserver.accounts.passwords import Passwords
from homeserver.accounts.profile import Profiles
from homeserver.accounts.rate_limits import RateLimit
from homeserver.accounts.relay import Relay
from homeserver.accounts.sessions import Sessions
from homeserver.accounts.short_tokens import ShortTokens
from homeserver.config import VoipSettings
from homeserver.encryption.cross_signing import CrossSigning
from homeserver.encryption.dehydration import Dehydration
from homeserver.encryption.device_keys import DeviceKeys
from homeserver.encryption.key_backup import KeyBackup
from homeserver.encryption.to_device import ToDevice
from homeserver.encryption.uploading import KeyUploads
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import ServerName, UserId
from homeserver.ports import PeerFile, SystemEntropy
from homeserver.push import PushRules
from homeserver.push.history import NotificationHistory
from homeserver.push.pushers import Pushers
from homeserver.storage.database import Database
from homeserver.sync.saved_filters import Filters

Client = TestClient[web.Request, web.Application]

ALICE = UserId("@alice:alice.example")
BOB = UserId("@bob:bob.example")
HOME = ServerName("alice.example")
BOBS = ServerName("bob.example")
PASSWORD = "correct horse"
PASSWORD_HASH = passwords.hash_at_once(PASSWORD)
V3 = "/_matrix/client/v3"
BACKUP_QUOTA = 600_000
GATEWAY = "https://push.example/_matrix/push/v1/notify"

MODULES = (
    account,
    account_data,
    dehydrated,
    devices,
    encryption,
    key_backup,
    login,
    profile,
    push,
    third_parties,
    versions,
)


class Hands:
    """A clock that moves only when told."""

    def __init__(self) -> None:
        self.seconds = 1_700_000_000.0

    def now_ms(self) -> int:
        return int(self.seconds * 1_000)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(seconds)


@dataclass
class PretendedPeers:
    """Peers that sleep, unless a test gives them answers by operation."""

    answers: dict[str, Callable[[JsonObject], JsonObject]] = field(default_factory=dict)
    asked: list[tuple[str, str, JsonObject]] = field(default_factory=list)

    def is_awake(self, peer: ServerName) -> bool:
        return bool(self.answers) and peer == BOBS

    async def ask(
        self, peer: ServerName, operation: str, body: JsonObject, timeout_s: float = 20.0
    ) -> JsonObject:
        self.asked.append((peer, operation, body))
        if operation not in self.answers:
            raise errors.PeerUnreachable
        return self.answers[operation](body)

    async def fetch_media(self, peer: ServerName, media_id: str) -> PeerFile:
        raise AssertionError

    def tell_now(self, peer: ServerName, edu: JsonObject) -> None:
        raise AssertionError


@dataclass
class Served:
    """One server of Alice's, and what it told her rooms."""

    database: Database
    clock: Hands = field(default_factory=Hands)
    peers: PretendedPeers = field(default_factory=PretendedPeers)
    told_rooms: list[tuple[UserId, str | None, str | None]] = field(default_factory=list)
    logins_per_minute: int = 1_000
    voip: VoipSettings = field(default_factory=VoipSettings)
    directory: Path = Path()
    gateways: tuple[str, ...] = (GATEWAY,)

    def __post_init__(self) -> None:
        entropy = SystemEntropy()
        self.sessions = Sessions(self.database, self.clock, entropy)
        limit = RateLimit(self.logins_per_minute, self.clock)
        checks = Passwords()
        tokens = ShortTokens(self.database, self.clock, entropy)
        self.services: Mapping[type, Any] = {
            type(one): one
            for one in (
                self.sessions,
                tokens,
                LogIn(self.database, self.sessions, checks, limit, tokens),
                Deactivation(self.database, self.sessions),
                Relay(self.voip, self.clock, entropy, self.directory),
                InteractiveAuth(self.database, checks, limit, self.clock, entropy),
                Devices(self.database, self.sessions),
                Profiles(self.database, self.peers, HOME, self._tell_rooms, self.clock),
                ClientConfig(self.database),
                Filters(self.database),
                PushRules(self.database),
                Pushers(self.database, self.clock, self.gateways),
                NotificationHistory(self.database, self.clock),
                KeyUploads(self.database, self.clock),
                DeviceKeys(self.database, self.peers, self.clock, HOME),
                CrossSigning(self.database),
                KeyBackup(self.database, BACKUP_QUOTA),
                ToDevice(self.database, self.clock, HOME),
                Dehydration(self.database, self.clock),
                versions.BaseUrl(None),
            )
        }

    async def _tell_rooms(self, user_id: UserId, name: str | None, avatar: str | None) -> None:
        self.told_rooms.append((user_id, name, avatar))

    async def register(self) -> None:
        """Make Alice's account."""
        await self.database.write(
            lambda work: registration.create_owner(work, ALICE, PASSWORD_HASH, self.clock.now_ms())
        )

    def application(self) -> web.Application:
        """Every route that is about the account, as a listener serves it."""
        tables = [table for one in MODULES for table in vars(one).values() if type(table) is Routes]
        routes = [route for table in tables for route in table.all]
        return application.build(routes, self.services, self.sessions.authenticate)

    def client(self) -> Client:
        """A client without a session."""
        return TestClient(TestServer(self.application()))


@dataclass
class Device:
    """A client of Alice's with a session."""

    http: Client
    device_id: str
    token: str

    async def ask(
        self, method: str, path: str, body: Any = None, prefix: str = V3
    ) -> tuple[int, Any]:
        """Send a request; the answer's status and JSON."""
        async with self.http.request(
            method,
            prefix + path,
            json=body,
            headers={"Authorization": f"Bearer {self.token}"},
        ) as response:
            return response.status, await response.json()

    async def get(self, path: str) -> Any:
        """The answer to a request that must succeed."""
        return await self._succeed("GET", path, None)

    async def put(self, path: str, body: Any) -> Any:
        """Send something that must succeed."""
        return await self._succeed("PUT", path, body)

    async def post(self, path: str, body: Any) -> Any:
        """Send something that must succeed."""
        return await self._succeed("POST", path, body)

    async def _succeed(self, method: str, path: str, body: Any) -> Any:
        status, answer = await self.ask(method, path, body)
        assert status == 200, answer
        return answer


async def log_in(http: Client, device_id: str | None = None, **more: Any) -> Device:
    """Log Alice in."""
    body = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": "alice"},
        "password": PASSWORD,
        "device_id": device_id,
    }
    async with http.post(f"{V3}/login", json=body | more) as response:
        answer = await response.json()
        assert response.status == 200, answer
    return Device(http, answer["device_id"], answer["access_token"])


def with_password(challenge: Any, password: str = PASSWORD) -> JsonObject:
    """The answer to a request for the password."""
    return {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": ALICE},
        "password": password,
        "session": challenge["session"],
    }
