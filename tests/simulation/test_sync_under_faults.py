"""Whoever syncs always, whoever does now and then, and whoever reads pages see the same.

`make simulate` does it with 10,000 actions; the short form does the same with few.
"""

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from homeserver.sync import timelines
from homeserver.sync.timelines import Slice, Span
from homeserver.testing.person import Person, SeenTwice
from homeserver.testing.simulated import simulated
from homeserver.testing.world import HOUR, World
from tests.simulation import watching
from tests.simulation.sync_story import SyncStory
from tests.simulation.watching import Accepted, Classic, Sliding, Watcher

_FEW_ACTIONS = 250
_MANY_ACTIONS = 10_000


@simulated
async def test_everybody_sees_the_same_events_in_the_same_order(
    world: World, seed: int, pytestconfig: pytest.Config
) -> None:
    is_thorough = pytestconfig.getoption("--seeds") and seed == 1
    world.patience_s = 100 * HOUR
    people = await world.befriended("alice", "bob")
    levels = {one.user_id: 50 for one in people[1:]}
    room = partial(world.room, *people, power_level_content_override={"users": levels})
    story = SyncStory(world, people, [await room() for _ in range(3)], seed)
    async with AsyncExitStack() as devices:
        await story.begin(devices)
        for number in range(_MANY_ACTIONS if is_thorough else _FEW_ACTIONS):
            await story.act(number)
        assert await story.compare() > _FEW_ACTIONS
    assert story.done >= {"kick", "invite"}
    assert story.done == {"leave", "kick", "invite", "join"} or not is_thorough
    assert all(story.poked.values())


@simulated
async def test_history_before_joining_is_read_on_from_where_the_first_sync_begins(
    world: World,
) -> None:
    alice, bob = await world.befriended("alice", "bob")
    room_id = await alice.create_room(preset="public_chat", invite=[bob.user_id])
    for number in range(4):
        await alice.say(room_id, str(number))
    await world.settle()
    await bob.join(room_id)
    async with Classic(bob) as watcher:
        await watcher.look()
        assert watcher.seen[room_id] == await watching.told_by_pages(alice, room_id)


Damage = Callable[[Callable[[Span], Slice], Span], Slice]


def as_it_is(load: Callable[[Span], Slice], span: Span) -> Slice:
    return load(span)


def repeats(load: Callable[[Span], Slice], span: Span) -> Slice:
    return load(replace(span, after=max(0, span.after - 2)))


def skips(load: Callable[[Span], Slice], span: Span) -> Slice:
    part = load(span)
    return replace(part, events=part.events[1:])


def swaps(load: Callable[[Span], Slice], span: Span) -> Slice:
    part = load(span)
    return replace(part, events=part.events[::-1])


async def talk_and_look(alice: Person, watcher: Watcher, damage: Damage) -> None:
    """Two words at a time, so that nothing is left out; then compare."""
    room_id = await alice.create_room()
    await watcher.look_at_all()
    load = timelines.load_slice

    def damaged(view: Any, user_id: Any, span: Span, *rest: Any) -> Slice:
        return damage(lambda one: load(view, user_id, one, *rest), span)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timelines, "load_slice", damaged)
        for number in range(4):
            await alice.say(room_id, f"{number} first")
            await alice.say(room_id, f"{number} second")
            await watcher.look()
    assert watcher.seen[room_id] == await watching.told_by_pages(alice, room_id)


WATCHERS = pytest.mark.parametrize("kind", [Classic, Sliding, Accepted])


@WATCHERS
@simulated
async def test_a_watcher_sees_nothing_where_nothing_is_wrong(
    world: World, kind: Callable[[Person], Watcher]
) -> None:
    alice = await world.person("alice")
    async with kind(alice) as watcher:
        await talk_and_look(alice, watcher, as_it_is)


@WATCHERS
@pytest.mark.parametrize(
    ("damage", "noticed"),
    [(repeats, SeenTwice), (skips, AssertionError), (swaps, AssertionError)],
)
@simulated
async def test_a_watcher_notices_a_server_that(
    world: World,
    kind: Callable[[Person], Watcher],
    damage: Damage,
    noticed: type[AssertionError],
) -> None:
    alice = await world.person("alice")
    async with kind(alice) as watcher:
        with pytest.raises(noticed):
            await talk_and_look(alice, watcher, damage)
