"""For hypothesis: room histories, handshakes and schedules of faults, and how to play them."""

from dataclasses import asdict, dataclass
from typing import Any

from hypothesis import strategies as st

from homeserver.crash_points import HANDSHAKE, Point
from homeserver.testing.client import Refused
from homeserver.testing.crashing import CrashAt
from homeserver.testing.network import Faults
from homeserver.testing.person import Person
from homeserver.testing.world import HOUR, World

_CHANCES = st.sampled_from([0.0, 0.1, 0.3])
_PAUSES = st.sampled_from([0.0, 1.0, 60.0, HOUR])
_FORBIDDEN = 403


@dataclass(frozen=True, slots=True)
class Deed:
    """Something that somebody does in a room: people by their places in a list."""

    who: int
    what: str
    detail: int
    pause_s: float


@dataclass(frozen=True, slots=True)
class Fault:
    """One direction between two becomes like this, and a while passes."""

    source: int
    target: int
    suffered: Faults
    pause_s: float


@dataclass(frozen=True, slots=True)
class Meeting:
    """A handshake: what its line suffers, where somebody loses power, how long until help comes."""

    suffered: Faults
    crash: Point | None
    is_inviter: bool
    pause_s: float


def faults() -> st.SearchStrategy[Faults]:
    """What a link may suffer."""
    return st.builds(
        Faults,
        jitter_s=st.sampled_from([0.0, 1.0, 20.0]),
        loss=_CHANCES,
        duplication=_CHANCES,
        reordering=_CHANCES,
        corruption=_CHANCES,
    )


def room_histories(people: int, most: int = 12) -> st.SearchStrategy[list[Deed]]:
    """What so many people do in one room, one after the other."""
    whats = st.sampled_from(["say", "topic", "name", "join_rules", "new face"])
    deed = st.builds(Deed, st.integers(0, people - 1), whats, st.integers(0, 3), _PAUSES)
    return st.lists(deed, min_size=1, max_size=most)


def fault_schedules(people: int, most: int = 6) -> st.SearchStrategy[list[Fault]]:
    """What becomes of the links between so many people."""
    place = st.integers(0, people - 1)
    return st.lists(st.builds(Fault, place, place, faults(), _PAUSES), max_size=most)


def handshakes() -> st.SearchStrategy[Meeting]:
    """How two people may meet."""
    crash = st.none() | st.sampled_from(HANDSHAKE)
    return st.builds(Meeting, faults(), crash, st.booleans(), _PAUSES)


async def live(world: World, people: list[Person], room_id: str, history: list[Deed]) -> None:
    """Do everything in turn. What the room forbids by then has not happened."""
    for deed in history:
        try:
            await _do(people[deed.who], room_id, deed)
        except Refused as refused:
            if refused.status != _FORBIDDEN:
                raise
        await world.pass_time(deed.pause_s)


async def suffer(world: World, people: list[Person], schedule: list[Fault]) -> None:
    """Let every fault of a schedule happen in turn."""
    for fault in schedule:
        source, target = people[fault.source].name, people[fault.target].name
        world.network.one_way(source, target, **asdict(fault.suffered))
        await world.pass_time(fault.pause_s)


async def meet(world: World, inviter: Person, invitee: Person, meeting: Meeting) -> None:
    """Shake hands under these conditions; afterwards everything is whole, and time has passed."""
    world.network.between(inviter.name, invitee.name, **asdict(meeting.suffered))
    link = await inviter.invitation()
    victim = (inviter if meeting.is_inviter else invitee).server
    if meeting.crash is not None and meeting.crash not in _OWNERS_OWN:
        victim.crash_at = CrashAt(meeting.crash)
    await invitee.open_link(link)
    await world.pass_time(meeting.pause_s)
    victim.crash_at = lambda _where: False
    world.network.heal()
    if not victim.is_running:
        await victim.start()
    await world.settle()


# Where the owner's own request would fail, and the owner would simply try again.
_OWNERS_OWN = (Point.INVITATION_KEPT, Point.REQUEST_KEPT)


async def _do(person: Person, room_id: str, deed: Deed) -> None:
    contents: dict[str, dict[str, Any]] = {
        "topic": {"topic": f"{deed.detail}"},
        "name": {"name": f"{deed.detail}"},
        "join_rules": {"join_rule": "public" if deed.detail % 2 else "invite"},
    }
    if deed.what == "say":
        await person.say(room_id, f"{person.name}: {deed.detail}")
    elif deed.what in contents:
        await person.set_state(room_id, f"m.room.{deed.what}", "", contents[deed.what])
    elif await person.membership(room_id) == "join":
        await person.set_state(
            room_id, "m.room.member", person.user_id, {"membership": "join", "n": deed.detail}
        )
