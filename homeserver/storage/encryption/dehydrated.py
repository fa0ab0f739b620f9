"""The owner's dehydrated device: one that nobody uses, and that receives keys meanwhile."""

from dataclasses import asdict, dataclass

from sqlalchemy import Column, LargeBinary, String, Table, bindparam, delete, select

from homeserver.matrix.identifiers import DeviceId, UserId
from homeserver.storage.tables import metadata
from homeserver.storage.unit_of_work import UnitOfWork, View

dehydrated_devices = Table(
    "dehydrated_devices",
    metadata,
    Column("user_id", String, primary_key=True),  # there is one at most
    Column("device_id", String, nullable=False),
    Column("device_data", LargeBinary, nullable=False),  # JSON, encrypted by the client
)


@dataclass(frozen=True, slots=True)
class DehydratedDevice:
    """A device put away; `device_data` is JSON that only the owner's clients understand."""

    user_id: UserId
    device_id: DeviceId
    device_data: bytes


_OF_USER = select(dehydrated_devices).where(dehydrated_devices.c.user_id == bindparam("user_id"))


def find_dehydrated(view: View, user_id: UserId) -> DehydratedDevice | None:
    """The user's dehydrated device."""
    row = view.one_or_none(_OF_USER, {"user_id": user_id})
    return None if row is None else DehydratedDevice(*row)


def save_dehydrated(work: UnitOfWork, device: DehydratedDevice) -> None:
    """Keep it in place of the one before."""
    work.upsert(dehydrated_devices, asdict(device))


def delete_dehydrated(work: UnitOfWork, user_id: UserId) -> None:
    """Forget it."""
    work.execute(delete(dehydrated_devices).where(dehydrated_devices.c.user_id == user_id))
