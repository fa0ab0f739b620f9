"""How far each kind of change has come, in one question.

A sync asks this first: most of what it looks at has not changed since the last one.
"""

from dataclasses import dataclass

from sqlalchemy import ScalarSelect, Table, func, select

from homeserver.storage.account_data import account_data
from homeserver.storage.encryption.device_keys import device_lists
from homeserver.storage.ephemeral import presence, receipts
from homeserver.storage.unit_of_work import View


@dataclass(frozen=True, slots=True)
class Newest:
    """The position of the newest change of each kind; 0 where there is none."""

    account_data: int
    receipts: int
    presence: int
    device_lists: int


def _newest(table: Table) -> ScalarSelect[int]:
    return select(func.coalesce(func.max(table.c.position), 0)).scalar_subquery()


_NEWEST = select(*(_newest(table) for table in (account_data, receipts, presence, device_lists)))


def load_newest(view: View) -> Newest:
    """Where each kind of change stands now."""
    row = view.one_or_none(_NEWEST)
    return Newest(*row) if row is not None else Newest(0, 0, 0, 0)
