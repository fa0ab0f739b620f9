"""Replication as one thing: built before the services that ask peers, and told of them afterwards.

Asking needs no service; answering and taking in do. They meet in the tables of `Requests` and
`Inbox`, not in references to each other.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from federation import heeding, payloads
from federation.identity import Identity
from federation.inbox import Finish, Inbox
from federation.lines import Line
from federation.replication import greetings
from federation.replication.answers import Answers, Outside
from federation.replication.asking import Ask
from federation.replication.browsing import Browsing
from federation.replication.cards import Cards
from federation.replication.entering import Entering
from federation.replication.events import EventIntake
from federation.replication.fetching import Fetching
from federation.replication.holding import Holding
from federation.replication.joining import Joining
from federation.replication.people import People
from federation.replication.updates import Updates
from federation.requests import Reply, Requests
from homeserver import metrics
from homeserver.encryption import deposits
from homeserver.ephemeral import Typing
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import ServerName
from homeserver.media import Media
from homeserver.ports import Clock
from homeserver.rooms.aliases import RoomAliases
from homeserver.rooms.directory import RoomDirectory
from homeserver.rooms.joining import Verify
from homeserver.rooms.local_server import LocalServer
from homeserver.rooms.spaces import Spaces
from homeserver.storage.database import Database
from homeserver.storage.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class Services:
    """What answering peers needs of the core."""

    typing: Typing
    aliases: RoomAliases
    media: Media
    directory: RoomDirectory
    spaces: Spaces


class Replication:
    """Rooms and keys over the channel."""

    def __init__(
        self, database: Database, local: LocalServer, clock: Clock, own: Identity, ask: Ask
    ) -> None:
        self._database = database
        self._local = local
        self._clock = clock
        self.cards = Cards(database, clock, own)
        self.fetching = Fetching(database, ask, self.cards)
        self.entering = Entering(clock)
        self._greetings: set[asyncio.Task[None]] = set()
        self._is_started = False
        self.intake = EventIntake(database, self.fetching, self.entering, clock)
        self.holding = Holding(database, self.intake.placing, own.server_name, clock)

    @property
    def verify(self) -> Verify:
        """How the core has events checked that a peer answered with."""
        return self.fetching.verify

    def tell_of_alarms(self, tell: Callable[[ServerName], object]) -> None:
        """Say whom a card that others passed on stopped."""
        self.cards.when_alarmed = tell

    def start(self) -> None:
        """Begin to try again what waits."""
        self.holding.start()
        self._is_started = True

    def greet(self, line: Line) -> None:
        """A connection opened: leave our keys there and go on in shared rooms.

        For `Lines.when_opened`, before the outbox starts.
        """
        self.holding.hurry()
        now_ms, is_start = self._clock.now_ms(), not self._is_started

        def greet(work: UnitOfWork) -> None:
            greetings.greet(work, line.peer, now_ms, is_start=is_start)

        greeting = asyncio.get_running_loop().create_task(self._database.write(greet))
        self._greetings.add(greeting)
        greeting.add_done_callback(self._greetings.discard)

    async def close(self) -> None:
        """Finish what is being said."""
        await self.holding.close()
        await asyncio.gather(*self._greetings, return_exceptions=True)

    def updates(self, typing: Typing) -> Updates:
        """What takes in everything beside events."""
        return Updates(self._local, self._clock, self.cards, typing)

    def answers(self, services: Services) -> Answers:
        """Everything that peers may ask."""
        joining = Joining(
            self._database,
            self._local,
            self._clock,
            self.cards,
            self.fetching,
            self.intake.placing,
        )
        people = People(self._database, services.aliases, self._clock)
        browsing = Browsing(self._database, services.directory, services.spaces)
        outside = Outside(services.media, browsing)
        return Answers(self._database, self.cards, joining, people, outside)

    def serve(self, requests: Requests, inbox: Inbox, services: Services) -> None:
        """Answer what peers ask, and take in what they send. Once, before anything is started."""
        answers = self.answers(services)
        for operation in answers.operations:
            requests.register(operation, partial(_answer, answers, operation))
        taking = self.updates(services.typing)
        inbox.register_control("invite", taking.take_in_invite)
        inbox.register_control("leave", taking.take_in_leave)
        inbox.register_control(deposits.DEPOSIT, taking.take_in_deposit)
        inbox.register_control(deposits.DEPOSIT_USED, taking.take_in_deposit_used)
        inbox.register_control(deposits.DEPOSIT_RENEW, taking.take_in_renewal)
        inbox.register_items(taking.take_in_items)
        inbox.register_transactions(partial(take_in_transaction, self.intake, taking))


async def take_in_transaction(
    intake: EventIntake, taking: Updates, peer: ServerName, parts: JsonObject, finish: Finish
) -> None:
    """Take in a transaction that was cut to the peer's grants.

    Events that it may not show us are dropped; should we need them for the graph, the gap is
    filled by asking whoever refers to them.
    """
    metrics.bump("events_not_granted", len(parts["hidden_pdus"]))

    def take_rest(work: UnitOfWork) -> None:
        still = payloads.permitted_edus(parts["edus"], heeding.heeded(work, peer).may)
        taking.take_in_edus(work, peer, still)
        finish(work)

    await intake.take_in(peer, parts["pdus"], take_rest)


async def _answer(answers: Answers, operation: str, peer: ServerName, body: JsonObject) -> Reply:
    answer, attachment = await answers.answer(peer, operation, body)
    return Reply(answer, attachment)
