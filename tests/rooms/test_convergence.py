"""Whatever two servers do at the same time, and in whatever order they hear of it, they agree."""

import asyncio
import random
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homeserver import errors
from homeserver.matrix.identifiers import RoomId
from homeserver.rooms.appending import Origin
from homeserver.rooms.state import MissingEvents
from homeserver.storage import rooms
from homeserver.storage.events import StoredEvent
from tests.rooms.servers import Server, running

ACTIONS = ("say", "topic", "name", "promote", "demote", "ban", "rules", "profile", "redact")
STEPS = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from(ACTIONS), st.integers(0, 9)), max_size=14
)


async def act(server: Server, other: Server, room_id: RoomId, action: str, number: int) -> None:
    """Do something, or be refused because of what came before."""
    try:
        await _act(server, other, room_id, action, number)
    except errors.Forbidden:
        return


async def _act(server: Server, other: Server, room_id: RoomId, action: str, number: int) -> None:
    if action == "say":
        await server.say(room_id, str(number))
    elif action in ("topic", "name"):
        await server.set_state(room_id, f"m.room.{action}", **{action: f"{server.name} {number}"})
    elif action in ("promote", "demote"):
        levels = server.state.entry(server.requester, room_id, "m.room.power_levels", "")
        users = levels["content"]["users"] | {other.user: 60 if action == "promote" else 10}
        content = levels["content"] | {"users": users}
        await server.set_state(room_id, "m.room.power_levels", **content)
    elif action == "ban":
        await server.membership.ban(server.requester, room_id, "@eve:eve.test", {})  # type: ignore[arg-type]
    elif action == "rules":
        rule = "public" if number % 2 else "invite"
        await server.set_state(room_id, "m.room.join_rules", join_rule=rule)
    elif action == "profile":
        await server.sender.update_member_profile(server.user, f"name {number}", None)
    elif action == "redact":
        target = sorted(server.current(room_id).values())[number % 3]
        await server.sender.redact(server.requester, room_id, target, f"r{server.clock.now}", {})


async def exchange(one: Server, other: Server, room_id: RoomId, chance: random.Random) -> None:
    """Hand over everything in any order; what comes too early is tried again later."""
    for giver, taker in ((one, other), (other, one)):
        waiting = giver.own_events(room_id, taker.name)
        while waiting:
            chance.shuffle(waiting)
            waiting = [stored for stored in waiting if not await hand(giver, taker, stored)]


async def hand(giver: Server, taker: Server, stored: StoredEvent) -> bool:
    try:
        await taker.append(stored.event, Origin(giver.name))
    except MissingEvents:
        return False
    return True


async def story(path: Path, version: str, steps: list[tuple[int, str, int]], seed: int) -> None:
    async with running(path, "alice", "bob") as (alice, bob):
        both = (alice, bob)
        room_id = await alice.create(
            version,
            invite=[bob.user],
            power_level_override={"users": {alice.user: 100, bob.user: 90}}
            if version != "12"
            else {"users": {bob.user: 90}},
        )
        await bob.take_in_items(alice)
        await bob.membership.join(bob.requester, room_id, [], {})
        for who, action, number in steps:
            await act(both[who], both[1 - who], room_id, action, number)
        chance = random.Random(seed)
        await exchange(alice, bob, room_id, chance)
        for server in both:
            await server.say(room_id, "done")
        await exchange(alice, bob, room_id, chance)

        assert alice.current(room_id) == bob.current(room_id)
        assert members(alice, room_id) == members(bob, room_id)


def members(server: Server, room_id: RoomId) -> set[tuple[str, str, str | None]]:
    anything = frozenset({"join", "invite", "leave", "ban", "knock"})
    found = server.database.read(lambda view: rooms.members_of(view, room_id, anything))
    return {(one.user_id, one.membership, one.display_name) for one in found}


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(version=st.sampled_from(("10", "11", "12")), steps=STEPS, seed=st.integers(0, 1000))
def test_two_servers_agree_after_any_concurrent_history(
    version: str, steps: list[tuple[int, str, int]], seed: int
) -> None:
    with tempfile.TemporaryDirectory() as path:
        asyncio.run(story(Path(path), version, steps, seed))
