"""Cross-signing keys and signatures: who may replace them, who sees them."""

from typing import Any

import pytest

from homeserver.encryption import deposits, device_keys, peer_deposits
from homeserver.matrix.canonical_json import JsonObject
from homeserver.testing.device_secrets import signer
from tests.accounts.serving import ALICE, BOB, BOBS, Client, Device, Served, log_in, with_password
from tests.encryption import keys

UPLOAD, SIGN = "/keys/device_signing/upload", "/keys/signatures/upload"


async def shown(alice: Device, user: str = ALICE) -> JsonObject:
    answer: JsonObject = await alice.post("/keys/query", {"device_keys": {user: []}})
    return answer


async def test_the_first_keys_and_the_same_again_need_no_password(
    served: Served, alice: Device
) -> None:
    await alice.post(UPLOAD, keys.whole_set())
    position = served.database.position
    await alice.post(UPLOAD, keys.whole_set())
    assert served.database.position == position
    answer = await shown(alice)
    for usage in ("master", "self_signing", "user_signing"):
        assert answer[f"{usage}_keys"] == {ALICE: keys.whole_set()[f"{usage}_key"]}


async def test_other_keys_need_the_password(alice: Device) -> None:
    await alice.post(UPLOAD, keys.whole_set())
    status, challenge = await alice.ask("POST", UPLOAD, keys.whole_set("fresh "))
    assert (status, challenge["flows"]) == (401, [{"stages": ["m.login.password"]}])
    assert (await shown(alice))["master_keys"][ALICE] == keys.whole_set()["master_key"]
    await alice.post(UPLOAD, keys.whole_set("fresh ") | {"auth": with_password(challenge)})
    assert (await shown(alice))["master_keys"][ALICE] == keys.whole_set("fresh ")["master_key"]


@pytest.mark.parametrize(
    ("given", "errcode"),
    [
        ({"self_signing_key": keys.whole_set()["self_signing_key"]}, "M_MISSING_PARAM"),
        (
            keys.whole_set() | {"self_signing_key": keys.cross_signing_key("self_signing", "x")},
            "M_INVALID_SIGNATURE",
        ),
        ({"master_key": keys.cross_signing_key("master", "m", BOB)}, "M_INVALID_PARAM"),
        ({"master_key": keys.cross_signing_key("self_signing", "m")}, "M_INVALID_PARAM"),
        (
            {"master_key": {"user_id": ALICE, "usage": ["master"], "keys": {"ed25519:a": "b"}}},
            "M_INVALID_PARAM",
        ),
        ({"master_key": {"user_id": ALICE, "usage": ["master"], "keys": {}}}, "M_INVALID_PARAM"),
        (
            {"master_key": {"user_id": ALICE, "usage": ["master"], "keys": {"ed25519:a": "a"}}},
            "M_INVALID_PARAM",
        ),
    ],
)
async def test_wrong_keys_are_refused(alice: Device, given: Any, errcode: str) -> None:
    status, answer = await alice.ask("POST", UPLOAD, given)
    assert (status, answer["errcode"]) == (400, errcode)
    assert (await shown(alice))["master_keys"] == {}


async def test_a_key_may_not_be_named_like_a_device(http: Client, alice: Device) -> None:
    await log_in(http, signer("master").public)
    key = keys.cross_signing_key("master", "master")
    status, answer = await alice.ask("POST", UPLOAD, {"master_key": key})
    assert (status, answer["errcode"]) == (403, "M_FORBIDDEN")


async def prepared(alice: Device) -> JsonObject:
    await alice.post("/keys/upload", {"device_keys": keys.device_keys("PHONE")})
    await alice.post(UPLOAD, keys.whole_set())
    return keys.whole_set()


async def test_own_signatures_are_shown_to_everybody_and_survive_an_upload(
    served: Served, alice: Device
) -> None:
    whole = await prepared(alice)
    device = keys.signed_by("self", keys.device_keys("PHONE"))
    master = keys.signed_by_device("PHONE", whole["master_key"])
    public = signer("master").public
    after = served.database.position
    answer = await alice.post(SIGN, {ALICE: {"PHONE": device, public: master}})
    assert answer == {"failures": {}}
    await alice.post("/keys/upload", {"device_keys": keys.device_keys("PHONE")})

    for seen in (
        await shown(alice),
        served.database.read(lambda view: device_keys.answer_query(view, [ALICE])),
    ):
        assert seen["device_keys"][ALICE]["PHONE"]["signatures"] == device["signatures"]
        assert seen["master_keys"][ALICE] == master
    changes = await alice.get(f"/keys/changes?from=s{after}&to=s{served.database.position}")
    assert changes["changed"] == [ALICE]


async def test_a_signature_on_another_person_is_shown_to_the_signer_only(
    served: Served, alice: Device
) -> None:
    await prepared(alice)
    master = keys.cross_signing_key("master", "bob", BOB)
    body = keys.deposit_of_bob(master_key=master)
    await served.database.write(lambda work: peer_deposits.take_in_deposit(work, BOBS, body, 1))
    signed = keys.signed_by("user", master)
    answer = await alice.post(SIGN, {BOB: {signer("bob").public: signed}})
    assert answer == {"failures": {}}
    assert (await shown(alice, BOB))["master_keys"][BOB] == signed
    deposit = await served.database.write(lambda work: deposits.deposit_for(work, BOBS))
    assert signer("user").public not in repr(deposit)


async def test_of_another_person_only_the_master_key_can_be_signed(
    served: Served, alice: Device
) -> None:
    await prepared(alice)
    master = keys.cross_signing_key("master", "bob", BOB)
    body = keys.deposit_of_bob(
        master_key=master, self_signing_key=keys.cross_signing_key("self_signing", "own", BOB)
    )
    await served.database.write(lambda work: peer_deposits.take_in_deposit(work, BOBS, body, 1))
    signed = {
        signer("bob").public: keys.signed_by("user", master),
        "TAB": keys.signed_by("user", keys.device_keys("TAB", BOB)),
        signer("own").public: keys.signed_by("user", body["users"][BOB]["self_signing_key"]),
    }
    failures = (await alice.post(SIGN, {BOB: signed}))["failures"][BOB]
    assert {name: one["errcode"] for name, one in failures.items()} == dict.fromkeys(
        ("TAB", signer("own").public), "M_INVALID_SIGNATURE"
    )
    answer = await shown(alice, BOB)
    assert ALICE in answer["master_keys"][BOB]["signatures"]
    assert ALICE not in answer["device_keys"][BOB]["TAB"]["signatures"]


async def test_the_owner_knows_a_friend_again_whom_she_verified_before_a_revoke(
    served: Served, alice: Device
) -> None:
    await prepared(alice)
    master = keys.cross_signing_key("master", "bob", BOB)
    body = keys.deposit_of_bob(master_key=master)
    await served.database.write(lambda work: peer_deposits.take_in_deposit(work, BOBS, body, 1))
    signed = keys.signed_by("user", master)
    await alice.post(SIGN, {BOB: {signer("bob").public: signed}})
    await served.database.write(lambda work: device_keys.forget_peer(work, BOBS))
    assert (await shown(alice, BOB))["master_keys"] == {}
    await served.database.write(lambda work: peer_deposits.take_in_deposit(work, BOBS, body, 1))
    assert (await shown(alice, BOB))["master_keys"][BOB] == signed


async def test_a_device_stays_verified_when_it_uploads_its_keys_in_another_form(
    alice: Device,
) -> None:
    await prepared(alice)
    device = keys.signed_by("self", keys.device_keys("PHONE"))
    await alice.post(SIGN, {ALICE: {"PHONE": device}})
    own = keys.device_keys("PHONE")
    of_another = {ALICE: own["signatures"][ALICE] | {"ed25519:ANOTHER": "A" * 86}}
    await alice.post("/keys/upload", {"device_keys": own | {"signatures": of_another}})
    signatures = (await shown(alice))["device_keys"][ALICE]["PHONE"]["signatures"][ALICE]
    assert set(signatures) == {*device["signatures"][ALICE], "ed25519:ANOTHER"}
    # What is signed is something else now.
    await alice.post("/keys/upload", {"device_keys": keys.device_keys("PHONE", algorithms=[])})
    signatures = (await shown(alice))["device_keys"][ALICE]["PHONE"]["signatures"][ALICE]
    assert set(signatures) == {"ed25519:PHONE"}


def wrong_signatures() -> list[tuple[str, JsonObject, str]]:
    device, master = keys.device_keys("PHONE"), keys.whole_set()["master_key"]
    public = signer("master").public
    changed = keys.signed_by("self", device | {"algorithms": []})
    forged = keys.signed_by("self", device)
    forged["signatures"][ALICE][f"ed25519:{signer('self').public}"] = "A" * 86
    return [
        ("NONE", keys.signed_by("self", keys.device_keys("NONE")), "M_NOT_FOUND"),
        ("PHONE", changed, "M_INVALID_SIGNATURE"),
        ("PHONE", forged, "M_INVALID_SIGNATURE"),
        ("PHONE", keys.signed_by("a stranger", device), "M_INVALID_SIGNATURE"),
        ("PHONE", keys.signed_by("user", device), "M_INVALID_SIGNATURE"),
        (public, master, "M_INVALID_SIGNATURE"),
        ("PHONE", device | {"signatures": []}, "M_BAD_JSON"),
    ]


@pytest.mark.parametrize(("key_id", "signed", "errcode"), wrong_signatures())
async def test_wrong_signatures_are_named_one_by_one(
    alice: Device, key_id: str, signed: JsonObject, errcode: str
) -> None:
    await prepared(alice)
    answer = await alice.post(SIGN, {ALICE: {key_id: signed}})
    assert answer["failures"][ALICE][key_id]["errcode"] == errcode


async def test_the_signatures_of_replaced_keys_are_forgotten(alice: Device) -> None:
    await prepared(alice)
    await alice.post(SIGN, {ALICE: {"PHONE": keys.signed_by("self", keys.device_keys("PHONE"))}})
    _, challenge = await alice.ask("POST", UPLOAD, keys.whole_set("fresh "))
    await alice.post(UPLOAD, keys.whole_set("fresh ") | {"auth": with_password(challenge)})
    device = (await shown(alice))["device_keys"][ALICE]["PHONE"]
    assert device["signatures"] == keys.device_keys("PHONE")["signatures"]
