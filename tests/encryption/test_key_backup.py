"""Key backup: versions, keys, and which of two keys is the better one."""

from typing import Any

import orjson
import pytest

from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import RoomId
from homeserver.storage import encryption
from homeserver.storage.encryption import BackupKey
from tests.accounts.serving import BACKUP_QUOTA, Device

ALGORITHM = "m.megolm_backup.v1.curve25519-aes-sha2"
ROOM, SESSION = "!room:alice.example", "session/+1"
PLACE = "/!room:alice.example/session%2F+1"


def key(index: int = 0, forwarded: int = 0, *, verified: bool = False) -> JsonObject:
    return {
        "first_message_index": index,
        "forwarded_count": forwarded,
        "is_verified": verified,
        "session_data": {"ciphertext": "x", "mac": "y", "ephemeral": "z"},
    }


@pytest.fixture
async def version(alice: Device) -> str:
    return await begin(alice)


async def begin(alice: Device) -> str:
    body = {"algorithm": ALGORITHM, "auth_data": {"public_key": "abc"}}
    answer = await alice.post("/room_keys/version", body)
    number: str = answer["version"]
    return number


async def test_the_newest_version_is_the_current_one(alice: Device, version: str) -> None:
    second = await begin(alice)
    expected = {
        "version": second,
        "algorithm": ALGORITHM,
        "auth_data": {"public_key": "abc"},
        "count": 0,
        "etag": "0",
    }
    assert await alice.get("/room_keys/version") == expected
    assert await alice.get(f"/room_keys/version/{version}") == expected | {"version": version}


async def test_a_deleted_version_and_its_number_are_gone(alice: Device, version: str) -> None:
    await alice.put(f"/room_keys/keys{PLACE}?version={version}", key())
    assert await alice.ask("DELETE", f"/room_keys/version/{version}") == (200, {})
    for method, path in (
        ("GET", "/room_keys/version"),
        ("GET", f"/room_keys/version/{version}"),
        ("GET", "/room_keys/version/none"),
        ("DELETE", "/room_keys/version/99"),
        ("GET", f"/room_keys/keys?version={version}"),
        ("DELETE", f"/room_keys/keys?version={version}"),
    ):
        status, answer = await alice.ask(method, path)
        assert (status, answer["errcode"]) == (404, "M_NOT_FOUND")
    assert await alice.ask("DELETE", f"/room_keys/version/{version}") == (200, {})
    assert await begin(alice) != version


async def test_what_a_version_says_about_its_key_can_change(alice: Device, version: str) -> None:
    path = f"/room_keys/version/{version}"
    body: dict[str, Any] = {"algorithm": ALGORITHM, "auth_data": {"signed": True}}
    assert await alice.put(path, body | {"version": version}) == {}
    assert (await alice.get(path))["auth_data"] == {"signed": True}
    status, answer = await alice.ask("PUT", path, body | {"version": "99"})
    assert (status, answer["errcode"]) == (400, "M_INVALID_PARAM")
    assert (await alice.ask("PUT", path, body | {"algorithm": "other"}))[0] == 400
    assert (await alice.ask("PUT", "/room_keys/version/99", body))[0] == 404


async def test_keys_are_stored_and_found_in_every_way(alice: Device, version: str) -> None:
    query = f"?version={version}"
    one = await alice.put(f"/room_keys/keys{PLACE}{query}", key(1))
    room = await alice.put(
        f"/room_keys/keys/!room:alice.example{query}", {"sessions": {"b": key(2)}}
    )
    everything = await alice.put(
        f"/room_keys/keys{query}", {"rooms": {"!other:x": {"sessions": {"c": key(3)}}}}
    )
    assert [answer["count"] for answer in (one, room, everything)] == [1, 2, 3]
    assert len({answer["etag"] for answer in (one, room, everything)}) == 3
    assert (await alice.get("/room_keys/version"))["etag"] == everything["etag"]

    of_room = {"sessions": {SESSION: key(1), "b": key(2)}}
    assert await alice.get(f"/room_keys/keys{PLACE}{query}") == key(1)
    assert await alice.get(f"/room_keys/keys/!room:alice.example{query}") == of_room
    assert await alice.get(f"/room_keys/keys{query}") == {
        "rooms": {ROOM: of_room, "!other:x": {"sessions": {"c": key(3)}}}
    }


async def test_keys_are_deleted_in_every_way(alice: Device, version: str) -> None:
    query = f"?version={version}"
    rooms = {
        ROOM: {"sessions": {SESSION: key(), "b": key(), "c": key()}},
        "!other:x": {"sessions": {"d": key()}},
    }
    await alice.put(f"/room_keys/keys{query}", {"rooms": rooms})
    counts = []
    for place in (PLACE, "/!room:alice.example", ""):
        status, answer = await alice.ask("DELETE", f"/room_keys/keys{place}{query}")
        assert status == 200
        counts.append(answer["count"])
    assert counts == [3, 1, 0]
    assert await alice.get(f"/room_keys/keys{query}") == {"rooms": {}}
    assert await alice.get(f"/room_keys/keys/!none:x{query}") == {"sessions": {}}
    assert (await alice.ask("GET", f"/room_keys/keys{PLACE}{query}"))[0] == 404


@pytest.mark.parametrize(
    ("held", "offered", "is_better"),
    [
        (key(5), key(5, verified=True), True),
        (key(5, verified=True), key(0), False),
        (key(5), key(4, 9), True),
        (key(5), key(6), False),
        (key(5, 2), key(5, 1), True),
        (key(5, 1), key(5, 2), False),
        (key(5), key(5), False),
    ],
)
async def test_a_better_key_takes_the_place_of_a_worse_one(
    alice: Device, version: str, held: JsonObject, offered: JsonObject, is_better: bool
) -> None:
    path = f"/room_keys/keys{PLACE}?version={version}"
    first = await alice.put(path, held)
    second = await alice.put(path, offered)
    assert await alice.get(path) == (offered if is_better else held)
    assert (first["etag"] != second["etag"]) is is_better


async def test_keys_go_into_the_current_version_only(alice: Device, version: str) -> None:
    second = await begin(alice)
    status, answer = await alice.ask("PUT", f"/room_keys/keys{PLACE}?version={version}", key())
    assert (status, answer["errcode"], answer["current_version"]) == (
        403,
        "M_WRONG_ROOM_KEYS_VERSION",
        second,
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        key() | {"is_verified": "yes"},
        key() | {"first_message_index": -1},
        key() | {"session_data": 1},
    ],
)
async def test_wrong_keys_are_refused(alice: Device, version: str, wrong: JsonObject) -> None:
    status, answer = await alice.ask("PUT", f"/room_keys/keys{PLACE}?version={version}", wrong)
    assert (status, answer["errcode"]) == (400, "M_BAD_JSON")


async def test_the_version_must_be_named(alice: Device, version: str) -> None:
    assert (await alice.ask("PUT", f"/room_keys/keys{PLACE}", key()))[0] == 400


def sessions(*names: str, weight: int = 10_000, verified: bool = False) -> JsonObject:
    """Keys that each take so many bytes of the backup."""
    one = BackupKey(RoomId(ROOM), "", 0, 0, verified, orjson.dumps({"ciphertext": ""}))
    padding = "x" * (weight - encryption.weight(one))
    filled = key(verified=verified) | {"session_data": {"ciphertext": padding}}
    return {"sessions": dict.fromkeys(names, filled)}


async def test_a_full_backup_says_so_and_keeps_what_it_has(alice: Device, version: str) -> None:
    path = f"/room_keys/keys/!r:alice.example?version={version}"
    names = [str(number) for number in range(BACKUP_QUOTA // 10_000)]
    held = await alice.put(path, sessions(*names[1:]))
    status, answer = await alice.ask("PUT", path, sessions("a", "b", weight=9_000))
    assert (status, answer["errcode"]) == (413, "M_TOO_LARGE")
    assert (await alice.get("/room_keys/version"))["etag"] == held["etag"]
    assert (await alice.put(path, sessions("a", weight=9_000)))["count"] == held["count"] + 1
    # A better key for what is there is still taken.
    better = sessions(names[1], verified=True)
    assert (await alice.put(path, better))["count"] == held["count"] + 1
    assert (await alice.get(path))["sessions"][names[1]]["is_verified"] is True


async def test_all_versions_share_the_room_until_one_is_deleted(
    alice: Device, version: str
) -> None:
    path = "/room_keys/keys/!r:alice.example?version="
    names = [str(number) for number in range(BACKUP_QUOTA * 2 // 3 // 10_000)]
    await alice.put(path + version, sessions(*names))
    second = await begin(alice)
    status, answer = await alice.ask("PUT", path + second, sessions(*names))
    assert (status, answer["errcode"]) == (413, "M_TOO_LARGE")
    assert await alice.ask("DELETE", f"/room_keys/version/{version}") == (200, {})
    kept = await alice.put(path + second, sessions(*names))
    assert kept["count"] == len(names)


async def test_a_key_and_what_is_said_about_it_have_their_bounds(
    alice: Device, version: str
) -> None:
    path = f"/room_keys/keys/!r:alice.example?version={version}"
    large = {"algorithm": ALGORITHM, "auth_data": {"public_key": "x" * 70_000}}
    for method, where, body in (
        ("PUT", path, sessions("a", weight=70_000)),
        ("PUT", path, sessions("a" * 256)),
        ("POST", "/room_keys/version", large),
        ("PUT", f"/room_keys/version/{version}", large),
    ):
        status, answer = await alice.ask(method, where, body)
        assert (status, answer["errcode"]) == (413, "M_TOO_LARGE")
    assert (await alice.get("/room_keys/version"))["auth_data"] == {"public_key": "abc"}
    assert await alice.get(path) == {"sessions": {}}
