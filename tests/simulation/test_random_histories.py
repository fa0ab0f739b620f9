"""Random histories by several servers, under faults, end in one state at all of them.

The servers hand events to each other without a network, so a history costs milliseconds: events
are lost, late, doubled, in any order, and whole servers are cut off for a while.
"""

import random
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from homeserver import errors
from homeserver.matrix.identifiers import EventId, RoomId
from homeserver.rooms.appending import Origin
from homeserver.rooms.state import MissingEvents
from homeserver.rooms.tying import Tying
from homeserver.storage import rooms
from homeserver.storage.database import Database
from homeserver.storage.events import StoredEvent
from homeserver.storage.unit_of_work import View
from homeserver.storage.wake_ups import WakeUps
from tests.rooms.servers import Server, running

VERSIONS = ("10", "11", "12")
NAMES = ("alice", "bob", "carol")
STEPS = 12
A_FEW, MANY = 25, 200


@pytest.fixture
def how_many(pytestconfig: pytest.Config) -> int:
    """How many histories a seed stands for: more where thoroughness was asked for."""
    return MANY if pytestconfig.getoption("--seeds") else A_FEW


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that holds nothing, to be copied."""
    path = tmp_path_factory.mktemp("empty") / "empty.db"
    Database(f"sqlite:///{path}", WakeUps(), inline=True).close()
    return path


@pytest.mark.seeds(4)
async def test_random_histories_end_alike(
    seed: int, how_many: int, empty: Path, tmp_path: Path
) -> None:
    for number in range(how_many):
        chance = random.Random(f"{seed}/{number}")
        directory = tmp_path / str(number)
        directory.mkdir()
        for name in NAMES:
            shutil.copy(empty, directory / f"{name}.db")
        async with running(directory, *NAMES) as servers:
            version = VERSIONS[number % len(VERSIONS)]
            await History(servers, chance).play(version, f"seed {seed}, history {number}")
        shutil.rmtree(directory)


class History:
    """One room of all servers, and what has not arrived yet."""

    def __init__(self, servers: Sequence[Server], chance: random.Random) -> None:
        self.servers = list(servers)
        self.chance = chance
        self.room_id = RoomId("")

    async def play(self, version: str, name: str) -> None:
        await self._begin(version)
        for _ in range(STEPS):
            await self._act(self.chance.choice(self.servers))
            if self.chance.random() < 0.4:
                await self._deliver(self.chance.random())
        await self._deliver(1.0)
        for _ in range(4):  # nobody speaks; whose turn it is joins what differs
            for server in self.servers:
                if await self._tie(server):
                    await self._deliver(1.0)
        # Who was banned hears nothing of what follows.
        inside = [one for one in self.servers if one.member(self.room_id, one.user) == "join"]
        for server in inside[1:]:
            ours, theirs = server.current(self.room_id), inside[0].current(self.room_id)
            differing = {key for key in ours | theirs if ours.get(key) != theirs.get(key)}
            assert not differing, f"{name}: {server.name} and {inside[0].name} about {differing}"
            assert set(self._members(server)) == set(self._members(inside[0])), name

    async def _begin(self, version: str) -> None:
        alice, *others = self.servers
        users = {other.user: level for other, level in zip(others, (90, 60), strict=True)}
        if version != "12":
            users[alice.user] = 100
        levels = {"users": users, "events": {"m.room.power_levels": 50}}
        invited = [other.user for other in others]
        self.room_id = await alice.create(version, invite=invited, power_level_override=levels)
        for other in others:
            await other.take_in_items(alice)
            await other.membership.join(other.requester, self.room_id, [], {})
            await self._deliver(1.0)

    async def _act(self, server: Server) -> None:
        """Do something, or be refused because of what came before."""
        number = self.chance.randrange(100)
        doing = self.chance.choice(("say", "topic", "name", "power", "ban", "rules", "profile"))
        try:
            await self._do(server, doing, number)
        except (errors.Forbidden, errors.NotInRoom):
            return

    async def _do(self, server: Server, doing: str, number: int) -> None:
        room_id, other = self.room_id, self.chance.choice(self.servers)
        if doing == "say":
            await server.say(room_id, str(number))
        elif doing in ("topic", "name"):
            await server.set_state(room_id, f"m.room.{doing}", **{doing: f"{number}"})
        elif doing == "power":
            await self._set_power(server, other, number)
        elif doing == "ban":
            await server.membership.ban(server.requester, room_id, other.user, {})
        elif doing == "rules":
            rule = "public" if number % 2 else "invite"
            await server.set_state(room_id, "m.room.join_rules", join_rule=rule)
        else:
            await server.sender.update_member_profile(server.user, f"name {number}", None)

    async def _set_power(self, server: Server, other: Server, number: int) -> None:
        entry = server.state.entry(server.requester, self.room_id, "m.room.power_levels", "")
        content = entry["content"]
        users = content["users"] | {other.user: (0, 40, 60, 90)[number % 4]}
        await server.set_state(self.room_id, "m.room.power_levels", **content | {"users": users})

    async def _deliver(self, share: float) -> None:
        """Hand over some of what each has made, in any order, some of it twice."""
        if share == 1.0:
            await self._hand_over_rest()
            return
        pairs = [(one, other) for one in self.servers for other in self.servers if one != other]
        self.chance.shuffle(pairs)
        for giver, taker in pairs:
            if self.chance.random() < 0.3:
                continue  # cut off from each other for now
            waiting = giver.own_events(self.room_id, taker.name)
            waiting = [one for one in waiting if self.chance.random() < share]
            self.chance.shuffle(waiting)
            await self._hand_over(giver, taker, waiting)

    async def _hand_over(
        self, giver: Server, taker: Server, waiting: Sequence[StoredEvent]
    ) -> list[StoredEvent]:
        """What lacks its past is left, to be handed over again."""
        left = list(waiting)
        for _ in range(len(left) + 1):
            remaining = [one for one in left if not await _arrives(giver, taker, one)]
            if len(remaining) == len(left):
                break
            left = remaining
        return left

    async def _hand_over_rest(self) -> None:
        """Everything, with what it rests on: a server asks for what it lacks."""
        for giver in self.servers:
            for taker in self.servers:
                if giver is not taker:
                    for stored in giver.own_events(self.room_id, taker.name):
                        await self._hand_over_with_past(giver, taker, stored.event.event_id)

    async def _hand_over_with_past(self, giver: Server, taker: Server, event_id: EventId) -> None:
        stack = [event_id]
        while stack:
            assert len(stack) < 1_000, "events rest on each other in a circle"
            try:
                await taker.hear(giver, stack[-1])
            except MissingEvents as missing:
                stack += missing.event_ids
            else:
                stack.pop()

    async def _tie(self, server: Server) -> bool:
        tying = Tying(server.database, server.local, server.clock)
        await tying.tie_due()
        before = server.database.position
        await server.clock.sleep(2_000)
        await tying.tie_due()
        return server.database.position > before

    def _members(self, server: Server) -> Iterator[tuple[str, str, str | None]]:
        anything = frozenset({"join", "invite", "leave", "ban", "knock"})

        def find(view: View) -> list[rooms.Membership]:
            return rooms.members_of(view, self.room_id, anything)

        for one in server.database.read(find):
            yield one.user_id, one.membership, one.display_name


async def _arrives(giver: Server, taker: Server, stored: StoredEvent) -> bool:
    try:
        await taker.append(stored.event, Origin(giver.name))
    except MissingEvents:
        return False
    return True
