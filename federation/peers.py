"""What the owner does with peers: invite, connect, agree, edit, pause, resume, revoke, block.

Each verb runs the consent table in one unit of work with everything it causes, then opens or
closes what lives in memory.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from federation import (
    agreeing,
    announcing,
    consent,
    consent_steps,
    doors,
    early_invitations,
    editing,
    fingerprints,
    forgetting,
    grants,
    invitation_links,
    naming,
    revoking,
    sentences,
)
from federation.connecting import Connecting
from federation.consent import Effect, Outcome, Standing, Step
from federation.consent_steps import Doing
from federation.desk import WAITING, Terms
from federation.doors import Doors
from federation.farewell import Farewell
from federation.inviting import Inviting
from federation.issuing import Issued, Issuing, Wish
from federation.lines import Lines
from federation.opening import Choice
from federation.revoking import Choice as RevokeChoice
from federation.revoking import Parting, RevokeReport
from federation.sentences import NotNow
from federation.turn_state import Party
from homeserver import crash_points, errors
from homeserver.crash_points import Point
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import ServerName
from homeserver.storage import cards, invitations, peers
from homeserver.storage.database import Database
from homeserver.storage.invitations import INVITER, Handshake
from homeserver.storage.peers import Peer
from homeserver.storage.unit_of_work import UnitOfWork, View

# How the owner did something, unless whoever asks for it knows better.
OWNER = "owner"


@dataclass(frozen=True, slots=True)
class Handshakes:
    """Both sides of a handshake, and what they run on."""

    inviting: Inviting
    connecting: Connecting
    issuing: Issuing
    doors: Doors
    terms: Terms


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
        # Removes a file from disk that a revoke erased.
        self.discard_file: Callable[[str], None] = lambda _file_id: None
        # What other parts do in the same unit of work: hide a peer's users, drop its deposits.
        self.when_ended: list[Callable[[UnitOfWork, ServerName], None]] = []
        # What other parts do in the unit of work that makes a connection active again.
        self.when_resumed: list[Callable[[UnitOfWork, ServerName], None]] = []

    def load_all(self) -> list[Peer]:
        """Every peer and tombstone."""
        return self._database.read(peers.load_peers)

    def find(self, server_name: ServerName) -> Peer:
        """One peer; raises `NotFound`."""
        return self._database.read(lambda view: _load(view, server_name))

    def resolve(self, name: str) -> Peer:
        """The one peer that a person means by a name; raises `NotFound` or `Conflict`."""
        return naming.find(self.load_all(), name)

    def words_with(self, peer: Peer) -> str:
        """The words both people compare: the same on both screens, or somebody is in between."""
        return fingerprints.words_between(self._party.own.node_id, peer.node_id)

    async def invite(self, how: str = "link", **wish: Any) -> Issued:
        """Make a link that one person may use once; see `issuing.Wish`."""
        return await self._handshakes.issuing.invite(Wish(how, **wish))

    async def withdraw(self, intake: str, how: str = OWNER) -> None:
        """Make an invitation void that has connected nobody; whoever waits at it is refused."""
        await self._handshakes.issuing.withdraw(intake, how)

    async def connect(
        self, text: str, how: str = "link", grants: str | None = None, way: str | None = None
    ) -> ServerName:
        """Open somebody's link: our yes. The connection is active once both sides proved."""
        link = invitation_links.read(text)
        if link.expires_at < self._party.clock.now_ms():
            raise errors.InvalidParam("That invitation has expired. Ask for another one.")
        if not link.routes:
            raise errors.InvalidParam("That invitation does not say where its server is.")
        connecting, choice = self._handshakes.connecting, Choice(how, grants, way=way)
        handshake: Handshake = await self._write(
            lambda work: connecting.open_link(work, link, choice)
        )
        crash_points.reach(Point.REQUEST_KEPT)
        connecting.pursue(handshake.key)
        return link.server_name

    async def cancel(self, server_name: ServerName, how: str = OWNER) -> None:
        """Take a yes back that the other side has not answered yet."""
        await self._step(server_name, Step.OWNER_CANCELLED, how)

    async def accept(
        self, server_name: ServerName, how: str = OWNER, grant_set: str | None = None
    ) -> None:
        """Say yes to a request that waits; with a named set of grants, if the owner names one."""
        chosen = agreeing.chosen(self._handshakes.terms.federation, grant_set)

        def operation(work: UnitOfWork) -> None:
            peer = _load(work, server_name)
            waiting = [
                one
                for one in invitations.handshakes_with(work, peer.node_id)
                if one.role == INVITER and one.state == WAITING
            ]
            if not waiting:
                raise consent.Breach(Step.OWNER_AGREED, Standing(peer.standing))
            peer = agreeing.begun_again(self._handshakes.terms.federation, peer, chosen)
            self._handshakes.inviting.agree(work, waiting[-1], peer, self._by_owner(how))

        await self._write(operation)

    async def decline(self, server_name: ServerName, how: str = OWNER) -> None:
        """Say no to a request that waits. The other side sees no difference to silence."""
        await self._step(server_name, Step.OWNER_DECLINED, how)

    async def pause(
        self, server_name: ServerName, why: str = "the owner", how: str = OWNER
    ) -> None:
        """Stop everything with a peer, losing nothing."""
        await self._step(server_name, Step.OWNER_PAUSED, how, paused_because=why)

    async def resume(self, server_name: ServerName, how: str = OWNER) -> None:
        """Go on: everything held flows at once. Refused while what the peer may do has ended."""
        now = self._party.clock.now_ms()

        def check(work: UnitOfWork) -> None:
            editing.check_has_time(_load(work, server_name), now)

        await self._step(server_name, Step.OWNER_RESUMED, how, first=check)

    async def revoke(
        self,
        server_name: ServerName,
        how: str = OWNER,
        *,
        says_goodbye: bool = False,
        **choice: Any,
    ) -> RevokeReport:
        """End the connection for ever, in one crash-safe transaction; returns what that did.

        `choice` makes a `revoking.Choice`.
        A goodbye, if the owner wants one, is sealed inside it and tried for ten seconds after.
        """
        crash_points.reach(Point.REVOKE_BEGUN)
        line = self._lines.find(server_name) if says_goodbye else None
        parting = Parting(self._party, RevokeChoice(**choice), self.discard_file)

        def seal(work: UnitOfWork) -> Sequence[bytes]:
            return () if line is None else self._farewell.seal(work, line)

        goodbye = await self._step(server_name, Step.OWNER_REVOKED, how, first=seal, then=parting)
        crash_points.reach(Point.REVOKE_DONE)
        if line is not None and goodbye:
            self._farewell.send(line, goodbye)
        return revoking.with_goodbye(
            parting.report, is_wanted=says_goodbye, is_sealed=bool(goodbye)
        )

    def preview_end(
        self, server_name: ServerName, step: Step = Step.OWNER_REVOKED, **choice: Any
    ) -> RevokeReport:
        """What a revoke or block would do now, in plain words. Raises `NotNow`."""

        def look(view: View) -> RevokeReport:
            peer = _load(view, server_name)
            consent.take(Standing(peer.standing), step)
            return revoking.preview(view, peer, RevokeChoice(**choice))

        try:
            return self._database.read(look)
        except consent.Breach as breach:
            raise sentences.not_now(breach) from breach

    async def block(self, server_name: ServerName, how: str = OWNER, **choice: Any) -> RevokeReport:
        """End the connection as a revoke does, and let nothing of theirs ever reach the owner."""
        parting = Parting(self._party, RevokeChoice(**choice), self.discard_file)
        await self._step(server_name, Step.OWNER_BLOCKED, how, then=parting)
        return parting.report

    async def unblock(self, server_name: ServerName, how: str = OWNER) -> None:
        """Let a new invitation count again."""
        await self._step(server_name, Step.OWNER_UNBLOCKED, how)

    async def edit_grants(
        self,
        server_name: ServerName,
        changes: JsonObject,
        how: str = OWNER,
        grant_set: str | None = None,
    ) -> grants.Grants:
        """Change what the peer may do, from the next frame on, and tell the peer.

        A named set of the settings goes first; it leaves the note and the end as they are.
        """
        terms = self._handshakes.terms
        routes = terms.routes
        changes = agreeing.impersonal(terms.federation, grant_set) | changes

        def operation(work: UnitOfWork) -> tuple[grants.Grants, bool]:
            peer = _load(work, server_name)
            edited = editing.edit(work, peer, changes, self._party.clock.now_ms())
            editing.record(work, peer, edited, self._by_owner(how))
            announcing.announce(work, self._party.own, routes, server_name)
            return edited, announcing.was_told_a_route(work, server_name)

        edited, knows_us = await self._database.write(operation)
        line = self._lines.find(server_name)
        if line is not None:
            line.rate = edited.rate
            self._lines.note_reach(line, knows_us=knows_us)
        return edited

    async def pause_everything(self, *, is_paused: bool, how: str = OWNER) -> None:
        """Pause or resume the whole server; peers paused singly stay as they are."""
        doing = self._by_owner(how)

        def operation(work: UnitOfWork) -> None:
            if peers.is_everything_paused(work) is not is_paused:
                peers.pause_everything(work, is_paused=is_paused)
                consent_steps.note_everything(work, doing, is_paused=is_paused)

        await self._database.write(operation)
        self._handshakes.connecting.begin_anew()
        for peer in self.load_all():
            self._lines.refresh(peer.server_name)

    async def end_with_rooms(self, server_name: ServerName) -> None:
        """End a connection that was made for rooms: the last of them was left."""
        now = self._party.clock.now_ms()

        def remember(work: UnitOfWork, peer: Peer) -> None:
            cards.save_card(work, server_name, peer.proof, now)  # his events are still checked

        await self._step(server_name, Step.ROOMS_ENDED, "the rooms are left", then=remember)

    async def dismiss_alarm(self, server_name: ServerName, how: str = OWNER) -> None:
        """The owner has looked into it, and wants to go on."""

        def operation(work: UnitOfWork) -> None:
            peer = _load(work, server_name)
            if peer.alarm is None:
                raise NotNow("There is no alarm to dismiss.")
            peers.change_peer(work, server_name, alarm=None)
            consent_steps.note(work, peer, "alarm dismissed", self._by_owner(how), peer.alarm)

        await self._database.write(operation)
        self._lines.refresh(server_name)

    def _by_owner(self, how: str = OWNER) -> Doing:
        return Doing(self._party.clock.now_ms(), "owner", how)

    async def _step(
        self,
        server_name: ServerName,
        step: Step,
        how: str = OWNER,
        *,
        first: Callable[[UnitOfWork], Sequence[bytes] | None] = lambda _work: None,
        then: Callable[[UnitOfWork, Peer], None] = lambda _work, _peer: None,
        **changes: Any,
    ) -> Sequence[bytes]:
        """Take a step with all it causes; returns what `first` made before it."""

        def operation(work: UnitOfWork) -> tuple[Sequence[bytes] | None, list[str]]:
            made = first(work)
            peer = replace(_load(work, server_name), **changes)
            who = "server" if step is Step.ROOMS_ENDED else "owner"
            doing = replace(self._by_owner(how), who=who)
            early_invitations.take_back(work, self._party, peer, step)
            peer, outcome = consent_steps.take(work, peer, step, doing)
            then(work, peer)
            return made, self._carry_out(work, peer, outcome)

        made, forgotten = await self._write(operation)
        if step is Step.OWNER_REVOKED:
            crash_points.reach(Point.REVOKE_KEPT)
        for key in forgotten:
            self._handshakes.connecting.give_up(key)
            self._handshakes.doors.close_all(doors.HANDSHAKE, key)
        if step in (Step.OWNER_PAUSED, Step.OWNER_RESUMED):
            self._handshakes.connecting.begin_anew(server_name)
        self._lines.refresh(server_name)
        return cast("Sequence[bytes] | None", made) or ()

    def _carry_out(self, work: UnitOfWork, peer: Peer, outcome: Outcome) -> list[str]:
        """The effects of a step; returns the handshakes that were forgotten."""
        forgotten = forgetting.forget(work, peer, outcome, self._party.clock.now_ms())
        if Effect.FORGET_PEER in outcome.effects:
            for tell in self.when_ended:
                tell(work, peer.server_name)
        if Effect.CONTACT_PEER in outcome.effects:
            for tell in self.when_resumed:
                tell(work, peer.server_name)
        return forgotten

    async def _write(self, operation: Callable[[UnitOfWork], Any]) -> Any:
        try:
            return await self._database.write(operation)
        except consent.Breach as breach:
            raise sentences.not_now(breach) from breach


def _load(view: View, server_name: ServerName) -> Peer:
    peer = peers.find_peer(view, server_name)
    if peer is None:
        raise errors.NotFound("There is no connection with that server.")
    return peer
