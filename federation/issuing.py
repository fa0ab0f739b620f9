"""Make invitations, and take them back."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from federation import (
    agreeing,
    consent,
    consent_steps,
    doors,
    fingerprints,
    half_open,
    invitation_links,
    sentences,
)
from federation.consent import Breach, Step, Ticket, Use
from federation.consent_steps import Doing
from federation.desk import DAY_MS, DONE, Terms
from federation.doors import Doors
from federation.invitation_links import Link
from federation.inviting import Inviting
from federation.sentences import NotNow
from federation.turn_state import Party
from homeserver import crash_points, errors
from homeserver.crash_points import Point
from homeserver.storage import invitations
from homeserver.storage.database import Database
from homeserver.storage.invitations import INVITER, KNOCK, Handshake, Invitation
from homeserver.storage.unit_of_work import UnitOfWork

_SECRET_BYTES = 32
_KNOCK_DAYS = 3_650
_FEWEST_GROUPS = 2
_NODE_ID = re.compile(r"[a-z2-7]{52}")
_DNS_NAME = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+(:[0-9]{1,5})?")


# What the audit trail calls the two.
GIVEN, WITHDRAWN = "invitation given", "invitation withdrawn"


class NotReachable(errors.Conflict):
    """Nobody can reach this server, so nobody could use an invitation. Let the other one invite."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What an invitation is to be like."""

    how: str = "link"  # or `scanned` from this screen, or `knock`: asks every time, is not spent
    asks_owner: bool = False
    expected: str | None = None  # the only node id, or DNS name, that may use it
    grant_set: str | None = None
    way: str | None = None  # by which the owner ordered it, for the audit trail


@dataclass(frozen=True, slots=True)
class Issued:
    """A new invitation: the link to hand over."""

    link: str
    intake: str
    expires_at: int


class Issuing:
    """The owner's invitations."""

    def __init__(
        self, database: Database, party: Party, inviting: Inviting, open_doors: Doors, terms: Terms
    ) -> None:
        self._database = database
        self._party = party
        self._inviting = inviting
        self._doors = open_doors
        self._terms = terms

    async def invite(self, wish: Wish) -> Issued:
        """Make a link that one person may use once, or that many may knock with."""
        terms, entropy = self._terms, self._party.entropy
        if not terms.routes:
            raise NotReachable
        if wish.how == KNOCK and not terms.federation.knock_link:
            raise NotNow("Knock links are switched off; federation.knock_link switches them on.")
        intake = entropy.token_bytes(doors.ADDRESS_BYTES).hex()
        secret = entropy.token_bytes(_SECRET_BYTES)
        invitation = self._invitation(wish, intake, secret)
        await self._database.write(lambda work: _give(work, invitation, wish.way))
        crash_points.reach(Point.INVITATION_KEPT)
        self._inviting.open_intake(invitation)
        own, ends = self._party.own, invitation.expires_at
        link = Link(own.node_id, own.server_name, terms.routes, intake, secret, ends)
        return Issued(invitation_links.write(link), intake, ends)

    async def withdraw(self, intake: str, how: str) -> None:
        """Make an invitation void that has connected nobody; whoever waits at it is refused."""
        doing = Doing(self._party.clock.now_ms(), "owner", how)
        ended = await self._database.write(lambda work: _withdraw(work, self._party, intake, doing))
        self._doors.close(bytes.fromhex(intake))
        for key in ended:
            self._doors.close_all(doors.HANDSHAKE, key)

    def _invitation(self, wish: Wish, intake: str, secret: bytes) -> Invitation:
        now, settings = self._party.clock.now_ms(), self._terms.federation
        days = _KNOCK_DAYS if wish.how == KNOCK else settings.invitation_lifetime_days
        return Invitation(
            intake=intake,
            secret=self._party.sessions.keyring.seal("invitation", intake, secret),
            ticket=Ticket.OPEN.value,
            how=wish.how,
            asks_owner=wish.asks_owner,
            expected=None if wish.expected is None else _read_node(wish.expected),
            room_id=None,
            created_at=now,
            expires_at=now + int(days * DAY_MS),
            grants=agreeing.chosen(settings, wish.grant_set),
        )


def _give(work: UnitOfWork, invitation: Invitation, way: str | None) -> None:
    invitations.save_invitation(work, invitation)
    consent_steps.note_invitation(work, invitation, GIVEN, invitation.created_at, way)


def void_used_by(work: UnitOfWork, handshakes: Iterable[Handshake], use: Use) -> None:
    """Nothing came of those who used them, or it was ended: nobody else may use them either."""
    for handshake in handshakes:
        invitation = invitations.find_invitation(work, handshake.intake)
        if invitation is None or handshake.role != INVITER or invitation.how == KNOCK:
            continue
        outcome = consent.INVITATIONS.get((Ticket(invitation.ticket), use))
        if outcome is not None:
            invitations.change_invitation(work, invitation.intake, ticket=outcome.ticket.value)


def _withdraw(work: UnitOfWork, party: Party, intake: str, doing: Doing) -> list[str]:
    """Returns the handshakes that ended with it."""
    invitation = invitations.find_invitation(work, intake)
    if invitation is None:
        raise errors.NotFound("There is no such invitation.")
    try:
        outcome = consent.use(Ticket(invitation.ticket), Use.WITHDRAWN)
    except Breach as breach:
        raise sentences.not_now(breach) from breach
    invitations.change_invitation(work, intake, ticket=outcome.ticket.value)
    consent_steps.note_invitation(work, invitation, WITHDRAWN, doing.at, doing.how)
    waiting = [
        one
        for one in invitations.load_handshakes(work)
        if one.intake == intake and one.role == INVITER and one.state != DONE
    ]
    for handshake in waiting:
        half_open.end(work, party, handshake, Step.OWNER_WITHDREW, doing)
    return [one.key for one in waiting]


def _read_node(text: str) -> str:
    """A node id, plain or in groups with check characters, or a DNS name."""
    plain = text.strip().lower()
    if _NODE_ID.fullmatch(plain) or _DNS_NAME.fullmatch(plain):
        return plain
    if len(plain.replace("-", " ").split()) < _FEWEST_GROUPS:
        raise errors.InvalidParam("That is neither a node id nor a server name.")
    read = fingerprints.from_groups(plain)
    if not _NODE_ID.fullmatch(read):
        raise errors.InvalidParam("That is neither a node id nor a server name.")
    return read
