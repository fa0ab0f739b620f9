"""Uploading, asking for and claiming the keys of devices."""

from typing import Any

import pytest

from homeserver import errors
from homeserver.encryption import deposits, device_keys, peer_deposits
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import DeviceId
from homeserver.storage import encryption
from homeserver.storage.unit_of_work import View
from tests.accounts.serving import ALICE, BOB, BOBS, Client, Device, Served, log_in, with_password
from tests.encryption import keys

UPLOAD, QUERY, CLAIM = "/keys/upload", "/keys/query", "/keys/claim"


async def query(alice: Device, *users: str) -> JsonObject:
    answer: JsonObject = await alice.post(QUERY, {"device_keys": {user: [] for user in users}})
    return answer


async def claim(alice: Device, user: str, device_id: str) -> JsonObject:
    wanted = {user: {device_id: "signed_curve25519"}}
    answer: JsonObject = await alice.post(CLAIM, {"one_time_keys": wanted})
    return answer


async def test_a_device_publishes_its_keys_and_others_see_them(http: Client, alice: Device) -> None:
    counts = await alice.post(UPLOAD, {"device_keys": keys.device_keys("PHONE")})
    assert counts == {"one_time_key_counts": {"signed_curve25519": 0}}
    other = await log_in(http, "LAPTOP")
    answer = await query(other, ALICE)
    named = {"unsigned": {"device_display_name": "Alice's phone"}}
    assert answer["device_keys"] == {ALICE: {"PHONE": keys.device_keys("PHONE") | named}}
    assert answer["failures"] == {}


async def test_only_the_devices_that_were_asked_for_are_told(http: Client, alice: Device) -> None:
    other = await log_in(http, "LAPTOP")
    await alice.post(UPLOAD, {"device_keys": keys.device_keys("PHONE")})
    await other.post(UPLOAD, {"device_keys": keys.device_keys("LAPTOP")})
    answer = await alice.post(QUERY, {"device_keys": {ALICE: ["LAPTOP", "NONE"]}})
    assert list(answer["device_keys"][ALICE]) == ["LAPTOP"]


async def test_each_one_time_key_is_given_once_in_the_order_of_uploads(
    served: Served, alice: Device
) -> None:
    await alice.post(UPLOAD, {"one_time_keys": keys.one_time_keys("z")})
    served.clock.seconds += 1
    counts = await alice.post(UPLOAD, {"one_time_keys": keys.one_time_keys("a")})
    assert counts == {"one_time_key_counts": {"signed_curve25519": 2}}
    given = [(await claim(alice, ALICE, "PHONE"))["one_time_keys"] for _ in range(3)]
    assert given == [
        {ALICE: {"PHONE": keys.one_time_keys("z")}},
        {ALICE: {"PHONE": keys.one_time_keys("a")}},
        {},
    ]
    counts = await alice.post(UPLOAD, {})
    assert counts == {"one_time_key_counts": {"signed_curve25519": 0}}


async def test_a_one_time_key_cannot_become_another_one(alice: Device) -> None:
    first = keys.one_time_keys("a")
    await alice.post(UPLOAD, {"one_time_keys": first})
    again = await alice.post(UPLOAD, {"one_time_keys": first})
    assert again == {"one_time_key_counts": {"signed_curve25519": 1}}
    other = keys.one_time_keys("a", key="A" * 43)
    status, answer = await alice.ask("POST", UPLOAD, {"one_time_keys": other})
    assert (status, answer["errcode"]) == (400, "M_INVALID_PARAM")


async def test_a_key_that_was_given_away_is_known_for_a_month(
    served: Served, alice: Device
) -> None:
    """A repeated upload does not bring it back; a key of another kind may have the same name."""
    first, other = keys.one_time_keys("a"), {"curve25519:a": "A" * 43}
    await alice.post(UPLOAD, {"one_time_keys": first})
    await claim(alice, ALICE, "PHONE")
    for days in (0, 1, 28):
        served.clock.seconds += days * 86_400
        counts = await alice.post(UPLOAD, {"one_time_keys": first | other})
        assert counts == {"one_time_key_counts": {"signed_curve25519": 0, "curve25519": 1}}
    served.clock.seconds += 2 * 86_400
    await alice.post(UPLOAD, {"one_time_keys": keys.one_time_keys("b")})
    assert served.database.read(spent_of_phone) == set()


async def test_a_device_that_comes_again_counts_its_keys_from_the_beginning(
    http: Client, alice: Device
) -> None:
    await alice.post(UPLOAD, {"one_time_keys": keys.one_time_keys("a")})
    await claim(alice, ALICE, "PHONE")
    await alice.post("/logout", {})
    again = await log_in(http, "PHONE")
    counts = await again.post(UPLOAD, {"one_time_keys": keys.one_time_keys("a", "b")})
    assert counts == {"one_time_key_counts": {"signed_curve25519": 2}}


def spent_of_phone(view: View) -> set[str]:
    return encryption.spent_among(view, ALICE, DeviceId("PHONE"), "signed_curve25519", ["a"])


def unused(served: Served) -> list[str]:
    return served.database.read(
        lambda view: deposits.unused_fallback_types(view, ALICE, DeviceId("PHONE"), 0)
    )


async def test_the_fallback_key_is_given_when_no_other_is_left_until_it_is_replaced(
    served: Served, alice: Device
) -> None:
    fallback = keys.one_time_keys("f", fallback=True)
    body = {"device_keys": keys.device_keys("PHONE"), "fallback_keys": fallback}
    await alice.post(UPLOAD, body | {"one_time_keys": keys.one_time_keys("a")})
    await claim(alice, ALICE, "PHONE")
    assert unused(served) == ["signed_curve25519"]
    for _ in range(2):
        answer = await claim(alice, ALICE, "PHONE")
        assert answer["one_time_keys"] == {ALICE: {"PHONE": fallback}}
    assert unused(served) == []

    await alice.post(UPLOAD, {"fallback_keys": fallback})
    assert unused(served) == []
    await alice.post(UPLOAD, {"fallback_keys": keys.one_time_keys("g", fallback=True)})
    assert unused(served) == ["signed_curve25519"]


async def test_a_deleted_devices_keys_are_gone_and_syncs_hear_of_it(
    served: Served, http: Client, alice: Device
) -> None:
    other = await log_in(http, "LAPTOP")
    await other.post(
        UPLOAD,
        {
            "device_keys": keys.device_keys("LAPTOP"),
            "one_time_keys": keys.one_time_keys("a", device_id="LAPTOP"),
            "fallback_keys": keys.one_time_keys("f", device_id="LAPTOP"),
        },
    )
    after = served.database.position
    await other.post("/logout", {})
    assert (await query(alice, ALICE))["device_keys"] == {ALICE: {}}
    assert (await claim(alice, ALICE, "LAPTOP"))["one_time_keys"] == {}
    changes = await alice.get(f"/keys/changes?from=s{after}_9&to=s{served.database.position}_9")
    assert changes == {"changed": [ALICE], "left": []}
    none = await alice.get(f"/keys/changes?from=s{after + 1}&to=s{after + 1}")
    assert none["changed"] == []
    assert (await alice.ask("GET", "/keys/changes?from=x&to=y"))[0] == 400


async def test_an_unknown_user_of_this_server_has_no_devices(alice: Device) -> None:
    answer = await query(alice, "@nobody:alice.example")
    assert answer["device_keys"] == {"@nobody:alice.example": {}}
    assert answer["failures"] == {}


async def test_people_of_a_sleeping_server_are_a_failure_and_never_without_devices(
    alice: Device,
) -> None:
    answer = await query(alice, BOB, ALICE)
    assert answer["device_keys"] == {ALICE: {}}
    assert answer["failures"] == {BOBS: {}}
    answer = await claim(alice, BOB, "TAB")
    assert answer == {"one_time_keys": {}, "failures": {BOBS: {}}}


async def test_a_peer_that_is_awake_is_asked_once_and_its_answer_kept(
    served: Served, alice: Device
) -> None:
    served.peers.answers["user/keys/query"] = lambda _: {
        "device_keys": {BOB: {"TAB": keys.device_keys("TAB", BOB)}},
        "master_keys": {BOB: keys.cross_signing_key("master", "bob", BOB)},
    }
    first = await query(alice, BOB)
    assert first["device_keys"] == {BOB: {"TAB": keys.device_keys("TAB", BOB)}}
    assert first["master_keys"] == {BOB: keys.cross_signing_key("master", "bob", BOB)}
    served.peers.answers.clear()
    assert await query(alice, BOB) == first
    assert [asked[:2] for asked in served.peers.asked] == [(BOBS, "user/keys/query")]


async def test_what_is_wrong_in_a_peers_list_is_left_out(served: Served, alice: Device) -> None:
    served.peers.answers["user/keys/query"] = lambda _: {
        "device_keys": {
            BOB: {
                "TAB": keys.device_keys("TAB", BOB),
                "UNSIGNED": keys.device_keys("UNSIGNED", BOB) | {"signatures": {}},
                "OTHER": keys.device_keys("TAB", BOB),
                "NONE": 5,
            }
        },
        "master_keys": {BOB: {"usage": ["master"]}},
    }
    answer = await query(alice, BOB)
    assert answer["device_keys"] == {BOB: {"TAB": keys.device_keys("TAB", BOB)}}
    assert (answer["master_keys"], answer["failures"]) == ({}, {})


@pytest.mark.parametrize(
    "answer",
    [
        {"device_keys": {BOB: []}},
        {"device_keys": {BOB: {"TAB": keys.device_keys("TAB", ALICE)}}},
        {"device_keys": {BOB: {"OTHER": keys.device_keys("TAB", BOB)}}},
        {"master_keys": {BOB: {"usage": ["master"]}}},
    ],
)
async def test_a_peers_wrong_answer_is_a_failure(
    served: Served, alice: Device, answer: JsonObject
) -> None:
    served.peers.answers["user/keys/query"] = lambda _: answer
    assert (await query(alice, BOB))["failures"] == {BOBS: {}}


async def test_a_key_comes_from_the_peer_that_is_awake(served: Served, alice: Device) -> None:
    given = {BOB: {"TAB": keys.one_time_keys("a", user_id=BOB)}}
    served.peers.answers["user/keys/claim"] = lambda _: {"one_time_keys": given}
    answer = await claim(alice, BOB, "TAB")
    assert answer == {"one_time_keys": given, "failures": {}}
    body = {"one_time_keys": {BOB: {"TAB": "signed_curve25519"}}}
    assert served.peers.asked == [(BOBS, "user/keys/claim", body)]


@pytest.mark.parametrize(
    "given",
    [
        {BOB: {"TAB": {}}},
        {BOB: {"TAB": {"curve25519:a": "another algorithm"}}},
        {BOB: {"TAB": {"signed_curve25519:a": 5}}},
        {BOB: {"TAB": keys.one_time_keys("a", "b", user_id=BOB)}},
        {BOB: {"TAB": keys.one_time_keys("a", user_id=BOB, device_id="OTHER")}},
        {BOB: {"TAB": keys.one_time_keys("a", user_id=BOB, key="key")}},
        {"@eve:eve.example": {"TAB": keys.one_time_keys("a")}},
        [],
    ],
)
async def test_what_a_peer_gave_wrongly_is_left_out(
    served: Served, alice: Device, given: Any
) -> None:
    served.peers.answers["user/keys/claim"] = lambda _: {"one_time_keys": given}
    assert await claim(alice, BOB, "TAB") == {"one_time_keys": {}, "failures": {}}


async def test_a_peer_that_answers_nothing_leaves_what_it_deposited(
    served: Served, alice: Device
) -> None:
    def refuse(_: JsonObject) -> JsonObject:
        raise errors.PeerRefused

    served.peers.answers["user/keys/claim"] = refuse
    fallback = {"TAB": keys.one_time_keys("f", user_id=BOB, fallback=True)}
    body = keys.deposit_of_bob(fallback_keys=fallback)
    now = served.clock.now_ms()
    await served.database.write(lambda work: peer_deposits.take_in_deposit(work, BOBS, body, now))
    assert await claim(alice, BOB, "TAB") == {"one_time_keys": {BOB: fallback}, "failures": {}}


async def test_peers_learn_of_our_own_users_only(served: Served, alice: Device) -> None:
    await alice.post(
        UPLOAD,
        {
            "device_keys": keys.device_keys("PHONE"),
            "one_time_keys": keys.one_time_keys("a"),
        },
    )
    await alice.post("/keys/device_signing/upload", keys.whole_set())
    await served.database.write(
        lambda work: peer_deposits.take_in_deposit(work, BOBS, keys.deposit_of_bob(), 0)
    )
    answer = served.database.read(lambda view: device_keys.answer_query(view, [ALICE, BOB]))
    assert answer == {
        "device_keys": {ALICE: {"PHONE": keys.device_keys("PHONE")}},
        "master_keys": {ALICE: keys.whole_set()["master_key"]},
        "self_signing_keys": {ALICE: keys.whole_set()["self_signing_key"]},
    }
    wanted = device_keys.parse_claims(
        {user: {"PHONE": "signed_curve25519", "TAB": "x"} for user in (ALICE, BOB)}
    )
    claimed = await served.database.write(
        lambda work: device_keys.answer_claim(work, wanted, BOBS, 1)
    )
    assert claimed == {ALICE: {"PHONE": keys.one_time_keys("a")}}


async def test_nothing_of_a_forgotten_peer_is_left(served: Served, alice: Device) -> None:
    fallback = {"TAB": keys.one_time_keys("f", user_id=BOB, fallback=True)}
    body = keys.deposit_of_bob(fallback_keys=fallback)
    await served.database.write(lambda work: peer_deposits.take_in_deposit(work, BOBS, body, 0))
    await served.database.write(lambda work: device_keys.forget_peer(work, BOBS))
    assert (await query(alice, BOB))["failures"] == {BOBS: {}}
    assert (await claim(alice, BOB, "TAB"))["failures"] == {BOBS: {}}


async def test_replacing_a_device_by_password_keeps_the_others_keys(
    http: Client, alice: Device
) -> None:
    other = await log_in(http, "LAPTOP")
    for device in (alice, other):
        await device.post(UPLOAD, {"device_keys": keys.device_keys(device.device_id)})
    _, challenge = await alice.ask("DELETE", "/devices/LAPTOP")
    await alice.ask("DELETE", "/devices/LAPTOP", {"auth": with_password(challenge)})
    assert list((await query(alice, ALICE))["device_keys"][ALICE]) == ["PHONE"]
