"""End what took too long: invitations, half-made connections, grants with an end."""

import asyncio
from dataclasses import replace

from federation import consent_steps, half_open, issuing, waiting
from federation.consent import Effect, Outcome, Standing, Step, Ticket, Use
from federation.consent_steps import Doing
from federation.lines import Lines
from federation.peers import Handshakes
from federation.turn_state import Party
from homeserver.storage import invitations, notices, peers, wake_ups
from homeserver.storage.database import Database
from homeserver.storage.invitations import Invitation
from homeserver.storage.peers import Peer
from homeserver.storage.unit_of_work import UnitOfWork, View

_HOUR_MS = 3_600_000


class Expiring:
    """Wakes when the next thing is over."""

    def __init__(
        self,
        database: Database,
        party: Party,
        lines: Lines,
        handshakes: Handshakes,
    ) -> None:
        self._database = database
        self._party = party
        self._lines = lines
        self._handshakes = handshakes
        self._has_moved = asyncio.Event()

    async def expire(self) -> None:
        """End what took too long: invitations, half-made connections, grants with an end."""
        now = self._party.clock.now_ms()
        closed = await self._database.write(lambda work: self._expire(work, now))
        for intake in closed:
            self._handshakes.doors.close(bytes.fromhex(intake))
        for peer in self._database.read(peers.load_peers):
            self._lines.refresh(peer.server_name)

    async def run(self) -> None:
        """End what is over, as soon as it is, for ever."""
        self._database.wake_ups.listen(wake_ups.STANDINGS, self._has_moved.set)
        try:
            while True:
                await self._run_once()
        finally:
            self._database.wake_ups.ignore(wake_ups.STANDINGS, self._has_moved.set)

    async def _run_once(self) -> None:
        clock = self._party.clock
        self._has_moved.clear()
        ends = self._database.read(_ends)
        left = (min(ends, default=clock.now_ms() + 2 * _HOUR_MS) - clock.now_ms()) / 1000
        if left < 0:
            await self.expire()
            left = 1.0
        # An hour at most: the machine may have slept, and its clock may have been set.
        await waiting.wait_for(self._has_moved, clock, min(left + 0.001, 3_600.0))

    def _expire(self, work: UnitOfWork, now: int) -> list[str]:
        """Returns the intakes of invitations that are over."""
        doing = Doing(now, "server", "expired")
        self._expire_handshakes(work, doing)
        for peer in peers.load_peers(work):
            ends = peer.grants.get("expires_at")
            if ends is not None and ends < now and peer.standing == Standing.ACTIVE:
                doubted = replace(peer, paused_because="its grants have expired")
                _, outcome = consent_steps.take(work, doubted, Step.DOUBT_ROSE, doing)
                _tell(work, outcome, peer, "paused", now)
        needed, closed = {one.intake for one in invitations.load_handshakes(work)}, []
        for invitation in invitations.load_invitations(work):
            is_void = invitation.ticket == Ticket.VOID.value
            if invitation.intake in needed or not (is_void or invitation.expires_at < now):
                continue
            if not is_void:
                invitations.change_invitation(work, invitation.intake, ticket=Ticket.VOID.value)
                _tell_unused(work, invitation, now)
            closed.append(invitation.intake)
        return closed

    def _expire_handshakes(self, work: UnitOfWork, doing: Doing) -> None:
        for handshake in invitations.load_handshakes(work):
            if handshake.expires_at >= doing.at:
                continue
            issuing.void_used_by(work, [handshake], Use.EXPIRED)
            ended = half_open.end(work, self._party, handshake, Step.EXPIRED, doing)
            if ended is not None:
                peer, outcome = ended
                _tell(work, outcome, peer, "expired", doing.at)


def _tell(work: UnitOfWork, outcome: Outcome, peer: Peer, kind: str, now: int) -> None:
    if {Effect.TELL_OWNER, Effect.ASK_OWNER} & set(outcome.effects):
        words = {"server_name": peer.server_name, "name": peer.name}
        notices.tell_owner(work, now, kind, peer.node_id, words)


def _tell_unused(work: UnitOfWork, invitation: Invitation, now: int) -> None:
    """An invitation that nobody used in time is worth a word: whoever has it will find it dead."""
    if invitation.ticket == Ticket.OPEN.value and invitation.room_id is None:
        content = {"created_at": invitation.created_at, "intake": invitation.intake}
        notices.tell_owner(work, now, "invitation_expired", "", content)


def _ends(view: View) -> list[int]:
    """When each thing that has an end is over."""
    under_way = invitations.load_handshakes(view)
    needed = {one.intake for one in under_way}
    ends = [one.expires_at for one in under_way]
    ends += [
        one.expires_at
        for one in invitations.load_invitations(view)
        if one.ticket != Ticket.VOID.value and one.intake not in needed
    ]
    ends += [
        peer.grants["expires_at"]
        for peer in peers.load_peers(view)
        if peer.grants.get("expires_at") is not None and peer.standing == Standing.ACTIVE.value
    ]
    return ends
