"""What must hold after every step of a simulation, as far as the owners' clients can see it."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp

from federation.consent import TABLE, Standing, Step
from homeserver.testing import census, unwanted
from homeserver.testing.client import Refused
from homeserver.testing.person import Event, Person
from homeserver.testing.wire_watch import WireWatch

_ENDED = ("revoked", "blocked")
_CONNECTED = ("active", "paused")
# Where each server stands with each other, by their names.
_Standings = dict[str, dict[str, str]]


class Broken(AssertionError):
    """A promise was broken; the message begins with the seed that shows it."""


class Parted(AssertionError):
    """Two servers hold different states of a room."""

    def __init__(self, room_id: str, words: str) -> None:
        super().__init__(words)
        self.room_id = room_id


@dataclass(frozen=True, slots=True)
class _Seen:
    """What somebody sees of a room, and where they stand with others."""

    person: Person
    room_id: str
    standings: dict[str, str]
    state: dict[tuple[str, str], str]
    events: list[Event]

    def knows(self, other: "_Seen") -> bool:
        """Whether the other is connected, as this one has it."""
        return self.standings.get(other.person.server.server_name) == "active"

    def event_of(self, key: tuple[str, str]) -> Event | None:
        """The event of a piece of state, if it is one of those that are shown."""
        event_id = self.state.get(key)
        return next((event for event in self.events if event["event_id"] == event_id), None)

    def hides(self, user_id: str) -> bool:
        """Whether a member of the room is shown as out of it, because he is cut off or unknown."""
        server = _server(user_id)
        is_own = server == self.person.server.server_name
        return not is_own and self.standings.get(server) not in _CONNECTED


async def check_always(people: Sequence[Person], longest: int | None = None) -> None:
    """What holds at any time, whatever the network and the servers suffer.

    The history of somebody who has said more than `longest` is left for another time.
    """
    for person in people:
        if not person.server.is_running:
            continue
        try:
            answer = await person.sync()  # raises SeenTwice
            trail, peers = await person.audit(), await person.peers()
            unwanted.check(person, answer, peers, len(trail))
            _check_standings(person, trail)
            await _check_tombstones(person, peers)
            if longest is None or sum(map(len, person.acknowledged.values())) <= longest:
                await _check_acknowledged(person)
        except aiohttp.ClientError:
            if person.server.is_running:
                raise  # else its power went just now, as the story wants it
        except Refused:
            if not person.server.disk.is_full:
                raise  # else there is no room to note even what was looked at


def check_wire(watch: WireWatch) -> None:
    """Nothing has left that a standing does not allow, and no key of a ratchet twice."""
    if watch.breaches:
        raise AssertionError("; ".join(watch.breaches[:3]))


async def check_healed(people: Sequence[Person]) -> None:
    """What holds for any two who are connected, once they can reach each other and have settled."""
    running = [person for person in people if person.server.is_running]
    standings = {person.server.server_name: await _standings(person) for person in running}
    inside: dict[str, list[Person]] = {}
    for person in running:
        for room_id in await person.joined_rooms():
            inside.setdefault(room_id, []).append(person)
    for room_id in sorted(inside):
        seen = [
            await _look(person, room_id, standings[person.server.server_name])
            for person in inside[room_id]
        ]
        _compare(room_id, seen, standings)


def _compare(room_id: str, seen: Sequence[_Seen], standings: _Standings) -> None:
    """The members of one room, as far as they are connected with each other."""
    for ours, theirs in itertools.combinations(seen, 2):
        if not (ours.knows(theirs) and theirs.knows(ours)):
            continue
        if not (_is_put_out(ours, theirs, standings) or _is_put_out(theirs, ours, standings)):
            _check_same(room_id, ours, theirs, standings)
            _check_told(ours, theirs)
            _check_told(theirs, ours)
    if all(ours.knows(theirs) for ours, theirs in itertools.permutations(seen, 2)):
        for one in seen:
            _check_whole(one)


def _check_standings(person: Person, trail: Sequence[Event]) -> None:
    """Standings only move along the table, each step from where the last one led."""
    reached: dict[str, str] = {}
    for entry in trail:
        if entry["step"] not in set(Step):
            if entry["standing_before"] != entry["standing"]:
                raise AssertionError(f"{person.name}: {entry['step']} moved a standing")
            continue  # grants were edited
        step = (Standing(entry["standing_before"]), Step(entry["step"]))
        outcome = TABLE.get(step)
        if outcome is None:
            raise AssertionError(f"{person.name}: {step} is not in the table")
        before = reached.get(entry["node_id"], "none")
        if before != entry["standing_before"]:
            raise AssertionError(f"{person.name}: from {before} to {entry['standing_before']}")
        reached[entry["node_id"]] = entry["standing"]


async def _check_tombstones(person: Person, peers: Sequence[Event]) -> None:
    """Of a peer that was revoked or blocked nothing is left but history, tombstone and trail."""
    kept = [(peer, beyond) for peer in peers if (beyond := _kept_of_ended(person, peer))]
    if kept:
        # Real servers go on meanwhile: one that is asked again is no tombstone any more.
        ended = {one["node_id"] for one in await person.peers() if one["standing"] in _ENDED}
        for peer, beyond in kept:
            if peer["node_id"] in ended:
                raise AssertionError(f"{person.name} keeps of a {peer['standing']} peer: {beyond}")


def _kept_of_ended(person: Person, peer: Event) -> str:
    """The tables that name a peer that was revoked or blocked, but for those that may."""
    if peer["standing"] not in _ENDED:
        return ""
    names = peer["server_name"], peer["node_id"]
    left = census.tables_naming(person.server, *names, passing=census.ON_ITS_WAY)
    return ", ".join(sorted(left - census.MAY_REMAIN))


async def _check_acknowledged(person: Person) -> None:
    """What a server acknowledged to its client is never lost.

    While lines are bad pages may end at a hole that nobody fills: what is behind it is there too.
    """
    joined = await person.joined_rooms()
    for room_id in person.acknowledged.keys() | person.acknowledged_state.keys():
        if room_id in joined:
            there = [event["event_id"] for event in await person.timeline(room_id)]
            missing = _acknowledged(person, room_id) - {*there}
            _check_none_lost(
                person,
                {one for one in missing if not await person.client.has_event(room_id, one)},
            )
            _check_none_twice(person, there)


def _check_whole(seen: _Seen) -> None:
    """Pages show all that was acknowledged, once everybody can be asked for what is missing."""
    there = {event["event_id"] for event in seen.events}
    _check_none_lost(seen.person, _acknowledged(seen.person, seen.room_id) - there)


def _acknowledged(person: Person, room_id: str) -> set[str]:
    said, set_there = person.acknowledged, person.acknowledged_state
    return {*said.get(room_id, []), *set_there.get(room_id, [])}


def _check_none_twice(person: Person, there: Sequence[str]) -> None:
    if len(set(there)) != len(there):
        raise AssertionError(f"{person.name} has an event twice in a room's history")


def _check_none_lost(person: Person, lost: set[str]) -> None:
    if lost:
        raise AssertionError(f"{person.name} does not have {sorted(lost)}")


def _server(user_id: str) -> str:
    return user_id.partition(":")[2]


async def _standings(person: Person) -> dict[str, str]:
    return {str(peer["server_name"]): str(peer["standing"]) for peer in await person.peers()}


async def _look(person: Person, room_id: str, standings: dict[str, str]) -> _Seen:
    state, events = await person.state(room_id), await person.timeline(room_id)
    return _Seen(person, room_id, standings, state, events)


def _is_silent(standings: _Standings, one: str, other: str) -> bool:
    """Whether one server tells another nothing, and never will."""
    return one != other and one in standings and standings[one].get(other) != "active"


def _is_put_out(seen: _Seen, other: _Seen, standings: _Standings) -> bool:
    """Whether the other was put out of the room by somebody who tells them nothing any more.

    Then they go on as if they were there: whoever is out is told nothing by those inside either.
    """
    member = seen.event_of(("m.room.member", other.person.user_id))
    if member is None or member["content"].get("membership") == "join":
        return False
    return _is_silent(standings, _server(member["sender"]), other.person.server.server_name)


def _check_same(room_id: str, ours: _Seen, theirs: _Seen, standings: _Standings) -> None:
    """Both see the same state; whether somebody is there whom either has cut off is their own.

    So is what somebody said who has cut off one of them, until another refers to it.
    """
    servers = [seen.person.server.server_name for seen in (ours, theirs)]
    differing = {
        key
        for key in ours.state | theirs.state
        if ours.state.get(key) != theirs.state.get(key)
        and not (key[0] == "m.room.member" and (ours.hides(key[1]) or theirs.hides(key[1])))
        and not any(
            _is_silent(standings, _server(event["sender"]), server)
            for event in (ours.event_of(key), theirs.event_of(key))
            if event is not None
            for server in servers
        )
    }
    if differing:
        words = f"{ours.person.name} and {theirs.person.name} differ about {sorted(differing)}"
        raise Parted(room_id, f"{words} in {room_id}")


def _check_told(reader: _Seen, sender: _Seen) -> None:
    """The reader has what the sender was told is sent, of what follows the reader's coming.

    Unless it is not wanted: what is said without the grant is never asked for again.
    """
    if sender.person.name in reader.person.silenced:
        return
    joined = next(
        (
            place
            for place, event in enumerate(sender.events)
            if event["type"] == "m.room.member"
            and event["state_key"] == reader.person.user_id
            and event["content"].get("membership") == "join"
        ),
        len(sender.events),
    )
    acknowledged = set(sender.person.acknowledged.get(sender.room_id, ()))
    later = [event["event_id"] for event in sender.events[joined:]]
    due = {event_id for event_id in later if event_id in acknowledged}
    there = [event["event_id"] for event in reader.events]
    _check_none_lost(reader.person, due - {*there})
    _check_none_twice(reader.person, there)
