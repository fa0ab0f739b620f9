"""Clients that watch an owner's rooms, each by one kind of sync, and note what they were shown.

Each is a device of its own. A client that is told that something is left out asks for it by pages,
as real clients do. It notices itself when an event comes twice without a reason, or out of order.
"""

from abc import ABC, abstractmethod
from itertools import takewhile
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from homeserver.testing.client import Client, Refused
from homeserver.testing.person import Person, SeenTwice
from homeserver.testing.simulated_server import PASSWORD

POKE = "test.poke"

_V3 = "/_matrix/client/v3"
_BEFORE = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"
_ACCEPTED = "/_matrix/client/v4/sync"
_FEW = 3


class OutOfOrder(AssertionError):
    """A client was shown events in another order than before."""


class Watcher(ABC):
    """Notes the events of each room in the order in which it was shown them.

    `read` is who has read up to where, by room; `pokes` the messages to the device.
    """

    def __init__(self, person: Person) -> None:
        self.person = person
        self.client: Client = person.server.client()
        self.seen: dict[str, list[str]] = {}
        self.read: dict[tuple[str, str], str] = {}
        self.pokes: list[tuple[str, int]] = []
        self._known: set[str] = set()
        self._inside: set[str] = set()
        self._holes: list[tuple[str, str, str]] = []

    async def __aenter__(self) -> Self:
        await self.client.__aenter__()
        await self.client.log_in(self.person.name, PASSWORD)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.client.__aexit__(kind, error, traceback)

    @abstractmethod
    async def look(self) -> bool:
        """Sync once; whether there was anything new."""

    async def look_at_all(self) -> None:
        """Sync until nothing new comes, and ask once more for what could not be had."""
        while await self._look_further():
            pass
        holes, self._holes = self._holes, []
        for hole in holes:
            await self._read_back(*hole)

    async def _look_further(self) -> bool:
        return await self.look()

    async def _note(
        self, room_id: str, shown: list[Any], token: str, *, is_limited: bool, may_repeat: bool
    ) -> None:
        """Take a timeline in: what is known of it already, what is new, what lies between."""
        departs = bool(shown) and self._is_own_departure(shown[-1])
        if departs and len(shown) == 1 and room_id not in self._inside:
            return  # so an invitation ended; it stands in no timeline yet
        (self._inside.discard if departs else self._inside.add)(room_id)
        seen = self.seen.setdefault(room_id, [])
        ids = [event["event_id"] for event in shown]
        fresh = [one for one in ids if one not in self._known]
        again = ids[: len(ids) - len(fresh)]
        if len(set(fresh)) < len(fresh) or (again and not may_repeat):
            raise SeenTwice(f"{self.person.name} was shown {again or ids} again in {room_id}")
        if again + fresh != ids or again != seen[len(seen) - len(again) :]:
            raise OutOfOrder(f"{room_id}: shown in another order than before")
        seen += fresh
        self._known.update(fresh)
        if is_limited and fresh and not again:
            await self._read_back(room_id, fresh[0], token)

    def _is_own_departure(self, event: dict[str, Any]) -> bool:
        return (
            event["type"] == "m.room.member"
            and event["state_key"] == self.person.user_id
            and event["content"]["membership"] in ("leave", "ban")
        )

    async def _read_back(self, room_id: str, event_id: str, token: str) -> None:
        """Ask for what lies before an event; later again, where nothing known is met.

        There the room begins, or nobody can be asked for more at the moment.
        """
        place = self.seen[room_id].index(event_id)
        found: list[str] = []
        is_whole = False
        following: str | None = token
        while following is not None and not is_whole:
            token = following
            page = await self.client.messages(room_id, token, 20)
            ids = [event["event_id"] for event in page["chunk"]]
            fresh = list(takewhile(lambda one: one not in self._known, ids))
            found += fresh
            is_whole = len(fresh) < len(ids)
            following = page.get("end")
        if not is_whole:
            self._holes.append((room_id, found[-1] if found else event_id, token))
        self.seen[room_id][place:place] = found[::-1]
        self._known.update(found)

    def _note_receipts(self, room_id: str, content: dict[str, Any]) -> None:
        for event_id, kinds in content.items():
            for user_id in kinds.get("m.read", {}):
                self.read[room_id, user_id] = event_id

    def _forget_receipts(self, room_id: str) -> None:
        """A room begins anew, and of its receipts those are told that stand in sight."""
        self.read = {place: one for place, one in self.read.items() if place[0] != room_id}

    def _note_messages(self, messages: list[Any]) -> None:
        self.pokes += [
            (message["sender"], message["content"]["number"])
            for message in messages
            if message["type"] == POKE
        ]


class Classic(Watcher):
    """By `GET /sync`, few events at once, so that there is something left out."""

    def __init__(self, person: Person) -> None:
        super().__init__(person)
        self._since: str | None = None

    async def look(self) -> bool:
        parameters = {"filter": f'{{"room":{{"timeline":{{"limit":{_FEW}}}}}}}'}
        if self._since is not None:
            parameters["since"] = self._since
        answer = await self.client.request("GET", f"{_V3}/sync", parameters=parameters)
        self._since = answer["next_batch"]
        rooms = answer.get("rooms", {})
        for room_id, room in (rooms.get("join", {}) | rooms.get("leave", {})).items():
            timeline = room["timeline"]
            await self._note(
                room_id,
                timeline["events"],
                timeline["prev_batch"],
                is_limited=timeline["limited"],
                may_repeat=False,
            )
            for event in room.get("ephemeral", {}).get("events", ()):
                if event["type"] == "m.receipt":
                    self._note_receipts(room_id, event["content"])
        messages = answer.get("to_device", {}).get("events", [])
        self._note_messages(messages)
        return bool(rooms or messages)


class Sliding(Watcher):
    """By sliding sync through a window that is smaller than the number of rooms."""

    _REASONS: tuple[str, ...] = ("initial", "unstable_expanded_timeline")

    def __init__(self, person: Person) -> None:
        super().__init__(person)
        self._pos: str | None = None
        self._messages: str | None = None
        self.restarts = 0

    async def look(self) -> bool:
        return await self._slide(1)

    async def _look_further(self) -> bool:
        return await self._slide(99)

    async def _slide(self, last: int) -> bool:
        try:
            answer = await self._ask(last)
        except Refused as refused:
            if refused.errcode != "M_UNKNOWN_POS":
                raise
            self._pos = None
            self.restarts += 1
            return True
        self._pos = answer["pos"]
        for room_id, room in answer["rooms"].items():
            if room.get("initial"):
                self._forget_receipts(room_id)
            if "timeline" in room:
                await self._note(
                    room_id,
                    room["timeline"],
                    room["prev_batch"],
                    is_limited=room["limited"],
                    may_repeat=any(room.get(name) for name in self._REASONS),
                )
        return self._extend(answer["extensions"]) or bool(answer["rooms"])

    async def _ask(self, last: int) -> Any:
        wish = {"ranges": [[0, last]], "timeline_limit": _FEW, "required_state": []}
        messages = {"enabled": True} | ({"since": self._messages} if self._messages else {})
        extensions = {"to_device": messages, "receipts": {"enabled": True}}
        body = {"conn_id": "watcher", "lists": {"all": wish}, "extensions": extensions}
        parameters = {} if self._pos is None else {"pos": self._pos}
        return await self.client.request("POST", _BEFORE, body, parameters)

    def _extend(self, extensions: dict[str, Any]) -> bool:
        for room_id, event in extensions.get("receipts", {}).get("rooms", {}).items():
            self._note_receipts(room_id, event["content"])
        return self._take_messages(extensions["to_device"])

    def _take_messages(self, section: dict[str, Any]) -> bool:
        self._messages = section["next_batch"]
        self._note_messages(section["events"])
        return bool(section["events"])


class Accepted(Sliding):
    """By sliding sync as it was accepted: at another address, in another form."""

    _REASONS = ("initial", "expanded_timeline")

    async def _ask(self, last: int) -> Any:
        wish = {"range": [0, last], "timeline_limit": _FEW, "required_state": {"include": []}}
        messages = {"enabled": True} | ({"since": self._messages} if self._messages else {})
        extensions = {
            "org.matrix.msc4538.to_device": messages,
            "org.matrix.msc4551.receipts": {"enabled": True},
        }
        body = {"conn_id": "watcher", "lists": {"all": wish}, "extensions": extensions}
        return await self.client.request(
            "POST", _ACCEPTED, body | ({"pos": self._pos} if self._pos is not None else {})
        )

    def _extend(self, extensions: dict[str, Any]) -> bool:
        receipts = extensions.get("org.matrix.msc4551.receipts", {})
        for room_id, content in receipts.get("rooms", {}).items():
            self._note_receipts(room_id, content)
        return self._take_messages(extensions["org.matrix.msc4538.to_device"])


async def told_by_pages(person: Person, room_id: str) -> list[str]:
    """What `/messages` says of a room, oldest first."""
    return [event["event_id"] for event in await person.timeline(room_id)]


async def redact(person: Person, room_id: str, event_id: str, number: int) -> None:
    """Take something back."""
    path = f"{_V3}/rooms/{quote(room_id)}/redact/{quote(event_id)}/r{number}"
    await person.client.request("PUT", path, {})


async def read_up_to(person: Person, room_id: str, event_id: str) -> None:
    """Say that everything up to an event was read."""
    path = f"{_V3}/rooms/{quote(room_id)}/receipt/m.read/{quote(event_id)}"
    await person.client.request("POST", path, {})


async def poke(person: Person, others: list[Person], number: int) -> None:
    """Send a message to every device of some people."""
    path = f"{_V3}/sendToDevice/{POKE}/p{number}"
    messages = {other.user_id: {"*": {"number": number}} for other in others}
    await person.client.request("PUT", path, {"messages": messages})


async def membership(person: Person, room_id: str, other: Person) -> str | None:
    """What somebody is in a room, as this person's server has it."""
    try:
        member = await person.client.state(room_id, "m.room.member", other.user_id)
    except Refused:
        return None
    return str(member["membership"])
