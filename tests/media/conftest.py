"""A media library on a database in memory, with a peer that is only pretended."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from homeserver import errors
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import ServerName
from homeserver.media import Media, MediaFiles, MediaSettings, RemoteFiles
from homeserver.ports import PeerFile, SystemClock, SystemEntropy
from homeserver.storage.database import Database
from homeserver.storage.wake_ups import WakeUps


@dataclass
class PretendedPeers:
    """Peers that hold a few files and answer nothing else."""

    files: dict[str, PeerFile] = field(default_factory=dict)
    asked_for: list[str] = field(default_factory=list)

    def is_awake(self, peer: ServerName) -> bool:
        return True

    async def ask(
        self, peer: ServerName, operation: str, body: JsonObject, timeout_s: float = 20.0
    ) -> JsonObject:
        raise errors.PeerUnreachable

    async def fetch_media(self, peer: ServerName, media_id: str) -> PeerFile:
        self.asked_for.append(media_id)
        if media_id not in self.files:
            raise errors.PeerRefused
        return self.files[media_id]

    def tell_now(self, peer: ServerName, edu: JsonObject) -> None:
        raise AssertionError


async def stream(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


@pytest.fixture
def peers() -> PretendedPeers:
    return PretendedPeers()


@pytest.fixture
async def media(tmp_path: Path, peers: PretendedPeers) -> AsyncIterator[Media]:
    database = Database(f"sqlite:///{tmp_path}/server.db", WakeUps(), inline=True)
    files = MediaFiles(tmp_path / "media", SystemEntropy())
    clock = SystemClock()
    remote = RemoteFiles(database, files, peers, clock)
    settings = MediaSettings(ServerName("alice.example"), 1_000_000, 500_000, 50_000_000)
    media = Media(database, files, remote, clock, settings)
    yield media
    await media.close()
    database.close()
