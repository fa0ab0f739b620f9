"""Queries about the account that no request reaches by itself."""

from homeserver.matrix.identifiers import DeviceId, UserId
from homeserver.storage import accounts
from homeserver.storage.accounts import Device
from homeserver.storage.database import Database
from homeserver.storage.unit_of_work import UnitOfWork

ALICE, BOB = UserId("@alice:alice.example"), UserId("@bob:alice.example")
PHONE = DeviceId("PHONE")
DAY = 86_400_000


async def test_the_owner_is_whoever_came_first(database: Database) -> None:
    assert database.read(accounts.find_owner) is None
    await database.write(lambda work: accounts.save_user(work, BOB, "hash", 1))
    await database.write(lambda work: accounts.save_user(work, ALICE, "hash", 2))
    assert database.read(accounts.find_owner) == BOB
    asked = [ALICE, UserId("@carol:carol.example")]
    assert database.read(lambda view: accounts.users_with_accounts(view, asked)) == {ALICE}


async def test_a_transaction_id_is_used_once_a_day_by_each_device(database: Database) -> None:
    async def use(now_ms: int, device_id: str = "PHONE", txn_id: str = "1") -> bool:
        return await database.write(
            lambda work: accounts.use_transaction(work, ALICE, DeviceId(device_id), txn_id, now_ms)
        )

    assert await use(DAY)
    assert not await use(DAY + 1)
    assert await use(DAY + 1, device_id="LAPTOP")
    assert await use(DAY + 1, txn_id="2")
    assert not await use(2 * DAY)
    assert await use(2 * DAY + 1)


async def test_a_deleted_device_leaves_nothing_behind(database: Database) -> None:
    token = accounts.Token(b"access", b"refresh", ALICE, PHONE, None, None)
    kept = accounts.Token(b"other", None, ALICE, DeviceId("LAPTOP"), None, None)

    def fill(work: UnitOfWork) -> None:
        for device_id in (PHONE, DeviceId("LAPTOP")):
            accounts.save_device(work, ALICE, Device(device_id, "name", 5))
        accounts.save_token(work, token)
        accounts.save_token(work, kept)
        accounts.use_transaction(work, ALICE, PHONE, "1", 1)

    await database.write(fill)
    await database.write(lambda work: accounts.delete_devices(work, ALICE, [PHONE]))
    left = database.read(lambda view: accounts.list_devices(view, ALICE))
    assert left == [Device(DeviceId("LAPTOP"), "name", 5)]
    assert database.read(lambda view: accounts.find_token(view, b"access")) is None
    assert database.read(lambda view: accounts.find_refresh_token(view, b"refresh")) is None
    assert database.read(lambda view: accounts.find_token(view, b"other")) == kept
    assert not database.read(lambda view: accounts.is_transaction_used(view, ALICE, PHONE, "1"))
