"""What each word of a scenario's story does in a world."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from homeserver.testing.crashing import CrashAt
from homeserver.testing.person import Acknowledged
from homeserver.testing.scenario_expectations import Expectations, Wrong
from homeserver.testing.scenario_parts import NetworkFaults
from homeserver.testing.scenario_steps import Step
from homeserver.testing.watched_database import digest_of
from homeserver.testing.world import World

_TRIES_TO_JOIN = 5
_FAULTS = {"latency": "latency_s", "jitter": "jitter_s", "cut": "is_cut"}
_TO_SOMEBODY = frozenset({"invite", "kick", "ban", "unban"})
_TO_A_PEER = frozenset({"pause", "resume", "block", "unblock"})
_TO_A_SERVER = frozenset({"stop", "start", "restart", "move"})


@dataclass(slots=True)
class Deeds(Expectations):
    """Performs steps, and remembers what later steps refer to."""

    world: World
    copies: dict[str, tuple[Path, Acknowledged]] = field(default_factory=dict)
    backups: dict[str, tuple[Path, Acknowledged]] = field(default_factory=dict)
    plans: dict[int, CrashAt] = field(default_factory=dict)  # of crashes, by the step's identity

    async def perform(self, step: Step) -> None:
        """Let it happen, or look whether it is so."""
        content = step.content
        if step.word == "crash_at":
            await self._crash_at(step)
        elif step.word in _TO_SOMEBODY:
            await self._moderate(step.word, content)
        elif step.word in _TO_A_PEER:
            await getattr(self.person(content.who), step.word)(self.person(content.peer))
        elif step.word in _TO_A_SERVER:
            await getattr(self.person(content).server, step.word)()
        elif hasattr(self, f"_{step.word}"):
            await getattr(self, f"_{step.word}")(content)
        else:
            await self.look(step.word, content)

    async def _say(self, said: Any) -> None:
        for number in range(1, said.times + 1):
            text = said.text if said.times == 1 else f"{said.text} {number}"
            await self.person(said.who).say(self.rooms[said.room], text)

    async def _types(self, typist: Any) -> None:
        await self.person(typist.who).type_in(self.rooms[typist.room])

    async def _reads(self, reader: Any) -> None:
        await self.person(reader.who).read_all(self.rooms[reader.room])

    async def _sends_file(self, sent: Any) -> None:
        await self.person(sent.who).send_file(self.rooms[sent.room], sent.size)

    async def _opens_file(self, opened: Any) -> None:
        await self.person(opened.who).open_newest_file(self.rooms[opened.room])

    async def _join(self, entrance: Any) -> None:
        await self.person(entrance.who).join(self.rooms[entrance.room], _TRIES_TO_JOIN)

    async def _leave(self, entrance: Any) -> None:
        await self.person(entrance.who).leave_room(self.rooms[entrance.room])

    async def _moderate(self, verb: str, about: Any) -> None:
        whom = self.person(about.whom)
        await self.person(about.who).moderate(verb, self.rooms[about.room], whom)

    async def _set(self, state: Any) -> None:
        room_id = self.rooms[state.room]
        content = self._with_user_ids(state.content)
        await self.person(state.who).set_state(room_id, state.type, state.key, content)

    def _with_user_ids(self, value: Any) -> Any:
        """`@alice` stands for Alice's user ID, also as a key."""
        if isinstance(value, dict):
            return {
                self._with_user_ids(key): self._with_user_ids(one) for key, one in value.items()
            }
        if isinstance(value, str) and value[:1] == "@" and value[1:] in self.people:
            return self.people[value[1:]].user_id
        return value

    async def _connect(self, pair: tuple[str, str]) -> None:
        inviter, invitee = (self.person(name) for name in pair)
        await invitee.open_link(await inviter.invitation())

    async def _revoke(self, ending: Any) -> None:
        choice = {"rooms": ending.rooms_, "goodbye": ending.goodbye, "erase": ending.erase}
        await self.person(ending.who).revoke(self.person(ending.peer), **choice)

    async def _grant(self, grant: Any) -> None:
        await self.person(grant.who).grant(self.person(grant.to), **grant.change)

    async def _crash(self, name: str) -> None:
        await self.person(name).server.crash_now()

    async def _crash_at(self, step: Step) -> None:
        crash = step.content
        server = self.person(crash.who).server
        self.plans[id(step)] = plan = server.crash_at = CrashAt(crash.point)
        if crash.step is None:
            return
        try:
            await self.perform(crash.step)
            await server.gone()
        except aiohttp.ClientError:
            if server.is_running:
                raise
        if plan.where is None:
            raise Wrong(f"{crash.who} did not come to “{crash.point}”")

    async def _copy(self, name: str) -> None:
        person = self.person(name)
        directory = self.world.directory / f"{name}-{len(self.copies)}.copy"
        person.server.copy_to(directory)
        self.copies[name] = directory, person.what_was_acknowledged()

    async def _go_back(self, name: str) -> None:
        if name not in self.copies:
            raise Wrong("there is no copy to go back to: `copy` makes one")
        person = self.person(name)
        directory, acknowledged = self.copies[name]
        await person.server.crash_now()
        person.server.replace_by(directory)
        await person.server.start()
        person.go_back_to(acknowledged)

    async def _backup(self, name: str) -> None:
        person = self.person(name)
        file = self.world.directory / f"{name}-{len(self.backups)}.backup"
        person.server.back_up(file)
        self.backups[name] = file, person.what_was_acknowledged()

    async def _restore(self, name: str) -> None:
        if name not in self.backups:
            raise Wrong("there is no backup to restore: `backup` makes one")
        person = self.person(name)
        file, acknowledged = self.backups[name]
        await person.server.crash_now()
        await person.server.put_back(file)
        await person.server.start()
        person.go_back_to(acknowledged)

    async def _disk(self, disk: Any) -> None:
        chosen = self.person(disk.who).server.disk
        chosen.is_full, chosen.seconds_per_write = disk.full, disk.seconds_per_write

    async def _clock(self, skew: Any) -> None:
        self.person(skew.who).server.clock.skew_s = -skew.by if skew.is_slow else skew.by

    async def _faults(self, faults: Any) -> None:
        chosen = faults_of(faults)
        if faults.one_way:
            self.world.network.one_way(*faults.one_way, **chosen)
        elif faults.between:
            self.world.network.between(*faults.between, **chosen)
        else:
            self.world.network.everywhere(**chosen)

    async def _nat(self, nat: Any) -> None:
        self.world.network.put_behind_nat(nat.who, is_behind=nat.behind)

    async def _partition(self, groups: list[list[str]]) -> None:
        self.world.partition(*([self.person(name) for name in group] for group in groups))

    async def _replay(self, _nothing: Any) -> None:
        """Everything that ever passed comes again; nobody may keep anything of it."""
        await self.world.settle()
        servers = [server for server in self.world.servers if server.is_running]
        files = [str(server.directory / "homeserver.db") for server in servers]
        before = [digest_of(file) for file in files]
        for recorded in tuple(self.world.network.recorded):
            await self.world.network.replay(recorded)
        await self.world.settle()
        pairs = zip(servers, before, [digest_of(file) for file in files], strict=True)
        moved = [server.name for server, then, now in pairs if then != now]
        if moved:
            raise Wrong(f"what came a second time changed something at {', '.join(moved)}")

    async def _wait(self, seconds: float) -> None:
        await self.world.pass_time(seconds)

    async def _settle(self, _nothing: Any) -> None:
        await self.world.settle()

    async def _heal(self, _nothing: Any) -> None:
        self.world.network.heal()

    async def _check(self, _nothing: Any) -> None:
        await self.world.check_healed()

    async def look_for_boxes(self, expected: Any) -> None:
        """So many boxes that had this fate, on all links together."""
        found = sum(one.fate == expected.fate for one in self.world.network.passages)
        if found < expected.at_least:
            raise Wrong(f"expected at least {expected.at_least} {expected.fate}, found {found}")
        if expected.at_most is not None and found > expected.at_most:
            raise Wrong(f"expected at most {expected.at_most} {expected.fate}, found {found}")


def faults_of(step: NetworkFaults) -> dict[str, Any]:
    """What a step sets, by the names that the network has for it."""
    given = step.model_dump(exclude_none=True, exclude={"between", "one_way"})
    return {_FAULTS.get(name, name): value for name, value in given.items()}
