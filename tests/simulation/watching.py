"""Clients that watch an owner's rooms, each by one kind of sync, and note what they were shown.

A client that is told that something is left out asks for it by pages, as real clients do. It
notices itself when an event comes twice.
"""

from abc import ABC, abstractmethod
from typing import Any
from urllib.parse import quote

from homeserver.testing.client import Refused
from homeserver.testing.person import Person

_V3 = "/_matrix/client/v3"
_SLIDING = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"
_FEW = 3


class Watcher(ABC):
    """Notes the events of each room in the order in which it was shown them."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.seen: dict[str, list[str]] = {}

    @abstractmethod
    async def look(self) -> bool:
        """Sync once; whether there was anything new."""

    async def look_at_all(self) -> None:
        """Sync until nothing new comes."""
        while await self.look():
            pass

    async def _note(self, room_id: str, shown: list[Any], token: str, *, is_limited: bool) -> None:
        """Take a timeline in: what is known of it already, what is new, what lies between."""
        known = self.seen.setdefault(room_id, [])
        ids = [event["event_id"] for event in shown]
        fresh = [one for one in ids if one not in known]
        if fresh != ids[len(ids) - len(fresh) :]:
            raise AssertionError(f"{room_id}: shown in another order than before")
        if is_limited and len(fresh) == len(ids):
            fresh = await self._between(room_id, token, set(known)) + fresh
        known += fresh

    async def _between(self, room_id: str, token: str, known: set[str]) -> list[str]:
        found: list[str] = []
        start: str | None = token
        while start is not None:
            page = await self.person.client.messages(room_id, start, 20)
            for event in page["chunk"]:
                if event["event_id"] in known:
                    return found[::-1]
                found.append(event["event_id"])
            start = page.get("end") if page.get("end") != start else None
        return found[::-1]


class Classic(Watcher):
    """By `GET /sync`, few events at once, so that there is something left out."""

    def __init__(self, person: Person) -> None:
        super().__init__(person)
        self._since: str | None = None

    async def look(self) -> bool:
        parameters = {"filter": f'{{"room":{{"timeline":{{"limit":{_FEW}}}}}}}'}
        if self._since is not None:
            parameters["since"] = self._since
        answer = await self.person.client.request("GET", f"{_V3}/sync", parameters=parameters)
        self._since = answer["next_batch"]
        rooms = answer.get("rooms", {}).get("join", {})
        for room_id, room in rooms.items():
            timeline = room["timeline"]
            await self._note(
                room_id,
                timeline["events"],
                timeline["prev_batch"],
                is_limited=timeline["limited"],
            )
        return bool(rooms)


class Sliding(Watcher):
    """By sliding sync through a window that is smaller than the number of rooms."""

    def __init__(self, person: Person, name: str) -> None:
        super().__init__(person)
        self._name = name
        self._pos: str | None = None
        self.restarts = 0

    async def look(self) -> bool:
        return await self._slide(1)

    async def look_at_all(self) -> None:
        while await self._slide(99):
            pass

    async def _slide(self, last: int) -> bool:
        wish = {"ranges": [[0, last]], "timeline_limit": _FEW, "required_state": []}
        body = {"conn_id": self._name, "lists": {"all": wish}}
        parameters = {} if self._pos is None else {"pos": self._pos}
        try:
            answer = await self.person.client.request("POST", _SLIDING, body, parameters)
        except Refused as refused:
            if refused.errcode != "M_UNKNOWN_POS":
                raise
            self._pos = None
            self.restarts += 1
            return True
        self._pos = answer["pos"]
        for room_id, room in answer["rooms"].items():
            if "timeline" in room:
                await self._note(
                    room_id, room["timeline"], room["prev_batch"], is_limited=room["limited"]
                )
        return bool(answer["rooms"])


async def told_by_pages(person: Person, room_id: str) -> list[str]:
    """What `/messages` says of a room, oldest first."""
    return [event["event_id"] for event in await person.timeline(room_id)]


async def redact(person: Person, room_id: str, event_id: str, number: int) -> None:
    """Take something back."""
    path = f"{_V3}/rooms/{quote(room_id)}/redact/{quote(event_id)}/r{number}"
    await person.client.request("PUT", path, {})
