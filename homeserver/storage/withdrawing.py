"""Take back control items that wait for a peer, because a newer one says it all."""

from sqlalchemy import bindparam, delete, select

from homeserver.matrix.identifiers import ServerName
from homeserver.storage.frames import outbox_items
from homeserver.storage.unit_of_work import UnitOfWork, View

_WAITING = (outbox_items.c.peer == bindparam("of_peer")) & (
    outbox_items.c.kind == bindparam("of_kind")
)
_ANY = select(outbox_items.c.number).where(_WAITING).limit(1)
_ALL = delete(outbox_items).where(_WAITING)


def is_waiting(view: View, peer: ServerName, kind: str) -> bool:
    """Whether the peer has not yet acknowledged every item of this kind."""
    return view.one_or_none(_ANY, {"of_peer": peer, "of_kind": kind}) is not None


def withdraw(work: UnitOfWork, peer: ServerName, kind: str) -> None:
    """Drop the waiting items of a kind. One that is in flight arrives all the same."""
    work.execute(_ALL, {"of_peer": peer, "of_kind": kind})
