"""What the owner does with peers: invite, connect, agree, edit, pause, resume, revoke, block.

Each verb runs the consent table in one unit of work with everything it causes, then opens or
closes what lives in memory.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

from federation import (
    announcing,
    consent,
    consent_steps,
    doors,
    fingerprints,
    grants,
    invitation_links,
)
from federation.connecting import Connecting
from federation.consent import Effect, Outcome, Standing, Step, Ticket, Use
from federation.consent_steps import Doing
from federation.desk import DAY_MS, KNOCK, WAITING, Terms
from federation.farewell import Farewell
from federation.invitation_links import Link
from federation.inviting import Inviting
from federation.lines import Lines
from federation.turn_state import Party
from homeserver import errors
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import ServerName
from homeserver.storage import channels, frames, invitations, peers
from homeserver.storage.database import Database
from homeserver.storage.invitations import INVITER, Invitation
from homeserver.storage.peers import Peer
from homeserver.storage.unit_of_work import UnitOfWork

_SECRET_BYTES = 32
_HOUR_MS = 3_600_000


class NotNow(errors.Conflict):
    """That cannot be done with this connection as it stands."""


class NotReachable(errors.Conflict):
    """Nobody can reach this server, so nobody could use an invitation. Let the other one invite."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A new invitation: the link to hand over."""

    link: str
    intake: str
    expires_at: int


class Handshakes:
    """Both sides of a handshake, and what they run on."""

    def __init__(
        self, inviting: Inviting, connecting: Connecting, open_doors: doors.Doors, terms: Terms
    ) -> None:
        self.inviting = inviting
        self.connecting = connecting
        self.doors = open_doors
        self.terms = terms


class Peers:
    """The owner's verbs. `server_name` names the peer in all of them."""

    def __init__(
        self,
        database: Database,
        party: Party,
        lines: Lines,
        handshakes: Handshakes,
        farewell: Farewell,
    ) -> None:
        self._farewell = farewell
        self._database = database
        self._party = party
        self._lines = lines
        self._handshakes = handshakes
        self.has_rescheduled = asyncio.Event()
        # What other parts do in the same unit of work: hide a peer's users, drop its deposits.
        self.when_ended: list[Callable[[UnitOfWork, ServerName], None]] = []
        # What other parts do in the unit of work that makes a connection active again.
        self.when_resumed: list[Callable[[UnitOfWork, ServerName], None]] = []

    def load_all(self) -> list[Peer]:
        """Every peer and tombstone."""
        return self._database.read(peers.load_peers)

    def find(self, server_name: ServerName) -> Peer:
        """One peer; raises `NotFound`."""
        peer = self._database.read(lambda view: peers.find_peer(view, server_name))
        if peer is None:
            raise errors.NotFound
        return peer

    def words_with(self, peer: Peer) -> str:
        """The words both people compare: the same on both screens, or somebody is in between."""
        return fingerprints.words_between(self._party.own.node_id, peer.node_id)

    async def invite(
        self, how: str = "link", *, asks_owner: bool = False, expected: str | None = None
    ) -> Issued:
        """Make a link that one person may use once. `how` is `link`, `scanned` or `knock`."""
        terms, clock = self._handshakes.terms, self._party.clock
        if not terms.routes:
            raise NotReachable
        if how == KNOCK and not terms.federation.knock_link:
            raise NotNow("Knock links are switched off.")
        intake = self._party.entropy.token_bytes(doors.ADDRESS_BYTES).hex()
        secret = self._party.entropy.token_bytes(_SECRET_BYTES)
        now = clock.now_ms()
        days = 3_650 if how == KNOCK else terms.federation.invitation_lifetime_days
        invitation = Invitation(
            intake=intake,
            secret=self._party.sessions.keyring.seal("invitation", intake, secret),
            ticket=Ticket.OPEN.value,
            how=how,
            asks_owner=asks_owner,
            expected=expected,
            room_id=None,
            created_at=now,
            expires_at=now + int(days * DAY_MS),
        )
        await self._database.write(lambda work: invitations.save_invitation(work, invitation))
        self._handshakes.inviting.open_intake(invitation)
        own = self._party.own
        link = Link(
            own.node_id, own.server_name, terms.routes, intake, secret, invitation.expires_at
        )
        return Issued(invitation_links.write(link), intake, invitation.expires_at)

    async def withdraw(self, intake: str) -> None:
        """Make an invitation void that nobody has used."""

        def operation(work: UnitOfWork) -> None:
            invitation = invitations.find_invitation(work, intake)
            if invitation is None:
                raise errors.NotFound
            outcome = _use(Ticket(invitation.ticket), Use.WITHDRAWN)
            invitations.change_invitation(work, intake, ticket=outcome.ticket.value)

        await self._database.write(operation)
        self._handshakes.doors.close(bytes.fromhex(intake))

    async def connect(self, text: str, how: str = "link") -> ServerName:
        """Open somebody's link: our yes. The connection is active once both sides proved."""
        link = invitation_links.read(text)
        if link.expires_at < self._party.clock.now_ms():
            raise errors.InvalidParam("That invitation has expired. Ask for another one.")
        if not link.routes:
            raise errors.InvalidParam("That invitation does not say where its server is.")
        connecting = self._handshakes.connecting
        try:
            handshake = await self._database.write(
                lambda work: connecting.open_link(work, link, how)
            )
        except consent.Breach as error:
            raise NotNow from error
        connecting.pursue(handshake.key)
        return link.server_name

    async def accept(self, server_name: ServerName) -> None:
        """Say yes to a request that waits."""

        def operation(work: UnitOfWork) -> None:
            peer = _load(work, server_name)
            waiting = [
                one
                for one in invitations.handshakes_with(work, peer.node_id)
                if one.role == INVITER and one.state == WAITING
            ]
            if not waiting:
                raise NotNow
            self._handshakes.inviting.agree(work, waiting[-1], peer, self._by_owner())

        await self._write(operation)

    async def decline(self, server_name: ServerName) -> None:
        """Say no to a request that waits. The other side sees no difference to silence."""
        await self._step(server_name, Step.OWNER_DECLINED)

    async def pause(self, server_name: ServerName, why: str = "the owner") -> None:
        """Stop everything with a peer, losing nothing."""
        await self._step(server_name, Step.OWNER_PAUSED, paused_because=why)

    async def resume(self, server_name: ServerName) -> None:
        """Go on: everything held flows at once."""
        await self._step(server_name, Step.OWNER_RESUMED)

    async def revoke(self, server_name: ServerName, *, says_goodbye: bool = False) -> None:
        """End the connection for ever, in one crash-safe transaction.

        A goodbye, if the owner wants one, is sealed inside it and tried for ten seconds after.
        """
        line = self._lines.find(server_name) if says_goodbye else None

        def seal(work: UnitOfWork) -> bytes | None:
            return None if line is None else self._farewell.seal(work, line)

        goodbye = await self._step(server_name, Step.OWNER_REVOKED, first=seal)
        if line is not None and goodbye is not None:
            self._farewell.send(line, goodbye)

    async def block(self, server_name: ServerName) -> None:
        """End the connection, and let nothing of theirs ever reach the owner again."""
        await self._step(server_name, Step.OWNER_BLOCKED)

    async def unblock(self, server_name: ServerName) -> None:
        """Let a new invitation count again."""
        await self._step(server_name, Step.OWNER_UNBLOCKED)

    async def edit_grants(self, server_name: ServerName, changes: JsonObject) -> grants.Grants:
        """Change what the peer may do, from the next frame on, and tell the peer."""

        def operation(work: UnitOfWork) -> grants.Grants:
            peer = _load(work, server_name)
            edited = grants.edit(peer.grants, changes)
            peers.change_peer(work, server_name, grants=edited.model_dump())
            if consent.is_connected(Standing(peer.standing)):
                told = {"grants": grants.as_told(edited.model_dump())}
                frames.queue_item(work, server_name, frames.CONTROL, "grants", told)
                routes = self._handshakes.terms.routes
                announcing.announce(work, self._party.own, routes, server_name)
            return edited

        edited: grants.Grants = await self._write(operation)
        self.has_rescheduled.set()
        line = self._lines.find(server_name)
        if line is not None:
            line.rate = edited.rate
        return edited

    async def pause_everything(self, *, is_paused: bool) -> None:
        """Pause or resume the whole server; peers paused singly stay as they are."""
        await self._database.write(lambda work: peers.pause_everything(work, is_paused=is_paused))
        for peer in self.load_all():
            self._lines.refresh(peer.server_name)

    async def dismiss_alarm(self, server_name: ServerName) -> None:
        """The owner has looked into it, and wants to go on."""
        await self._database.write(lambda work: peers.change_peer(work, server_name, alarm=None))
        self._lines.refresh(server_name)

    def _by_owner(self) -> Doing:
        return Doing(self._party.clock.now_ms(), "owner", "owner")

    async def _step(
        self,
        server_name: ServerName,
        step: Step,
        *,
        first: Callable[[UnitOfWork], bytes | None] = lambda _work: None,
        **changes: Any,
    ) -> bytes | None:
        """Take a step with all it causes; returns what `first` made before it."""

        def operation(work: UnitOfWork) -> tuple[bytes | None, list[str]]:
            made = first(work)
            peer = replace(_load(work, server_name), **changes)
            _, outcome = consent_steps.take(work, peer, step, self._by_owner())
            return made, self._carry_out(work, peer, outcome)

        made, forgotten = await self._write(operation)
        for key in forgotten:
            self._handshakes.connecting.give_up(key)
            self._handshakes.doors.close_all(doors.HANDSHAKE, key)
        self._lines.refresh(server_name)
        return cast("bytes | None", made)

    def _carry_out(self, work: UnitOfWork, peer: Peer, outcome: Outcome) -> list[str]:
        """The effects of a step; returns the handshakes that were forgotten."""
        forgotten = []
        if Effect.FORGET_HANDSHAKE in outcome.effects:
            forgotten = [one.key for one in invitations.handshakes_with(work, peer.node_id)]
            invitations.delete_handshakes_with(work, peer.node_id)
        if Effect.FORGET_PEER in outcome.effects:
            channels.delete_channel(work, peer.server_name)
            frames.delete_everything(work, peer.server_name)
            peers.change_peer(work, peer.server_name, granted={}, alarm=None)
        if Effect.HIDE_PEER in outcome.effects:
            for tell in self.when_ended:
                tell(work, peer.server_name)
        if Effect.CONTACT_PEER in outcome.effects:
            for tell in self.when_resumed:
                tell(work, peer.server_name)
        return forgotten

    async def _write(self, operation: Callable[[UnitOfWork], Any]) -> Any:
        try:
            return await self._database.write(operation)
        except consent.Breach as error:
            raise NotNow from error


def _load(work: UnitOfWork, server_name: ServerName) -> Peer:
    peer = peers.find_peer(work, server_name)
    if peer is None:
        raise errors.NotFound
    return peer


def _use(ticket: Ticket, step: Use) -> consent.TicketOutcome:
    try:
        return consent.use(ticket, step)
    except consent.Breach as error:
        raise NotNow from error
