"""Who agreed to what, when and how: the evidence of consent.

Rows are added and never changed: the database itself refuses anything else.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Column, Connection, String, Table, event, func, or_, select

from homeserver.storage.tables import RowNumber, metadata
from homeserver.storage.unit_of_work import UnitOfWork, View

audit = Table(
    "audit",
    metadata,
    Column("number", RowNumber, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("node_id", String, nullable=False, index=True),
    Column("server_name", String, nullable=False),
    Column("who", String, nullable=False),  # owner, peer, server
    Column("step", String, nullable=False),
    Column("how", String, nullable=False),
    Column("standing_before", String, nullable=False),
    Column("standing", String, nullable=False),
    Column("detail", String),  # what exactly was changed, where the step alone does not say
    sqlite_autoincrement=True,
)

_REFUSAL = "the audit trail is only added to"
# What makes it so, by the database's kind; a migration runs the same.
TRIGGERS: Mapping[str, Sequence[str]] = {
    "sqlite": [
        f"CREATE TRIGGER audit_keeps_every_{verb} BEFORE {verb} ON audit "
        f"BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END"
        for verb in ("update", "delete")
    ],
    "postgresql": [
        f"""CREATE FUNCTION refuse_to_change_audit() RETURNS trigger LANGUAGE plpgsql AS
        $$BEGIN RAISE EXCEPTION '{_REFUSAL}'; END$$""",
        """CREATE TRIGGER audit_is_kept BEFORE UPDATE OR DELETE ON audit
        FOR EACH ROW EXECUTE FUNCTION refuse_to_change_audit()""",
    ],
}


@event.listens_for(audit, "after_create")
def _keep(_table: Table, connection: Connection, **_: Any) -> None:
    for statement in TRIGGERS[connection.dialect.name]:
        connection.exec_driver_sql(statement)


@dataclass(frozen=True, slots=True)
class Entry:
    """One change of what stands between us and a peer."""

    at: int
    node_id: str
    server_name: str
    who: str
    step: str
    how: str
    standing_before: str
    standing: str
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One entry with its number in the trail."""

    number: int
    entry: Entry


_COLUMNS = [column for column in audit.c if column is not audit.c.number]


def record(work: UnitOfWork, entry: Entry) -> None:
    """Add an entry to the trail."""
    work.insert(
        audit,
        at=entry.at,
        node_id=entry.node_id,
        server_name=entry.server_name,
        who=entry.who,
        step=entry.step,
        how=entry.how,
        standing_before=entry.standing_before,
        standing=entry.standing,
        detail=entry.detail,
    )


def trail(view: View, node_id: str | None = None, limit: int = 1000) -> list[Entry]:
    """The newest entries, of one node or of all, oldest first."""
    query = select(*_COLUMNS).order_by(audit.c.number.desc()).limit(limit)
    if node_id is not None:
        query = query.where(audit.c.node_id == node_id)
    return [Entry(*row) for row in reversed(view.all(query))]


def lines_after(
    view: View, after: int = 0, limit: int = 100, node_id: str | None = None
) -> list[Line]:
    """One page of the trail: the entries that follow a number, oldest first."""
    query = select(audit.c.number, *_COLUMNS).where(audit.c.number > after)
    if node_id is not None:
        query = query.where(audit.c.node_id == node_id)
    rows = view.all(query.order_by(audit.c.number).limit(limit))
    return [Line(row[0], Entry(*row[1:])) for row in rows]


def last_decision_at(view: View, node_id: str, besides: str) -> int | None:
    """When the owner last did something about a node, one kind of step not counted."""
    this = audit.c
    query = select(func.max(this.at)).where(this.node_id == node_id, this.who == "owner")
    last: int | None = view.scalar(query.where(this.step != besides))
    return last


def last_at(view: View, node_id: str, steps: Iterable[str]) -> int | None:
    """When one of some steps was last recorded about a node."""
    query = select(func.max(audit.c.at)).where(audit.c.node_id == node_id)
    last: int | None = view.scalar(query.where(audit.c.step.in_([*steps])))
    return last


def has_since(view: View, node_id: str, step: str, since: int) -> bool:
    """Whether this was recorded of a node after a point in time, in milliseconds since 1970."""
    query = select(audit.c.number).where(
        audit.c.node_id == node_id, audit.c.step == step, audit.c.at > since
    )
    return view.scalar(query.limit(1)) is not None


def find_node(view: View, name: str) -> str | None:
    """The node that the trail knows by this id or server name, though it has no connection now."""
    known = or_(audit.c.node_id == name, audit.c.server_name == name)
    query = select(audit.c.node_id).where(known, audit.c.node_id != "")
    found: str | None = view.scalar(query.order_by(audit.c.number.desc()).limit(1))
    return found
