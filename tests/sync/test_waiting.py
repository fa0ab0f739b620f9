import asyncio
from typing import Any

import pytest

from homeserver import errors
from homeserver.sync import notifier
from tests.sync.alice import ALICE, Alice, bodies, settle


def start(alice: Alice, since: str, timeout_ms: int = 30_000) -> "asyncio.Task[Any]":
    return asyncio.create_task(alice.sync(since, timeout_ms=timeout_ms))


async def test_a_sync_waits_for_news(alice: Alice) -> None:
    room_id = await alice.create()
    since = (await alice.sync())["next_batch"]
    waiting = start(alice, since)
    await settle()
    assert not waiting.done()

    await alice.say(room_id, "news")

    answer = await waiting
    assert bodies(answer["rooms"]["join"][room_id]) == ["news"]


async def test_typing_wakes_a_sync(alice: Alice) -> None:
    room_id = await alice.create()
    waiting = start(alice, (await alice.sync())["next_batch"])
    await settle()
    alice.typing.set_typing(alice.requester, room_id, ALICE, 5_000)
    assert "ephemeral" in (await waiting)["rooms"]["join"][room_id]


async def test_what_does_not_concern_the_device_lets_it_wait(alice: Alice) -> None:
    room_id = await alice.create()
    await alice.member(room_id, ALICE, "leave")
    waiting = start(alice, (await alice.sync())["next_batch"])
    await settle()
    alice.notifier.wake()
    await settle()
    assert not waiting.done()
    await alice.clock.advance(31)
    assert "rooms" not in await waiting


async def test_a_sync_without_news_ends_in_time(alice: Alice) -> None:
    waiting = start(alice, (await alice.sync())["next_batch"], 5_000)
    await alice.clock.advance(4)
    assert not waiting.done()
    await alice.clock.advance(2)
    assert (await waiting).keys() == {
        "next_batch",
        "device_one_time_keys_count",
        "device_unused_fallback_key_types",
    }


async def test_a_client_that_goes_away_leaves_nothing(alice: Alice) -> None:
    waiting = start(alice, (await alice.sync())["next_batch"])
    await settle()
    assert len(alice.notifier._waiters) == 1
    before = len(asyncio.all_tasks())
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await settle()
    assert len(alice.notifier._waiters) == 0
    assert len(asyncio.all_tasks()) == before - 3  # the sync and what it waited for


async def test_too_many_waiting_syncs_end_the_oldest(
    alice: Alice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifier, "_WAITING_AT_ONCE", 2)
    since = (await alice.sync())["next_batch"]
    waiting = []
    for _ in range(3):
        waiting.append(start(alice, since))
        await settle()
    assert [one.done() for one in waiting] == [True, False, False]
    for one in waiting[1:]:
        one.cancel()


async def test_an_initial_sync_does_not_wait(alice: Alice) -> None:
    assert "next_batch" in await alice.sync(timeout_ms=30_000)


async def test_a_token_of_another_run_is_fine(alice: Alice) -> None:
    room_id = await alice.create()
    position = alice.database.position
    await alice.say(room_id, "news")
    for token in (
        f"s{position}",
        f"s{position}_7_abcd",
        f"s{position}_0_{alice.board.run}_{position}",
    ):
        answer = await alice.sync(token)
        assert bodies(answer["rooms"]["join"][room_id]) == ["news"]


@pytest.mark.parametrize("token", ["", "t1_2", "s", "s-1", "s1_x", "s" + "9" * 30, "s1\n"])
async def test_what_is_no_token_is_refused(alice: Alice, token: str) -> None:
    if token:
        with pytest.raises(errors.InvalidParam):
            await alice.sync(token)
    else:
        assert "next_batch" in await alice.sync(token)


async def test_a_saved_filter_is_used(alice: Alice) -> None:
    from homeserver.storage import accounts

    await alice.create()
    await alice.database.write(
        lambda work: accounts.save_filter(work, ALICE, "F1", b'{"room":{"rooms":[]}}')
    )
    assert "rooms" not in await alice.sync(filter="F1")
    with pytest.raises(errors.InvalidParam):
        await alice.sync(filter="F2")
    with pytest.raises(errors.InvalidParam):
        await alice.sync(filter="{broken")
