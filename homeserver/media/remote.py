"""A peer's files: fetched once, by one fetch for all who wait, and kept."""

import asyncio
from collections.abc import AsyncGenerator, Callable

from homeserver import errors, metrics
from homeserver.matrix.identifiers import MxcUri
from homeserver.media import labels
from homeserver.media.files import MediaFiles
from homeserver.ports import Clock, PeerFile, PeerNetwork
from homeserver.storage import media as stored_media
from homeserver.storage.database import Database
from homeserver.storage.media import StoredFile
from homeserver.storage.unit_of_work import UnitOfWork

_FETCHES_AT_ONCE = 8
_FETCH_TIMEOUT_S = 600.0


class RemoteFiles:
    """Fetches what is not here yet."""

    def __init__(
        self, database: Database, files: MediaFiles, peers: PeerNetwork, clock: Clock
    ) -> None:
        self._database = database
        self._files = files
        self._peers = peers
        self._clock = clock
        self._fetches: dict[MxcUri, asyncio.Task[StoredFile]] = {}

    async def fetch(self, uri: MxcUri, limit: int, wait_s: float) -> StoredFile:
        """Fetch a file, or wait for the fetch that runs already.

        The fetch goes on when whoever asked gives up: they will ask again.
        """
        fetch = self._fetches.get(uri)
        if fetch is None:
            if len(self._fetches) >= _FETCHES_AT_ONCE:
                raise errors.LimitExceeded(2_000)
            fetch = asyncio.create_task(self._fetch(uri, limit))
            self._fetches[uri] = fetch
            fetch.add_done_callback(self._forget(uri))
        try:
            return await asyncio.wait_for(asyncio.shield(fetch), wait_s)
        except TimeoutError:
            raise errors.PeerUnreachable from None
        except (errors.PeerRefused, errors.NotConnected):
            raise errors.NotFound from None

    async def close(self) -> None:
        """End every fetch."""
        fetches = list(self._fetches.values())
        for fetch in fetches:
            fetch.cancel()
        await asyncio.gather(*fetches, return_exceptions=True)

    async def _fetch(self, uri: MxcUri, limit: int) -> StoredFile:
        async with asyncio.timeout(_FETCH_TIMEOUT_S):
            coming = await self._peers.fetch_media(uri.server, uri.media_id)
            if coming.size > limit:
                raise errors.PeerFileTooLarge
            try:
                return await self._keep(uri, coming)
            finally:
                if isinstance(coming.parts, AsyncGenerator):
                    await coming.parts.aclose()

    async def _keep(self, uri: MxcUri, coming: PeerFile) -> StoredFile:
        file_id = self._files.draw_id()
        try:
            size = await self._files.store(file_id, coming.parts, coming.size)
        except errors.TooLarge:
            raise errors.PeerFileBroken from None
        if size != coming.size:
            self._files.delete(file_id)
            raise errors.PeerFileBroken
        file = StoredFile(
            uri.server,
            uri.media_id,
            file_id,
            labels.clean_content_type(coming.content_type),
            labels.clean_filename(coming.filename),
            size,
            self._clock.now_ms(),
        )

        def save(work: UnitOfWork) -> None:
            stored_media.save_media(work, file)

        await self._database.write(save)
        metrics.bump("media_fetched")
        return file

    def _forget(self, uri: MxcUri) -> Callable[[asyncio.Task[StoredFile]], None]:
        def done(fetch: asyncio.Task[StoredFile]) -> None:
            self._fetches.pop(uri, None)
            if not fetch.cancelled():
                fetch.exception()  # seen: nobody may be waiting any more

        return done
