"""What the owner reads about a standing, and about a step that cannot be taken in it. Pure."""

from collections.abc import Mapping

from federation.consent import Breach, Standing, Step, Ticket, Use
from homeserver import errors

STANDINGS: Mapping[str, str] = {
    Standing.NONE: "There is no connection.",
    Standing.REQUESTED: "They have asked to connect, and you have not answered.",
    Standing.OFFERED: "You said yes, and their side has not answered yet.",
    Standing.ACTIVE: "The connection stands.",
    Standing.PAUSED: "The connection is paused.",
    Standing.REVOKED: "You ended the connection; only a new invitation begins another.",
    Standing.BLOCKED: "You blocked them.",
    Standing.DECLINED: "You declined their request; only a new invitation begins another.",
}

REFUSED = (
    "You said yes, and their side refuses the link: it was used already, has expired or was "
    "withdrawn. Ask for another one, and cancel this."
)

_STEPS: Mapping[str, str] = {
    Step.OWNER_AGREED: "accept",
    Step.OWNER_DECLINED: "decline",
    Step.OWNER_CONNECTED: "connect",
    Step.OWNER_CANCELLED: "cancel",
    Step.OWNER_PAUSED: "pause",
    Step.OWNER_RESUMED: "resume",
    Step.OWNER_REVOKED: "revoke",
    Step.OWNER_BLOCKED: "block",
    Step.OWNER_UNBLOCKED: "unblock",
}

_WHAT_NOW: Mapping[tuple[str, str], str] = {
    (Standing.PAUSED, Step.OWNER_CONNECTED): "Resume it first.",
    (Standing.BLOCKED, Step.OWNER_CONNECTED): "Unblock them first.",
    (Standing.REQUESTED, Step.OWNER_REVOKED): "You can accept, decline or block.",
    (Standing.REQUESTED, Step.OWNER_CANCELLED): "You can accept, decline or block.",
    (Standing.REQUESTED, Step.OWNER_PAUSED): "You can accept, decline or block.",
    (Standing.OFFERED, Step.OWNER_REVOKED): "You can cancel.",
    (Standing.OFFERED, Step.OWNER_PAUSED): "You can cancel.",
    (Standing.ACTIVE, Step.OWNER_CANCELLED): "You can pause or revoke it.",
    (Standing.ACTIVE, Step.OWNER_DECLINED): "You can pause or revoke it.",
    (Standing.PAUSED, Step.OWNER_CANCELLED): "You can resume or revoke it.",
}

_TICKETS: Mapping[str, str] = {
    Ticket.OPEN: "nobody has used it yet",
    Ticket.BOUND: "somebody has used it, and the connection is coming about",
    Ticket.SPENT: "it was used, and its connection came about; `revoke` ends that",
    Ticket.VOID: "it is no longer valid",
}


class NotNow(errors.Conflict):
    """That cannot be done with this connection as it stands."""


class EverythingPaused(NotNow):
    """Everything is paused. Resume first."""


class GrantsOver(NotNow):
    """What they may do has ended. Write `edit NAME expires_at=never`, or a later day, first."""


class ChosenAnew(NotNow):
    """That connection has ended. What they may do is chosen anew when another one begins."""


def not_now(breach: Breach) -> NotNow:
    """One sentence that names what was wanted, and how things stand."""
    if isinstance(breach.step, Use):
        return NotNow(f"That invitation cannot be {breach.step}: {_TICKETS[breach.standing]}.")
    verb = _STEPS.get(breach.step, str(breach.step))
    standing = STANDINGS[breach.standing]
    sentence = f"You cannot {verb} now. {standing}"
    what_now = _WHAT_NOW.get((breach.standing, breach.step))
    return NotNow(f"{sentence} {what_now}" if what_now else sentence)
