"""What the owner's clients reported as inappropriate: rooms, events, users. The newest are kept."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import BigInteger, Column, Integer, String, Table, delete, func, select

from homeserver.storage.tables import metadata
from homeserver.storage.unit_of_work import UnitOfWork, View

MOST_KEPT = 1_000

reports = Table(
    "reports",
    metadata,
    Column("report_id", Integer, primary_key=True),
    Column("reported_at", BigInteger, nullable=False),  # milliseconds since 1970
    Column("user_id", String),
    Column("room_id", String),
    Column("event_id", String),
    Column("reason", String, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Report:
    """One report: of a user, or of a room, perhaps of one event in it."""

    reported_at: int
    reason: str
    user_id: str | None = None
    room_id: str | None = None
    event_id: str | None = None


def save_report(work: UnitOfWork, report: Report) -> None:
    """Keep a report, and let go of the oldest beyond the limit."""
    work.insert(reports, **asdict(report))
    newest = work.scalar(select(func.max(reports.c.report_id)))
    work.execute(delete(reports).where(reports.c.report_id <= newest - MOST_KEPT))


def load_reports(view: View) -> Sequence[Report]:
    """Every report, the newest first."""
    columns = [reports.c[name] for name in Report.__slots__]
    rows = view.all(select(*columns).order_by(reports.c.report_id.desc()))
    return [Report(*row) for row in rows]
