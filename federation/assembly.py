"""Builds everything of `federation` once, bottom to top, and starts and stops it."""

import asyncio
import contextlib
import logging
from dataclasses import dataclass

from federation import announcing
from federation.channel import Channel
from federation.connecting import Connecting
from federation.controls import Controls
from federation.desk import DAY_MS, Terms
from federation.doors import Doors
from federation.expiring import Expiring
from federation.farewell import Farewell
from federation.filling import RoomSource
from federation.hearing import Hearing
from federation.inbox import Inbox
from federation.inviting import Inviting
from federation.issuing import Issuing
from federation.lines import Lines
from federation.outbox import Outbox, Pace
from federation.own_identity import OwnIdentity
from federation.peers import Handshakes, Peers
from federation.ratchets.interface import Ratchets
from federation.reception import Reception
from federation.requests import Requests
from federation.sessions import Sessions
from federation.transport.interface import Transport
from federation.turn_state import Party
from homeserver import errors, metrics
from homeserver.keyring import Keyring
from homeserver.matrix.identifiers import ServerName
from homeserver.ports import Clock, Entropy
from homeserver.storage import groups
from homeserver.storage.database import Database

logger = logging.getLogger(__name__)

_RETRY_SECONDS = 60.0
_NOTE_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class World:
    """What the federation needs of everything around it."""

    database: Database
    keyring: Keyring
    clock: Clock
    entropy: Entropy
    transport: Transport


class Federation:
    """One server's whole side of the protocol."""

    def __init__(
        self, world: World, own: OwnIdentity, ratchets: Ratchets, source: RoomSource, terms: Terms
    ) -> None:
        database, clock, entropy = world.database, world.clock, world.entropy
        settings = terms.federation
        self.party = Party(own, Sessions(ratchets, world.keyring), clock, entropy)
        self.doors = Doors(entropy.token_bytes(32))
        self.lines = Lines(database, world.keyring, self.doors)
        self.channel = Channel(database, self.party, source, settings)
        self.requests = Requests(database, self.lines, clock, entropy)
        self.inbox = Inbox(database, self.lines, clock)
        pace = Pace(settings, clock, entropy)
        self.outbox = Outbox(database, self.channel, world.transport, self.lines, pace)
        self.outbox.own_routes = terms.routes
        self.outbox.poll_seconds = max(1, int(settings.poll_seconds))
        self.outbox.most_items = settings.outbox_max_items
        self.outbox.lifetime_ms = int(settings.outbox_max_days * DAY_MS)
        self.inviting = Inviting(database, self.party, self.doors, self.lines, terms)
        self.connecting = Connecting(database, self.party, world.transport, self.lines, terms)
        self.farewell = Farewell(self.party, world.transport)
        issuing = Issuing(database, self.party, self.inviting, self.doors, terms)
        handshakes = Handshakes(self.inviting, self.connecting, issuing, self.doors, terms)
        self.peers = Peers(database, self.party, self.lines, handshakes, self.farewell)
        self.expiring = Expiring(database, self.party, self.lines, handshakes)
        self.reception = Reception(self.doors, self.lines, self.channel, self.inviting)
        Controls(self.party, self.lines).register(self.inbox)
        self.channel.awake = self.lines.awake
        self.channel.take_beside = self.requests.take_beside
        self.channel.when_stopped = lambda line: self._refresh(line.peer)
        self._clock = clock
        self._database = database
        self._routes = terms.routes
        self.hearing = Hearing(database, self.lines, clock)
        self._sweeper: asyncio.Task[None] | None = None

    def _refresh(self, peer: ServerName) -> None:
        self.lines.refresh(peer)

    def start(self) -> None:
        """Open every door and line, and begin to work."""
        self.inviting.load()
        self.lines.load()
        self.inbox.start()
        self.outbox.start()
        self.connecting.load()
        self._sweeper = asyncio.get_running_loop().create_task(self._sweep())

    async def _announce(self) -> None:
        own, routes = self.party.own, self._routes
        await self._database.write(lambda work: announcing.announce_all(work, own, routes))
        await self._database.write(lambda work: groups.forget_other_runs(work, self.party.run))

    async def stop(self) -> None:
        """Stop working. Nothing is lost; everything goes on after the next start."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
        await self.connecting.close()
        await self.farewell.close()
        await self.outbox.close()
        await self.inbox.close()
        with contextlib.suppress(errors.StorageFull):
            await self.hearing.note(exact_ms=1)
        self.lines.close_all()
        await self.requests.close()

    async def _sweep(self) -> None:
        await asyncio.gather(self._expire(), self._note())

    async def _expire(self) -> None:
        has_announced = False
        while True:
            try:
                if not has_announced:
                    await self._announce()
                    has_announced = True
                await self.expiring.run()
            except Exception:
                metrics.bump("unexpected_errors")
                logger.exception("could not end what has expired")
            await self._clock.sleep(_RETRY_SECONDS)

    async def _note(self) -> None:
        """Remember now and then when each peer was heard: deposits are as old as its silence."""
        while True:
            try:
                await self.hearing.note()
            except Exception:
                metrics.bump("unexpected_errors")
                logger.exception("could not note when peers were heard")
            await self._clock.sleep(_NOTE_SECONDS)
