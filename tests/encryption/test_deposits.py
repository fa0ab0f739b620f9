"""Keys left with peers: what goes into a deposit, and what is done with one."""

from typing import Any

import orjson
import pytest

from homeserver import errors
from homeserver.encryption import deposits, peer_deposits
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import DeviceId, ServerName
from homeserver.storage import encryption, frames
from tests.accounts.serving import ALICE, BOB, BOBS, Device, Served
from tests.encryption import keys

PHONE = DeviceId("PHONE")
CAROLS = ServerName("carol.example")


def queued(served: Served, server: ServerName = BOBS) -> list[tuple[str, JsonObject]]:
    items = served.database.read(lambda view: frames.waiting_items(view, server, "control", 100))
    return [(item.kind, orjson.loads(item.body)) for item in items]


def counts(served: Served) -> dict[str, int]:
    return served.database.read(lambda view: encryption.one_time_key_counts(view, ALICE, PHONE))


async def deposit(served: Served, server: ServerName = BOBS) -> JsonObject:
    whole = await served.database.write(lambda work: deposits.deposit_for(work, server))
    of_alice: JsonObject = whole["users"][ALICE]
    return of_alice


async def take_in(served: Served, **of_bob: Any) -> None:
    body, now = keys.deposit_of_bob(**of_bob), served.clock.now_ms()
    await served.database.write(lambda work: peer_deposits.take_in_deposit(work, BOBS, body, now))


async def claim(alice: Device) -> JsonObject:
    wanted = {BOB: {"TAB": "signed_curve25519"}}
    answer: JsonObject = await alice.post("/keys/claim", {"one_time_keys": wanted})
    return answer


async def test_a_device_with_a_fallback_key_gives_that(served: Served, alice: Device) -> None:
    fallback = keys.one_time_keys("f", fallback=True)
    await alice.post(
        "/keys/upload",
        {
            "device_keys": keys.device_keys("PHONE"),
            "one_time_keys": keys.one_time_keys("a"),
            "fallback_keys": fallback,
        },
    )
    await alice.post("/keys/device_signing/upload", keys.whole_set())
    assert await deposit(served) == {
        "device_keys": {"PHONE": keys.device_keys("PHONE")},
        "master_key": keys.whole_set()["master_key"],
        "self_signing_key": keys.whole_set()["self_signing_key"],
        "one_time_keys": {},
        "fallback_keys": {"PHONE": fallback},
        "previous_fallback_keys": {},
    }
    assert counts(served) == {"signed_curve25519": 1}


async def upload_five(alice: Device) -> None:
    await alice.post(
        "/keys/upload",
        {
            "device_keys": keys.device_keys("PHONE"),
            "one_time_keys": keys.one_time_keys(*"abcde"),
        },
    )


@pytest.mark.usefixtures("three_each")
async def test_a_device_without_one_sets_keys_aside_for_each_peer(
    served: Served, alice: Device
) -> None:
    await upload_five(alice)
    for_bob = (await deposit(served))["one_time_keys"]["PHONE"]
    assert len(for_bob) == 3
    assert (await deposit(served))["one_time_keys"]["PHONE"] == for_bob
    for_carol = (await deposit(served, CAROLS))["one_time_keys"]["PHONE"]
    assert len(for_carol) == 2
    assert not set(for_bob) & set(for_carol)
    assert counts(served) == {"signed_curve25519": 0}
    wanted = {ALICE: {"PHONE": "signed_curve25519"}}
    answer = await alice.post("/keys/claim", {"one_time_keys": wanted})
    assert answer["one_time_keys"] == {}


@pytest.mark.usefixtures("three_each")
async def test_keys_a_peer_has_used_are_replaced(served: Served, alice: Device) -> None:
    await keys.connect(served)
    await upload_five(alice)
    first = queued(served)[-1][1]["users"][ALICE]["one_time_keys"]["PHONE"]
    used = next(iter(first)).partition(":")[2]
    body = {"used": {ALICE: {"PHONE": [used, "never existed", used]}}}
    await served.database.write(lambda work: deposits.take_in_deposit_used(work, BOBS, body, 1))
    kind, fresh = queued(served)[-1]
    second = fresh["users"][ALICE]["one_time_keys"]["PHONE"]
    assert kind == "deposit"
    assert len(second) == 3
    assert len(set(first) & set(second)) == 2


async def test_no_peer_names_more_used_keys_than_it_can_hold(served: Served) -> None:
    await keys.connect(served)
    body = {"used": {ALICE: {"PHONE": [str(number) for number in range(201)]}}}
    with pytest.raises(errors.BadJson):
        await served.database.write(lambda work: deposits.take_in_deposit_used(work, BOBS, body, 1))


async def test_every_change_of_devices_is_deposited_with_every_peer(
    served: Served, alice: Device
) -> None:
    await keys.connect(served)
    await keys.connect(served, CAROLS)
    await upload_five(alice)
    await alice.post("/keys/upload", {"one_time_keys": {}})
    await alice.post("/keys/device_signing/upload", keys.whole_set())
    await alice.post("/logout", {})
    for server in (BOBS, CAROLS):
        sent = queued(served, server)
        assert [kind for kind, _ in sent] == ["deposit"]  # the newest takes the others' place
        assert [len(body["users"][ALICE]["device_keys"]) for _, body in sent] == [0]


@pytest.mark.usefixtures("three_each")
async def test_fresh_one_time_keys_fill_up_a_deposit_that_lacked_some(
    served: Served, alice: Device
) -> None:
    await keys.connect(served)
    await alice.post("/keys/upload", {"device_keys": keys.device_keys("PHONE")})
    answer = await alice.post("/keys/upload", {"one_time_keys": keys.one_time_keys(*"abcd")})
    assert answer == {"one_time_key_counts": {"signed_curve25519": 1}}
    await alice.post("/keys/upload", {"one_time_keys": keys.one_time_keys("e")})
    held = [
        len(body["users"][ALICE]["one_time_keys"].get("PHONE", {})) for _, body in queued(served)
    ]
    assert held == [3]


async def test_a_sleeping_peers_keys_come_from_its_deposit(served: Served, alice: Device) -> None:
    await keys.connect(served)
    stock = {"TAB": keys.one_time_keys("a", user_id=BOB)}
    fallback = {"TAB": keys.one_time_keys("f", user_id=BOB, fallback=True)}
    await take_in(served, one_time_keys=stock, fallback_keys=fallback)
    assert await claim(alice) == {"one_time_keys": {BOB: stock}, "failures": {}}
    assert queued(served) == [("deposit_used", {"used": {BOB: {"TAB": ["a"]}}})]
    for _ in range(2):
        assert await claim(alice) == {"one_time_keys": {BOB: fallback}, "failures": {}}
    assert queued(served)[1:] == [("deposit_used", {"used": {BOB: {"TAB": ["f"]}}})]
    await take_in(served, fallback_keys=fallback)
    assert await claim(alice) == {"one_time_keys": {BOB: fallback}, "failures": {}}
    assert len(queued(served)) == 2


async def test_a_key_used_while_the_next_deposit_was_on_its_way_is_not_used_twice(
    served: Served, alice: Device
) -> None:
    stock = keys.one_time_keys("a", "b", user_id=BOB)
    await take_in(served, one_time_keys={"TAB": stock})
    first = (await claim(alice))["one_time_keys"][BOB]["TAB"]
    await take_in(served, one_time_keys={"TAB": stock})
    second = (await claim(alice))["one_time_keys"][BOB]["TAB"]
    assert first | second == stock
    assert await claim(alice) == {"one_time_keys": {}, "failures": {BOBS: {}}}


async def test_an_old_deposit_is_not_handed_out_until_it_is_renewed(
    served: Served, alice: Device
) -> None:
    fallback = {"TAB": keys.one_time_keys("f", user_id=BOB, fallback=True)}
    await take_in(served, fallback_keys=fallback)
    served.clock.seconds += 14 * 86_400 + 1
    assert await claim(alice) == {"one_time_keys": {}, "failures": {BOBS: {}}}
    await take_in(served, fallback_keys=fallback)
    assert (await claim(alice))["one_time_keys"] == {BOB: fallback}


async def test_syncs_hear_of_a_deposit_only_if_the_devices_are_others(served: Served) -> None:
    def changed(after: int) -> set[str]:
        until = served.database.position
        return set(
            served.database.read(lambda view: encryption.device_list_changes(view, after, until))
        )

    before = served.database.position
    await take_in(served)
    first = served.database.position
    assert changed(before) == {BOB}
    await take_in(served, fallback_keys={"TAB": keys.one_time_keys("f", user_id=BOB)})
    assert changed(first) == set()
    await take_in(served, device_keys={})
    assert changed(first) == {BOB}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"users": []},
        {"users": {ALICE: {}}},
        {"users": {"@eve:eve.example": {}}},
        {"users": {"bob": {}}},
        {"users": {BOB: {"device_keys": {"TAB": {}}}}},
        {"users": {BOB: {"fallback_keys": []}}},
        {"users": {BOB: {"device_keys": {str(number): {} for number in range(101)}}}},
        {"users": {f"@{number}:bob.example": {} for number in range(11)}},
    ],
)
async def test_a_deposit_that_is_wrong_changes_nothing(served: Served, body: Any) -> None:
    position = served.database.position
    with pytest.raises(errors.HomeserverError):
        await served.database.write(lambda work: peer_deposits.take_in_deposit(work, BOBS, body, 1))
    assert served.database.position == position


async def test_wrong_keys_of_a_deposit_do_not_take_the_right_ones_with_them(
    served: Served, alice: Device
) -> None:
    signed: dict[str, Any] = {"fallback": True, "user_id": BOB}
    await take_in(
        served,
        one_time_keys={
            "TAB": keys.one_time_keys("a", user_id=BOB)
            | {"nonsense": "x", "signed_curve25519:b": "text"},
            "PAD": 5,
        },
        fallback_keys={
            "TAB": keys.one_time_keys("f", **signed),
            "PAD": keys.one_time_keys("f", device_id="PAD", **signed),
            "PEN": keys.one_time_keys("f", device_id="PEN", **signed),
        },
        device_keys={
            "TAB": keys.device_keys("TAB", BOB),
            "PAD": keys.device_keys("PAD", BOB) | {"signatures": {}},
            "PEN": keys.device_keys("PEN", BOB, keys=keys.device_keys("PAD", BOB)["keys"]),
        },
    )
    wanted = {BOB: dict.fromkeys(("TAB", "PAD", "PEN"), "signed_curve25519")}
    first, second = [
        (await alice.post("/keys/claim", {"one_time_keys": wanted}))["one_time_keys"]
        for _ in range(2)
    ]
    assert first == {BOB: {"TAB": keys.one_time_keys("a", user_id=BOB)}}
    assert second == {BOB: {"TAB": keys.one_time_keys("f", **signed)}}


async def test_a_fallback_key_of_a_deposit_that_its_device_did_not_sign_is_left_out(
    served: Served, alice: Device
) -> None:
    fallback = keys.one_time_keys("f", user_id=BOB)
    changed = {name: key | {"fallback": True} for name, key in fallback.items()}
    await take_in(served, fallback_keys={"TAB": changed})
    assert (await claim(alice))["one_time_keys"] == {}
    await take_in(served, fallback_keys={"TAB": fallback})
    assert (await claim(alice))["one_time_keys"] == {BOB: {"TAB": fallback}}


async def test_a_server_has_only_so_many_users(served: Served) -> None:
    for number in range(10):
        await _take_in_user(served, f"@{number}:bob.example")
    with pytest.raises(errors.TooLarge):
        await take_in(served)


async def _take_in_user(served: Served, user: str) -> None:
    body: JsonObject = {"users": {user: {}}}
    await served.database.write(lambda work: peer_deposits.take_in_deposit(work, BOBS, body, 1))
