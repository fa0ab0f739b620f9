"""What one new event costs does not grow with the number of rooms."""

from collections.abc import Awaitable, Callable

import pytest

from homeserver.storage.unit_of_work import View
from homeserver.sync.sliding.room_index import RankedList
from tests.sync.alice import Alice
from tests.sync.sliding import Slider, windowed


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the database is asked, and which rooms' places in lists are looked up."""
    asked: list[str] = []

    def count(where: type, name: str) -> None:
        real = getattr(where, name)

        def counting(*arguments: object) -> object:
            asked.append(name)
            return real(*arguments)

        monkeypatch.setattr(where, name, counting)

    for name in ("all", "one_or_none", "scalar"):
        count(View, name)
    count(RankedList, "rank")
    return asked


async def _cost(
    alice: Alice, questions: list[str], look: Callable[[], Awaitable[object]]
) -> list[int]:
    """How much is asked for one event with few rooms, and with many."""
    room_id = await alice.create()
    costs = []
    for more in (5, 40):
        for _ in range(more):
            await alice.create()
        for _ in range(3):
            await alice.say(room_id, "warm")
            await look()
        await alice.say(room_id, "news")
        questions.clear()
        await look()
        costs.append(len(questions))
    return costs


async def test_classic_sync(alice: Alice, questions: list[str]) -> None:
    since = (await alice.sync())["next_batch"]

    async def look() -> None:
        nonlocal since
        since = (await alice.sync(since))["next_batch"]

    few, many = await _cost(alice, questions, look)
    assert many <= few


@pytest.mark.parametrize("last", [3, 99])
async def test_sliding_sync(alice: Alice, questions: list[str], last: int) -> None:
    slider = Slider(alice)
    enabled = {name: {"enabled": True} for name in ("account_data", "receipts", "typing", "e2ee")}

    async def look() -> None:
        await slider.slide(windowed([0, last]), extensions=enabled)

    few, many = await _cost(alice, questions, look)
    assert many <= few
