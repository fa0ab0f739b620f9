"""What must hold after every step of a simulation, as far as the owners' clients can see it."""

from collections.abc import Iterable, Sequence

from federation.consent import TABLE, Standing, Step
from homeserver.testing import census
from homeserver.testing.person import Person
from homeserver.testing.wire_watch import WireWatch


class Broken(AssertionError):
    """A promise was broken; the message begins with the seed that shows it."""


class Parted(AssertionError):
    """Two servers hold different states of a room."""

    def __init__(self, room_id: str, words: str) -> None:
        super().__init__(words)
        self.room_id = room_id


async def check_always(people: Sequence[Person]) -> None:
    """What holds at any time, whatever the network and the servers suffer."""
    for person in people:
        if person.server.is_running:
            await person.sync()  # raises SeenTwice
            await _check_standings(person)
            await _check_acknowledged(person)
            await _check_tombstones(person)


def check_wire(watch: WireWatch) -> None:
    """Nothing has left that a standing does not allow, and no key of a ratchet twice."""
    if watch.breaches:
        raise AssertionError("; ".join(watch.breaches[:3]))


async def check_healed(people: Sequence[Person]) -> None:
    """What holds once everything can reach everything and has settled."""
    running = [person for person in people if person.server.is_running]
    rooms = {room_id for person in running for room_id in await person.joined_rooms()}
    for room_id in sorted(rooms):
        inside = [one for one in running if room_id in await one.joined_rooms()]
        for group in await _connected(inside):
            await _check_room(room_id, group)


async def _check_standings(person: Person) -> None:
    """Standings only move along the table, each step from where the last one led."""
    reached: dict[str, str] = {}
    for entry in await person.audit():
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


async def _check_tombstones(person: Person) -> None:
    """Of a peer that was revoked nothing is left but history, tombstone and trail."""
    for peer in await person.peers():
        if peer["standing"] == "revoked":
            left = census.tables_naming(person.server, peer["server_name"], peer["node_id"])
            if left - census.MAY_REMAIN:
                beyond = ", ".join(sorted(left - census.MAY_REMAIN))
                raise AssertionError(f"{person.name} keeps of a revoked peer: {beyond}")


async def _check_acknowledged(person: Person) -> None:
    """What a server acknowledged to its client is never lost."""
    joined = await person.joined_rooms()
    for room_id, acknowledged in person.acknowledged.items():
        if room_id in joined:
            _check_present(person, acknowledged, await _event_ids(person, room_id))


def _check_present(person: Person, acknowledged: Iterable[str], there: Sequence[str]) -> None:
    lost = set(acknowledged) - set(there)
    if lost:
        raise AssertionError(f"{person.name} does not have {sorted(lost)}")
    if len(set(there)) != len(there):
        raise AssertionError(f"{person.name} has an event twice in a room's history")


async def _connected(people: Sequence[Person]) -> list[list[Person]]:
    """Those who are all connected to each other; a pair that is not is left out."""
    group: list[Person] = []
    for person in people:
        if all([await person.standing(one) == "active" for one in group]) and all(
            [await one.standing(person) == "active" for one in group]
        ):
            group.append(person)
    return [group]


async def _check_room(room_id: str, people: Sequence[Person]) -> None:
    """Everybody has the same state, and everything that anybody was told is sent."""
    states = {person.name: await person.state(room_id) for person in people}
    first = people[0]
    for person in people[1:]:
        ours, theirs = states[first.name], states[person.name]
        differing = {key for key in ours | theirs if ours.get(key) != theirs.get(key)}
        if differing:
            words = f"{first.name} and {person.name} differ about {sorted(differing)}"
            raise Parted(room_id, f"{words} in {room_id}")
        there = await _event_ids(person, room_id)
        for other in people:
            _check_present(person, await _sent_since_joining(person, other, room_id), there)


async def _sent_since_joining(reader: Person, sender: Person, room_id: str) -> list[str]:
    """What the sender was told is sent, of what follows the reader in the sender's history."""
    events = await sender.timeline(room_id)
    joined = next(
        (
            place
            for place, event in enumerate(events)
            if event["type"] == "m.room.member"
            and event["state_key"] == reader.user_id
            and event["content"].get("membership") == "join"
        ),
        len(events),
    )
    acknowledged = set(sender.acknowledged.get(room_id, ()))
    return [event["event_id"] for event in events[joined:] if event["event_id"] in acknowledged]


async def _event_ids(person: Person, room_id: str) -> list[str]:
    return [event["event_id"] for event in await person.timeline(room_id)]
