"""Consent as a table: (standing, step) -> (standing, effects). Pure; a missing entry is a breach.

The table does not know whose side it is on, so no softer rule can apply to us. Effects are values:
whoever runs the machine stores the standing and carries them out in the same unit of work.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Standing(StrEnum):
    """What stands between us and one peer."""

    NONE = "none"
    REQUESTED = "requested"  # they asked; our yes is missing
    OFFERED = "offered"  # we said yes; their proof is missing
    ACTIVE = "active"
    PAUSED = "paused"
    REVOKED = "revoked"  # for ever, unless a new invitation reopens it
    BLOCKED = "blocked"  # for ever, unless the owner unblocks
    DECLINED = "declined"


class Step(StrEnum):
    """What can happen. Who did it, when and how goes into the audit trail beside it."""

    REQUEST_CAME = "request came"  # REQUEST at an invitation of ours that is still open
    KNOCK_CAME = "knock came"  # REQUEST at a knock link of ours
    OWNER_AGREED = "owner agreed"
    INVITATION_AGREED = "invitation agreed"  # the yes that lies in a link given to one person
    OWNER_DECLINED = "owner declined"
    OWNER_CONNECTED = "owner connected"  # the owner opened somebody's link
    PROOF_CAME = "proof came"  # PROVE, or READY: the other side holds the keys it named
    OWNER_CANCELLED = "owner cancelled"  # a yes taken back before the other side had proved itself
    OWNER_WITHDREW = "owner withdrew"  # the invitation that somebody waits at
    EXPIRED = "expired"
    OWNER_PAUSED = "owner paused"
    DOUBT_ROSE = "doubt rose"  # an expired grant, a second user of a link, a restored backup
    OWNER_RESUMED = "owner resumed"
    OWNER_REVOKED = "owner revoked"
    OWNER_BLOCKED = "owner blocked"
    OWNER_UNBLOCKED = "owner unblocked"
    ROOMS_ENDED = "rooms ended"  # nothing is left that an introduction's connection was made for


class Effect(StrEnum):
    """What a step asks for."""

    ASK_OWNER = "ask the owner"
    SEND_ACCEPT = "send ACCEPT"
    SEND_REQUEST = "send REQUEST"
    OPEN_CHANNEL = "open the channel"
    RENEW_CHANNEL = "renew keys and routes"
    CLOSE_SOCKETS = "close the sockets"
    CONTACT_PEER = "contact the peer"
    FORGET_HANDSHAKE = "forget the handshake"
    LET_REQUEST_WAIT = (
        "let the request wait on"  # whoever is declined sees no difference to silence
    )
    FORGET_PEER = "forget keys, routes and what waits"
    HIDE_PEER = "hide the peer's users"
    TAKE_BACK_INVITES = "take back what the peer's users were invited to meanwhile"
    TELL_OWNER = "tell the owner"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The standing afterwards, and what has to be done."""

    standing: Standing
    effects: tuple[Effect, ...] = ()


class Breach(Exception):
    """A step that may not happen in this standing. Nothing changes."""

    def __init__(self, step: "Step | Use", standing: "Standing | Ticket") -> None:
        super().__init__(f"{step} while {standing}")
        self.step = step
        self.standing = standing


_S, _T, _E = Standing, Step, Effect
_NO_LONGER = (_E.TAKE_BACK_INVITES, _E.FORGET_HANDSHAKE)
_CLOSE = (_E.CLOSE_SOCKETS, _E.FORGET_HANDSHAKE, _E.FORGET_PEER, _E.HIDE_PEER)

TABLE: Mapping[tuple[Standing, Step], Outcome] = {
    (_S.NONE, _T.REQUEST_CAME): Outcome(_S.REQUESTED),
    (_S.NONE, _T.KNOCK_CAME): Outcome(_S.REQUESTED, (_E.ASK_OWNER,)),
    (_S.NONE, _T.OWNER_CONNECTED): Outcome(_S.OFFERED, (_E.SEND_REQUEST,)),
    (_S.NONE, _T.OWNER_BLOCKED): Outcome(_S.BLOCKED, (_E.HIDE_PEER,)),
    # Asked by the other side.
    (_S.REQUESTED, _T.INVITATION_AGREED): Outcome(_S.OFFERED, (_E.SEND_ACCEPT,)),
    (_S.REQUESTED, _T.REQUEST_CAME): Outcome(_S.REQUESTED),  # with another invitation
    (_S.REQUESTED, _T.OWNER_AGREED): Outcome(_S.OFFERED, (_E.SEND_ACCEPT,)),
    (_S.REQUESTED, _T.OWNER_CONNECTED): Outcome(_S.OFFERED, (_E.SEND_REQUEST,)),
    (_S.REQUESTED, _T.OWNER_DECLINED): Outcome(_S.DECLINED, (_E.LET_REQUEST_WAIT, _E.HIDE_PEER)),
    (_S.REQUESTED, _T.OWNER_WITHDREW): Outcome(_S.NONE, (_E.FORGET_HANDSHAKE,)),
    (_S.REQUESTED, _T.EXPIRED): Outcome(_S.NONE, (_E.FORGET_HANDSHAKE,)),
    (_S.REQUESTED, _T.OWNER_BLOCKED): Outcome(_S.BLOCKED, (_E.FORGET_HANDSHAKE, _E.HIDE_PEER)),
    # Agreed by us.
    (_S.OFFERED, _T.PROOF_CAME): Outcome(_S.ACTIVE, (_E.OPEN_CHANNEL, _E.TELL_OWNER)),
    (_S.OFFERED, _T.REQUEST_CAME): Outcome(_S.OFFERED),  # both invited each other at once
    (_S.OFFERED, _T.INVITATION_AGREED): Outcome(_S.OFFERED, (_E.SEND_ACCEPT,)),
    (_S.OFFERED, _T.OWNER_AGREED): Outcome(_S.OFFERED, (_E.SEND_ACCEPT,)),
    (_S.OFFERED, _T.OWNER_CONNECTED): Outcome(_S.OFFERED, (_E.SEND_REQUEST,)),
    (_S.OFFERED, _T.OWNER_DECLINED): Outcome(
        _S.DECLINED, (_E.TAKE_BACK_INVITES, _E.LET_REQUEST_WAIT, _E.HIDE_PEER)
    ),
    (_S.OFFERED, _T.OWNER_CANCELLED): Outcome(_S.NONE, _NO_LONGER),
    (_S.OFFERED, _T.OWNER_WITHDREW): Outcome(_S.NONE, _NO_LONGER),
    (_S.OFFERED, _T.EXPIRED): Outcome(_S.NONE, (*_NO_LONGER, _E.TELL_OWNER)),
    (_S.OFFERED, _T.OWNER_BLOCKED): Outcome(_S.BLOCKED, (*_NO_LONGER, _E.HIDE_PEER)),
    (_S.OFFERED, _T.KNOCK_CAME): Outcome(_S.OFFERED, (_E.ASK_OWNER,)),
    # Active: a new invitation repairs, and changes neither standing nor grants.
    (_S.ACTIVE, _T.REQUEST_CAME): Outcome(_S.ACTIVE),
    (_S.ACTIVE, _T.KNOCK_CAME): Outcome(_S.ACTIVE),
    (_S.ACTIVE, _T.INVITATION_AGREED): Outcome(_S.ACTIVE, (_E.SEND_ACCEPT,)),
    (_S.ACTIVE, _T.OWNER_AGREED): Outcome(_S.ACTIVE, (_E.SEND_ACCEPT,)),
    (_S.ACTIVE, _T.OWNER_CONNECTED): Outcome(_S.ACTIVE, (_E.SEND_REQUEST,)),
    (_S.ACTIVE, _T.PROOF_CAME): Outcome(_S.ACTIVE, (_E.RENEW_CHANNEL,)),
    (_S.ACTIVE, _T.OWNER_PAUSED): Outcome(_S.PAUSED, (_E.CLOSE_SOCKETS,)),
    (_S.ACTIVE, _T.DOUBT_ROSE): Outcome(_S.PAUSED, (_E.CLOSE_SOCKETS, _E.ASK_OWNER)),
    (_S.ACTIVE, _T.OWNER_REVOKED): Outcome(_S.REVOKED, _CLOSE),
    (_S.ACTIVE, _T.OWNER_BLOCKED): Outcome(_S.BLOCKED, _CLOSE),
    (_S.PAUSED, _T.OWNER_RESUMED): Outcome(_S.ACTIVE, (_E.CONTACT_PEER,)),
    (_S.PAUSED, _T.DOUBT_ROSE): Outcome(_S.PAUSED),
    (_S.PAUSED, _T.OWNER_REVOKED): Outcome(_S.REVOKED, _CLOSE),
    (_S.PAUSED, _T.OWNER_BLOCKED): Outcome(_S.BLOCKED, _CLOSE),
    # Made for rooms, and the last of them is left: as if nothing had been.
    (_S.ACTIVE, _T.ROOMS_ENDED): Outcome(_S.NONE, _CLOSE),
    (_S.PAUSED, _T.ROOMS_ENDED): Outcome(_S.NONE, _CLOSE),
    # Ended. Only a new invitation, given or opened afterwards, reopens.
    (_S.REVOKED, _T.REQUEST_CAME): Outcome(_S.REQUESTED),
    (_S.REVOKED, _T.OWNER_CONNECTED): Outcome(_S.OFFERED, (_E.SEND_REQUEST,)),
    (_S.REVOKED, _T.OWNER_BLOCKED): Outcome(_S.BLOCKED),
    (_S.DECLINED, _T.REQUEST_CAME): Outcome(_S.REQUESTED),
    (_S.DECLINED, _T.OWNER_CONNECTED): Outcome(_S.OFFERED, (_E.SEND_REQUEST,)),
    (_S.DECLINED, _T.OWNER_BLOCKED): Outcome(_S.BLOCKED),
    (_S.BLOCKED, _T.OWNER_UNBLOCKED): Outcome(_S.REVOKED),
}


# After these only an invitation given later counts; an unblocked peer is one that was revoked.
ENDS = (
    *(_T.OWNER_DECLINED, _T.OWNER_REVOKED),
    *(_T.OWNER_BLOCKED, _T.OWNER_UNBLOCKED),
)


def take(standing: Standing, step: Step) -> Outcome:
    """Look a step up; raises `Breach` where the table has no entry."""
    outcome = TABLE.get((standing, step))
    if outcome is None:
        raise Breach(step, standing)
    return outcome


def after_expiry(standing: Standing, before: Standing) -> Standing:
    """What an expired handshake leaves: a tombstone stays one."""
    tombstones = (Standing.REVOKED, Standing.DECLINED)
    return before if standing is Standing.NONE and before in tombstones else standing


def may_deliver(standing: Standing) -> bool:
    """Whether anything of a peer is accepted, or sent to it."""
    return standing is Standing.ACTIVE


def is_connected(standing: Standing) -> bool:
    """Whether what concerns the peer is kept for it: a paused one gets it later."""
    return standing in (Standing.ACTIVE, Standing.PAUSED)


def is_ended(standing: Standing) -> bool:
    """Whether only an invitation given afterwards begins anything again."""
    return standing in (Standing.REVOKED, Standing.DECLINED)


def is_over(standing: Standing) -> bool:
    """Whether nothing stands between us and a peer but a tombstone."""
    return is_ended(standing) or standing is Standing.BLOCKED


class Ticket(StrEnum):
    """Where an invitation of ours is."""

    OPEN = "open"
    BOUND = "bound"  # to the first REQUEST that opened and verified
    SPENT = "spent"  # its connection came about
    VOID = "void"  # withdrawn, expired, or its connection was ended


class Use(StrEnum):
    """What can happen to an invitation."""

    FIRST_REQUEST = "first REQUEST"
    SAME_REQUEST = "same REQUEST"
    NEWER_REQUEST = "newer REQUEST"  # the same node opened the link again
    EARLIER_REQUEST = "earlier REQUEST"  # one that a newer has replaced, late or replayed
    OTHER_REQUEST = "other REQUEST"  # somebody else has the link too
    PROOF = "proof"
    OWNER_ENDED = "owner ended"  # declined, cancelled, revoked or blocked whoever used it
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"


class Reply(StrEnum):
    """What the use of an invitation asks for."""

    TAKE_REQUEST = "take the request"
    TAKE_NEWER = "take the newer request in place of the other"
    REPEAT_ANSWER = "repeat the stored answer"
    TELL_OWNER = "tell the owner"
    WARN_OWNER = "warn the owner"


@dataclass(frozen=True, slots=True)
class TicketOutcome:
    """Where the invitation is afterwards, and what has to be done; nothing means the refusal."""

    ticket: Ticket
    replies: tuple[Reply, ...] = ()


_K, _U, _R = Ticket, Use, Reply

INVITATIONS: Mapping[tuple[Ticket, Use], TicketOutcome] = {
    (_K.OPEN, _U.FIRST_REQUEST): TicketOutcome(_K.BOUND, (_R.TAKE_REQUEST,)),
    (_K.OPEN, _U.EXPIRED): TicketOutcome(_K.VOID),
    (_K.OPEN, _U.WITHDRAWN): TicketOutcome(_K.VOID),
    (_K.BOUND, _U.SAME_REQUEST): TicketOutcome(_K.BOUND, (_R.REPEAT_ANSWER,)),
    (_K.BOUND, _U.NEWER_REQUEST): TicketOutcome(_K.BOUND, (_R.TAKE_NEWER,)),
    (_K.BOUND, _U.OTHER_REQUEST): TicketOutcome(_K.BOUND, (_R.WARN_OWNER,)),
    (_K.BOUND, _U.PROOF): TicketOutcome(_K.SPENT),
    (_K.BOUND, _U.OWNER_ENDED): TicketOutcome(_K.VOID),
    (_K.BOUND, _U.EXPIRED): TicketOutcome(_K.VOID),
    (_K.BOUND, _U.WITHDRAWN): TicketOutcome(_K.VOID),
    (_K.SPENT, _U.SAME_REQUEST): TicketOutcome(_K.SPENT, (_R.REPEAT_ANSWER,)),
    (_K.SPENT, _U.NEWER_REQUEST): TicketOutcome(_K.SPENT, (_R.TELL_OWNER,)),
    (_K.SPENT, _U.OTHER_REQUEST): TicketOutcome(_K.SPENT, (_R.WARN_OWNER,)),
    (_K.SPENT, _U.OWNER_ENDED): TicketOutcome(_K.VOID),
    (_K.SPENT, _U.EXPIRED): TicketOutcome(_K.VOID),
    (_K.SPENT, _U.PROOF): TicketOutcome(_K.SPENT),
    # Nothing is left at a void one but a declined request, which is told to wait as before.
    (_K.VOID, _U.SAME_REQUEST): TicketOutcome(_K.VOID, (_R.REPEAT_ANSWER,)),
    (_K.VOID, _U.NEWER_REQUEST): TicketOutcome(_K.VOID, (_R.TAKE_NEWER,)),
}


def use(ticket: Ticket, step: Use) -> TicketOutcome:
    """Look up what becomes of an invitation; raises `Breach` where the table has no entry."""
    outcome = INVITATIONS.get((ticket, step))
    if outcome is None:
        raise Breach(step, ticket)
    return outcome
