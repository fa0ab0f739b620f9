"""Peers that sleep for long: which keys are still handed out, and never the same one twice."""

import pytest
from sqlalchemy import Connection, exc

from federation.connections_room import telling
from homeserver.encryption import deposits, device_keys, peer_deposits
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import ServerName
from homeserver.storage import encryption, frames, notices, peers, prepared
from homeserver.storage.unit_of_work import UnitOfWork
from tests.accounts.serving import ALICE, BOB, BOBS, Device, Served
from tests.encryption import keys
from tests.encryption.test_deposits import (
    CAROLS,
    PHONE,
    claim,
    counts,
    queued,
    take_in,
    upload_five,
)


async def heard(served: Served, server: ServerName, at_ms: int | None = None) -> None:
    moment = served.clock.now_ms() if at_ms is None else at_ms
    await served.database.write(lambda work: peers.change_peer(work, server, heard_at=moment))


async def test_a_deposit_is_as_old_as_the_silence_of_its_server(
    served: Served, alice: Device
) -> None:
    await keys.connect(served)
    fallback = {"TAB": keys.one_time_keys("f", user_id=BOB, fallback=True)}
    await take_in(served, fallback_keys=fallback)
    served.clock.seconds += 30 * 86_400
    await heard(served, BOBS)
    served.clock.seconds += 13 * 86_400
    assert (await claim(alice))["one_time_keys"] == {BOB: fallback}
    served.clock.seconds += 2 * 86_400
    assert await claim(alice) == {"one_time_keys": {}, "failures": {BOBS: {}}}


async def test_the_owner_is_told_once_a_day_what_a_friend_will_not_be_able_to_read(
    served: Served, alice: Device
) -> None:
    await keys.connect(served)
    await take_in(served)
    for _ in range(3):
        assert await claim(alice) == {"one_time_keys": {}, "failures": {BOBS: {}}}
    assert told(served) == [("no_key", BOB, ["TAB"])]
    served.clock.seconds += 86_400
    await claim(alice)
    assert told(served) == [("no_key", BOB, ["TAB"])] * 2


async def test_the_owner_is_told_although_it_could_not_be_stored_at_first(
    served: Served, alice: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    await keys.connect(served)
    await take_in(served)
    failures, plainly = iter([True]), prepared.plainly

    def fail_once(connection: Connection, sql: str) -> None:
        if sql == "COMMIT" and next(failures, False):
            raise exc.OperationalError(sql, None, OSError("the disk is ill"))
        plainly(connection, sql)

    monkeypatch.setattr(prepared, "plainly", fail_once)
    wanted = {"one_time_keys": {BOB: {"TAB": "signed_curve25519"}}}
    assert (await alice.ask("POST", "/keys/claim", wanted))[0] == 500
    assert told(served) == []
    await claim(alice)
    assert told(served) == [("no_key", BOB, ["TAB"])]


@pytest.mark.parametrize(("days", "why"), [(1, "are used up"), (15, "was away too long")])
async def test_the_owner_is_told_why(served: Served, alice: Device, days: int, why: str) -> None:
    await keys.connect(served)
    await take_in(served)
    heard_at = served.clock.now_ms() - days * 86_400_000
    await served.database.write(lambda work: peers.change_peer(work, BOBS, heard_at=heard_at))
    await claim(alice)
    [notice] = served.database.read(notices.newest)
    assert why in telling.text_of(notice.kind, notice.content)


def told(served: Served) -> list[tuple[str, str, list[str]]]:
    found = served.database.read(notices.newest)
    return [(one.kind, one.content["user_id"], one.content["devices"]) for one in found]


def fallback_of_bob(name: str, previous: str | None = None) -> JsonObject:
    return {
        "fallback_keys": {"TAB": keys.one_time_keys(name, user_id=BOB, fallback=True)},
        "previous_fallback_keys": {"TAB": previous} if previous else {},
    }


async def test_the_owner_is_told_when_a_fallback_key_was_gone_before_its_message_came(
    served: Served, alice: Device
) -> None:
    await keys.connect(served)
    await take_in(served, **fallback_of_bob("f"))
    await claim(alice)
    for _ in range(2):
        await take_in(served, **fallback_of_bob("g", "f"))
    assert told(served) == []  # the device still has the one before
    await take_in(served, **fallback_of_bob("h", "g"))
    assert told(served) == [("unreadable", BOB, ["TAB"])]
    await take_in(served, **fallback_of_bob("i", "h"))
    assert told(served) == [("unreadable", BOB, ["TAB"])]


async def upload_fallback(alice: Device, name: str) -> None:
    await alice.post(
        "/keys/upload",
        {
            "device_keys": keys.device_keys("PHONE"),
            "fallback_keys": keys.one_time_keys(name, fallback=True),
        },
    )


async def acknowledge(served: Served, server: ServerName) -> None:
    await served.database.write(lambda work: frames.delete_everything(work, server))


async def test_a_fallback_key_counts_as_used_when_every_awake_peer_holds_the_newest(
    served: Served, alice: Device
) -> None:
    for server in (BOBS, CAROLS):
        await keys.connect(served, server)
        await heard(served, server)
    await upload_fallback(alice, "f")
    await upload_fallback(alice, "g")
    await alice.post("/keys/claim", {"one_time_keys": {ALICE: {"PHONE": "signed_curve25519"}}})

    async def unused() -> list[str]:
        return served.database.read(
            lambda view: deposits.unused_fallback_types(view, ALICE, PHONE, served.clock.now_ms())
        )

    assert await unused() == ["signed_curve25519"]
    await acknowledge(served, BOBS)
    assert await unused() == ["signed_curve25519"]
    await heard(served, CAROLS, served.clock.now_ms() - deposits.LIFETIME_MS - 1)
    assert await unused() == []  # Carol's server hands out nothing any more
    await heard(served, CAROLS)
    assert await unused() == ["signed_curve25519"]
    await acknowledge(served, CAROLS)
    assert await unused() == []


async def test_a_peer_tells_that_it_gave_away_a_fallback_key(served: Served, alice: Device) -> None:
    await keys.connect(served)
    await upload_fallback(alice, "f")
    await acknowledge(served, BOBS)
    body = {"used": {ALICE: {"PHONE": ["f"]}}}
    await served.database.write(lambda work: deposits.take_in_deposit_used(work, BOBS, body, 1))
    unused = served.database.read(
        lambda view: deposits.unused_fallback_types(view, ALICE, PHONE, served.clock.now_ms())
    )
    assert unused == []
    assert queued(served) == []


async def test_a_claimed_key_does_not_come_back_when_its_upload_is_repeated(alice: Device) -> None:
    body = {
        "device_keys": keys.device_keys("PHONE"),
        "one_time_keys": keys.one_time_keys("a", "b"),
    }
    wanted = {"one_time_keys": {ALICE: {"PHONE": "signed_curve25519"}}}
    await alice.post("/keys/upload", body)
    first = (await alice.post("/keys/claim", wanted))["one_time_keys"][ALICE]["PHONE"]
    answer = await alice.post("/keys/upload", body)
    assert answer == {"one_time_key_counts": {"signed_curve25519": 1}}
    second = (await alice.post("/keys/claim", wanted))["one_time_keys"][ALICE]["PHONE"]
    assert first | second == body["one_time_keys"]
    assert (await alice.post("/keys/claim", wanted))["one_time_keys"] == {}


async def test_a_peer_gets_only_so_many_one_time_keys_a_day(served: Served, alice: Device) -> None:
    await keys.connect(served)
    names = [str(number) for number in range(110)]
    fallback = keys.one_time_keys("f", fallback=True)
    await alice.post(
        "/keys/upload",
        {
            "device_keys": keys.device_keys("PHONE"),
            "one_time_keys": keys.one_time_keys(*names),
            "fallback_keys": fallback,
        },
    )
    now = served.clock.now_ms()

    async def taken(server: ServerName, at_ms: int) -> JsonObject:
        wanted = {ALICE: {PHONE: "signed_curve25519"}}
        found = await served.database.write(
            lambda work: device_keys.answer_claim(work, wanted, server, at_ms)
        )
        key: JsonObject = found[ALICE]["PHONE"]
        return key

    got = [await taken(BOBS, now) for _ in range(101)]
    assert [one == fallback for one in got] == [False] * 100 + [True]
    assert await taken(CAROLS, now) != fallback
    assert await taken(BOBS, now + deposits.DAY_MS + 1) != fallback


async def restore(served: Served) -> None:
    def void(work: UnitOfWork) -> None:
        encryption.void_keys(work, ALICE)
        peer_deposits.forget_after_restore(work, "round")

    await served.database.write(void)


async def test_after_a_restore_devices_are_asked_for_another_fallback_key(
    served: Served, alice: Device
) -> None:
    await upload_fallback(alice, "f")
    await restore(served)
    unused = served.database.read(
        lambda view: deposits.unused_fallback_types(view, ALICE, PHONE, served.clock.now_ms())
    )
    assert unused == []
    wanted = {"one_time_keys": {ALICE: {"PHONE": "signed_curve25519"}}}
    assert (await alice.post("/keys/claim", wanted))["one_time_keys"] == {}
    await upload_fallback(alice, "g")
    given = (await alice.post("/keys/claim", wanted))["one_time_keys"][ALICE]["PHONE"]
    assert given == keys.one_time_keys("g", fallback=True)


async def test_after_a_restore_no_one_time_key_is_handed_out_again(
    served: Served, alice: Device
) -> None:
    await keys.connect(served)
    await upload_five(alice)
    stock = {"TAB": keys.one_time_keys("a", user_id=BOB)}
    await take_in(served, one_time_keys=stock)
    await restore(served)
    assert counts(served) == {"signed_curve25519": 0}
    assert queued(served)[-1] == ("deposit_renew", {"round": "round"})
    # Bob's server does not know yet: what it deposits now may have been handed out before.
    await take_in(served, one_time_keys={"TAB": keys.one_time_keys("b", user_id=BOB)})
    assert (await claim(alice))["one_time_keys"] == {}
    body = keys.deposit_of_bob(one_time_keys={"TAB": keys.one_time_keys("c", user_id=BOB)})
    await served.database.write(
        lambda work: peer_deposits.take_in_deposit(work, BOBS, body | {"round": "round"}, 1)
    )
    await heard(served, BOBS)
    assert list((await claim(alice))["one_time_keys"][BOB]["TAB"]) == ["signed_curve25519:c"]


@pytest.mark.usefixtures("three_each")
async def test_a_peer_that_lost_its_memory_gets_other_keys(served: Served, alice: Device) -> None:
    await keys.connect(served)
    await upload_five(alice)
    before = queued(served)[-1][1]
    await served.database.write(lambda work: deposits.take_in_renewal(work, BOBS, "again", 1))
    after = queued(served)[-1][1]
    assert (before["round"], after["round"]) == (None, "again")
    held = [set(one["users"][ALICE]["one_time_keys"]["PHONE"]) for one in (before, after)]
    assert [len(one) for one in held] == [3, 2]
    assert not held[0] & held[1]
    # The keys it had do not come back with a repeated upload.
    await upload_five(alice)
    assert counts(served) == {"signed_curve25519": 0}


async def test_a_peer_that_took_its_share_loses_its_memory_and_gets_none_to_keep(
    served: Served, alice: Device
) -> None:
    await keys.connect(served)
    names = [str(number) for number in range(125)]
    await alice.post(
        "/keys/upload",
        {"device_keys": keys.device_keys("PHONE"), "one_time_keys": keys.one_time_keys(*names)},
    )
    now, wanted = served.clock.now_ms(), {ALICE: {PHONE: "signed_curve25519"}}

    async def take(at_ms: int) -> JsonObject:
        return await served.database.write(
            lambda work: device_keys.answer_claim(work, wanted, BOBS, at_ms)
        )

    async def held_after_renewal(at_ms: int) -> set[str]:
        await served.database.write(
            lambda work: deposits.take_in_renewal(work, BOBS, f"round {at_ms}", at_ms)
        )
        return set(queued(served)[-1][1]["users"][ALICE]["one_time_keys"].get("PHONE", {}))

    before = set(queued(served)[-1][1]["users"][ALICE]["one_time_keys"]["PHONE"])
    for _ in range(100):
        await take(now)
    assert await held_after_renewal(now) == set()
    tomorrow = now + deposits.DAY_MS + 1
    assert await take(tomorrow) != {}
    after = await held_after_renewal(tomorrow)
    assert len(after) == len(before) == 10
    assert not after & before


async def test_a_start_leaves_nothing_with_a_peer_that_has_it_already(
    served: Served, alice: Device
) -> None:
    async def left_at_a_start() -> int:
        """How many deposits wait after it; the peer takes them."""
        await served.database.write(lambda work: deposits.queue_if_changed(work, BOBS))
        waiting = served.database.read(
            lambda view: frames.waiting_items(view, BOBS, frames.CONTROL, 100)
        )
        numbers = [item.number for item in waiting]
        await served.database.write(lambda work: frames.settle_items(work, numbers))
        return len(waiting)

    await keys.connect(served)
    await upload_five(alice)
    assert await left_at_a_start() == 1
    assert await left_at_a_start() == 0
    await served.database.write(lambda work: deposits.queue_for(work, BOBS))
    await served.database.write(lambda work: frames.prune_items(work, BOBS, frames.CONTROL, most=0))
    assert await left_at_a_start() == 1  # the one before fell out of the outbox
    assert await left_at_a_start() == 0
