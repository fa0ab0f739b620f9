"""A third member of a room, connected to both others, who passes on whatever he gets."""

from typing import Any

from homeserver.storage import events
from homeserver.testing.adversaries.hostile_peer import HostilePeer
from homeserver.testing.person import Person


class Forwarder:
    """Hands every event of a room that his server has to somebody, as it came, again and again."""

    def __init__(self, person: Person, receiver: Person) -> None:
        self._person = person
        self._channel = HostilePeer(person, receiver)

    async def pass_on(self, room_id: str) -> int:
        """Send everything once more; how many events that were."""
        made = await self._everything(room_id)
        for at in range(0, len(made), 20):
            await self._channel.send("transaction", {"pdus": made[at : at + 20]})
        return len(made)

    async def _everything(self, room_id: str) -> list[dict[str, Any]]:
        seen = [event["event_id"] for event in await self._person.timeline(room_id)]
        found = self._person.server.built.database.read(lambda view: events.load_events(view, seen))
        return [found[event_id].event.pdu for event_id in seen if event_id in found]
