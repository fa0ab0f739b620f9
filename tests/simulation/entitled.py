"""Who may read what: people with several devices in encrypted rooms, and a ledger of all they say.

A device is entitled to a message if it was there when everything had last settled and was not
removed since: whoever writes has a session with it, or finds one of the ten spare keys that it left
there. No owner adds more devices between two settlings than that lasts for. A device is not
entitled if it came after the message, or was gone before the last settling, or if its owner is not
in the room. What lies between may be either.
"""

import random
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import select

from homeserver.storage import frames
from homeserver.storage.encryption import to_device
from homeserver.storage.unit_of_work import View
from homeserver.testing.person import Person
from homeserver.testing.simulated_device import SimulatedDevice
from homeserver.testing.world import World

DEVICES = 3


@dataclass(frozen=True, slots=True)
class Said:
    """One message, and how things stood when it was sent."""

    room_id: str
    event_id: str
    entitled: frozenset[str]
    forbidden: frozenset[str]  # devices there were already, and that may not read it
    known: frozenset[str]  # every device there has been up to then


@dataclass(slots=True)
class Crowd:
    """Owners, their devices by ID, and what was said."""

    world: World
    directory: Path
    people: list[Person]
    chance: random.Random
    devices: dict[str, SimulatedDevice] = field(default_factory=dict)
    removed: dict[str, SimulatedDevice] = field(default_factory=dict)
    settled: set[str] = field(default_factory=set)  # devices there at the last settling
    gone: set[str] = field(default_factory=set)  # removed before the last settling
    added: dict[str, int] = field(default_factory=dict)  # by owner, since then
    rooms: dict[str, list[Person]] = field(default_factory=dict)
    ledger: list[Said] = field(default_factory=list)

    async def begin(self) -> None:
        """Give everybody devices, a room for all, and one without the last of them."""
        for person in self.people:
            for _ in range(DEVICES):
                await self.add_device(person)
        await self.settle()
        for members in (self.people, self.people[:-1]):
            await self._open_room(members)
        await self.settle()

    async def close(self) -> None:
        """Let go of every device."""
        for device in (*self.devices.values(), *self.removed.values()):
            await device.close()

    def devices_of(self, person: Person) -> list[SimulatedDevice]:
        """Somebody's devices."""
        return [one for one in self.devices.values() if one.server is person.server]

    async def add_device(self, person: Person) -> None:
        """Log in somewhere new."""
        store = self.directory / f"device-{len(self.devices) + len(self.removed)}"
        store.mkdir()
        device = await SimulatedDevice.log_in(person.server, store)
        self.devices[device.device_id] = device
        self.added[person.name] = self.added.get(person.name, 0) + 1

    async def remove_device(self, person: Person) -> None:
        """Log out somewhere."""
        device = self.chance.choice(self.devices_of(person))
        await device.log_out()
        del self.devices[device.device_id]
        self.removed[device.device_id] = device

    async def say(self, person: Person, count: int) -> None:
        """Say some things from one device, which has synced as clients do all the time."""
        device = self.chance.choice(self.devices_of(person))
        await device.catch_up()
        room_id = self.chance.choice(
            [room_id for room_id, members in self.rooms.items() if person in members]
        )
        everybody = self.devices | self.removed
        inside = {
            name
            for name, one in everybody.items()
            if any(one.server is member.server for member in self.rooms[room_id])
        }
        own = {one.device_id for one in self.devices_of(person)}
        entitled = inside & (self.devices.keys() & (self.settled | own))
        forbidden = (everybody.keys() - inside) | self.gone
        for _ in range(count):
            event_id = await device.say(room_id, f"{person.name} {len(self.ledger)}")
            said = Said(
                room_id,
                event_id,
                frozenset(entitled),
                frozenset(forbidden),
                frozenset(everybody),
            )
            self.ledger.append(said)
        self._check_nothing_waits_for(self.gone)

    async def settle(self) -> None:
        """Let everybody run and everything arrive; from now on all know who is there."""
        for person in self.people:
            if not person.server.is_running:
                await person.server.start()
        await self._let_arrive()
        self.settled = set(self.devices)
        self.gone = set(self.removed)
        self.added.clear()

    async def _let_arrive(self) -> None:
        for _ in range(2):  # what devices say when they wake has to arrive too
            await self.world.settle()
            for device in self.devices.values():
                await device.catch_up()
        await self.world.settle()

    async def check(self) -> None:
        """Every entitled device has read, and no other one can."""
        texts = {said.event_id: said for said in self.ledger}
        events: dict[str, dict[str, Any]] = {}
        for room_id, members in self.rooms.items():
            for event in await members[0].timeline(room_id):
                events[event["event_id"]] = event
        missing = texts.keys() - events.keys()
        assert not missing, f"{len(missing)} messages never arrived"
        self._check_nothing_waits_for(self.removed.keys())
        wrong = [fault for said in self.ledger for fault in self._faults(said, events)]
        assert not wrong, "\n".join([f"{len(wrong)} times:", *wrong[:20]])

    def _check_nothing_waits_for(self, removed: Collection[str]) -> None:
        """No server has anything for a device that all have known to be gone.

        What a removed device holds is all it ever gets, for it cannot log in; so what it could
        have been given is looked for where it would wait.
        """
        for person in self.people:
            if person.server.is_running:
                waiting = person.server.built.database.read(_addressed) & set(removed)
                assert not waiting, f"{person.name}'s server has something for {waiting}"

    def _faults(self, said: Said, events: dict[str, dict[str, Any]]) -> list[str]:
        faults = [
            f"{name} was entitled to {said.event_id} and could not read it"
            for name in sorted(said.entitled & self.devices.keys())
            if said.event_id not in self.devices[name].read
        ]
        everybody = self.devices | self.removed
        later = everybody.keys() - said.known
        faults += [
            f"{name} was not entitled to {said.event_id} and can read it"
            for name in sorted(said.forbidden | later)
            if everybody[name].can_read(said.room_id, events[said.event_id])
        ]
        return faults

    async def _open_room(self, members: list[Person]) -> None:
        first = self.devices_of(members[0])[0]
        room_id = await first.create_room(*(one.user_id for one in members[1:]))
        for member in members[1:]:
            await self.world.settle()
            await self.devices_of(member)[0].join(room_id)
        self.rooms[room_id] = members


def _addressed(view: View) -> set[str]:
    """Every device for which something encrypted waits, in an inbox here or on the way to a peer.

    Clients ask a device that is gone for its keys, which gives it nothing.
    """
    table, items = to_device.to_device_messages, frames.outbox_items
    waiting = view.all(select(table.c.device_id, table.c.message))
    found = {str(device) for device, message in waiting if _is_encrypted(orjson.loads(message))}
    bodies = view.all(select(items.c.body).where(items.c.lane == frames.TO_DEVICE))
    for (body,) in bodies:
        sent = orjson.loads(body)
        if _is_encrypted(sent):
            found.update(device for devices in sent["messages"].values() for device in devices)
    return found


def _is_encrypted(message: dict[str, Any]) -> bool:
    return bool(message["type"] == "m.room.encrypted")
