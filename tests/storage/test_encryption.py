"""Queries about keys that no request reaches by itself."""

from homeserver.matrix.identifiers import DeviceId, ServerName, UserId
from homeserver.storage import encryption
from homeserver.storage.database import Database
from homeserver.storage.encryption import DeviceKeys, FallbackKey, OneTimeKey
from homeserver.storage.unit_of_work import UnitOfWork

ALICE = UserId("@alice:alice.example")
PHONE = DeviceId("PHONE")
BOBS, CAROLS = ServerName("bob.example"), ServerName("notbob.example")
ALGORITHM = "signed_curve25519"


def one_time_key(name: str, user_id: UserId = ALICE) -> OneTimeKey:
    return OneTimeKey(user_id, PHONE, ALGORITHM, name, b"{}", 1)


async def test_keys_set_aside_for_one_peer_are_not_released_by_another(
    database: Database,
) -> None:
    def reserve(work: UnitOfWork) -> None:
        encryption.save_one_time_keys(work, [one_time_key(name) for name in "abc"])
        encryption.reserve_one_time_keys(work, ALICE, PHONE, BOBS, 2)
        encryption.release_reserved(work, CAROLS, ALICE, PHONE, ["a", "b", "c"])

    await database.write(reserve)
    reserved = database.read(lambda view: encryption.reserved_keys_of(view, ALICE))
    assert {one.reserved_for for one in reserved} == {BOBS}
    assert len(reserved) == 2
    counts = database.read(lambda view: encryption.one_time_key_counts(view, ALICE, PHONE))
    assert counts == {ALGORITHM: 1}


async def test_forgetting_a_server_spares_those_whose_names_end_alike(
    database: Database,
) -> None:
    bob, other = UserId("@bob:bob.example"), UserId("@bob:notbob.example")

    def fill(work: UnitOfWork) -> None:
        for user_id, server in ((bob, BOBS), (other, CAROLS)):
            encryption.save_one_time_keys(work, [one_time_key("a", user_id)])
            encryption.save_fallback_keys(
                work, [FallbackKey(user_id, PHONE, ALGORITHM, "f", b"{}", 1)]
            )
            encryption.save_device_keys(work, DeviceKeys(user_id, PHONE, b"{}"))
            encryption.save_cross_signing_key(work, user_id, "master", b"{}")
            encryption.mark_device_list_changed(work, user_id, server, 1)
        encryption.delete_keys_of_server(work, BOBS)
        encryption.delete_users_of_server(work, BOBS)

    await database.write(fill)

    def holds(user_id: UserId) -> list[bool]:
        return database.read(
            lambda view: [
                bool(encryption.one_time_keys_of(view, user_id, PHONE)),
                bool(encryption.fallback_keys_of(view, user_id)),
                bool(encryption.find_device_keys(view, [user_id])),
                bool(encryption.find_cross_signing_keys(view, [user_id])),
                bool(encryption.find_list_received_at(view, [user_id])),
            ]
        )

    assert holds(bob) == [False] * 5
    assert holds(other) == [True] * 5


async def test_a_device_list_has_changed_at_its_newest_position_only(
    database: Database,
) -> None:
    for _ in range(2):
        await database.write(
            lambda work: encryption.mark_device_list_changed(
                work, ALICE, ServerName("alice.example")
            )
        )
    newest = database.position

    def changes(after: int, until: int) -> set[UserId]:
        return database.read(lambda view: encryption.device_list_changes(view, after, until))

    assert changes(0, newest) == {ALICE}
    assert changes(0, newest - 1) == set()
    assert changes(newest, newest + 1) == set()
    await database.write(lambda work: encryption.touch_device_list(work, ALICE))
    assert changes(newest, database.position) == {ALICE}
