"""Take back what waits for a peer: a newer item says it all, or the owner allows it no more."""

from sqlalchemy import bindparam, delete, select

from homeserver.matrix.identifiers import ServerName
from homeserver.storage.frames import outbox_items, outbox_newest
from homeserver.storage.unit_of_work import UnitOfWork, View

_WAITING = (outbox_items.c.peer == bindparam("of_peer")) & (
    outbox_items.c.kind == bindparam("of_kind")
)
_ANY = select(outbox_items.c.number).where(_WAITING).limit(1)
_ALL = delete(outbox_items).where(_WAITING)
_NEWEST = delete(outbox_newest).where(
    outbox_newest.c.peer == bindparam("of_peer"),
    outbox_newest.c.key.startswith(bindparam("beginning"), autoescape=False),
)


def is_waiting(view: View, peer: ServerName, kind: str) -> bool:
    """Whether the peer has not yet acknowledged every item of this kind."""
    return view.one_or_none(_ANY, {"of_peer": peer, "of_kind": kind}) is not None


def withdraw(work: UnitOfWork, peer: ServerName, kind: str) -> None:
    """Drop the waiting items of a kind. One that is in flight arrives all the same."""
    work.execute(_ALL, {"of_peer": peer, "of_kind": kind})


def withdraw_newest(work: UnitOfWork, peer: ServerName, subject: str) -> None:
    """Drop the waiting EDUs about a subject, such as `presence`."""
    work.execute(_NEWEST, {"of_peer": peer, "beginning": f"{subject}:"})
