"""Keys that a database which is an old copy must not hand out."""

from sqlalchemy import delete, update

from homeserver.matrix.identifiers import UserId
from homeserver.storage.encryption.dehydrated import find_dehydrated
from homeserver.storage.encryption.one_time_keys import SPENT, fallback_keys, one_time_keys
from homeserver.storage.unit_of_work import UnitOfWork


def void_keys(work: UnitOfWork, owner: UserId) -> None:
    """After a restore: any one-time key may have been handed out since the backup was made.

    A peer's one-time keys count as handed out, until it leaves others.
    """
    void_keys_of_owner(work, owner)
    work.execute(
        update(one_time_keys).where(one_time_keys.c.user_id != owner).values(reserved_for=SPENT)
    )


def void_keys_of_owner(work: UnitOfWork, owner: UserId) -> None:
    """Forget the owner's own keys.

    Devices may have replaced their fallback keys twice since and forgotten those of that time;
    clients that hear of none make others. A dehydrated device hears nothing, and what its fallback
    key opens lies beside it: that one stays.
    """
    work.delete(one_time_keys, user_id=owner)
    asleep = find_dehydrated(work, owner)
    others = delete(fallback_keys).where(fallback_keys.c.user_id == owner)
    if asleep is not None:
        others = others.where(fallback_keys.c.device_id != asleep.device_id)
    work.execute(others)
