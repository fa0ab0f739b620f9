"""Take one step of the consent table in a unit of work: look it up, store it, record it."""

from dataclasses import dataclass, replace

import orjson

from federation import consent
from federation.consent import Outcome, Standing, Step
from homeserver import crash_points
from homeserver.crash_points import Point
from homeserver.matrix.canonical_json import JsonObject
from homeserver.storage import audit, peers, wake_ups
from homeserver.storage.invitations import Invitation
from homeserver.storage.peers import Peer
from homeserver.storage.unit_of_work import UnitOfWork

_ENDED = (Standing.NONE, Standing.REVOKED, Standing.DECLINED)


@dataclass(frozen=True, slots=True)
class Doing:
    """Who takes a step, when, and how."""

    at: int
    who: str  # owner, peer, server
    how: str


def take(
    work: UnitOfWork, peer: Peer, step: Step, doing: Doing, detail: str | None = None
) -> tuple[Peer, Outcome]:
    """Store the standing that follows; raises `consent.Breach` and changes nothing otherwise.

    The peer's row need not exist yet: its standing then is `none`. A peer with whom nothing came
    about leaves no row.
    """
    before = Standing(peer.standing)
    outcome = consent.take(before, step)
    standing = consent.after_expiry(outcome.standing, Standing(peer.standing_before))
    after = replace(
        peer,
        standing=standing.value,
        standing_before=before.value if before in _ENDED else peer.standing_before,
        paused_because=peer.paused_because if standing is Standing.PAUSED else None,
    )
    if standing is Standing.ACTIVE and before is not Standing.ACTIVE:
        after = replace(
            after,
            connected_at=peer.connected_at or doing.at,
            heard_at=doing.at if step is Step.PROOF_CAME else peer.heard_at,
        )
    if standing is Standing.NONE:
        peers.delete_peer(work, peer.server_name)
    else:
        peers.save_peer(work, after)
    _record(work, peer, step.value, doing, (before.value, standing.value), detail)
    work.wake(wake_ups.STANDINGS)
    crash_points.reach(Point.STANDING_MOVED)
    return after, outcome


def note(work: UnitOfWork, peer: Peer, step: str, doing: Doing, detail: str) -> None:
    """Enter into the audit trail what changed without moving the standing."""
    _record(work, peer, step, doing, (peer.standing, peer.standing), detail)


def note_everything(work: UnitOfWork, doing: Doing, *, is_paused: bool) -> None:
    """Enter into the audit trail that the owner paused, or resumed, the whole server."""
    _note_of_nobody(work, "everything paused" if is_paused else "everything resumed", doing)


def note_invitation(
    work: UnitOfWork, invitation: Invitation, step: str, at: int, way: str | None
) -> None:
    """Enter what the owner did with a link, which is a yes to whoever opens it."""
    named = [f"invitation {invitation.intake}", *_agreed(invitation.grants or {})]
    if invitation.expected:
        named.append(f"for {invitation.expected}")
    _note_of_nobody(
        work, step, Doing(at, "owner", invitation.how), ", ".join(filter(None, [*named, by(way)]))
    )


def by(way: str | None) -> str | None:
    """By which way the owner ordered something of which `how` says how a link was passed."""
    return None if way is None else f"by the {way}"


def _agreed(grants: JsonObject) -> list[str]:
    shown = {name: value for name, value in grants.items() if name != "note"}
    return [f"grants {orjson.dumps(shown).decode()}"] if shown else []


def _note_of_nobody(work: UnitOfWork, step: str, doing: Doing, detail: str | None = None) -> None:
    nobody = Standing.NONE.value
    entry = audit.Entry(doing.at, "", "", doing.who, step, doing.how, nobody, nobody, detail)
    audit.record(work, entry)


def _record(
    work: UnitOfWork,
    peer: Peer,
    step: str,
    doing: Doing,
    standings: tuple[str, str],
    detail: str | None = None,
) -> None:
    entry = audit.Entry(
        doing.at, peer.node_id, peer.server_name, doing.who, step, doing.how, *standings, detail
    )
    audit.record(work, entry)
