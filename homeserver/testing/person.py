"""Somebody in a simulation: an owner with a client and a server, who does what owners do.

Everything a person does or sees goes through the client API or the admin API.
"""

import copy
from collections import Counter
from typing import Any
from urllib.parse import quote

from homeserver.testing.client import Refused
from homeserver.testing.simulated_server import PASSWORD, SimulatedClient, SimulatedServer

Event = dict[str, Any]
# The messages that a server said it had taken, and the pieces of state, by room.
Acknowledged = tuple[dict[str, list[str]], dict[str, list[str]]]

_V3 = "/_matrix/client/v3"
_NOT_FOUND = 404


class SeenTwice(AssertionError):
    """A client was shown the same event a second time."""


class Person:
    """An owner. `acknowledged` are the messages that the server said it had taken, by room.

    `keys` are the messages to the device that its syncs have brought, in their order.
    `acknowledged_state` are pieces of state: the own server keeps them, others may refuse them.
    """

    def __init__(self, server: SimulatedServer) -> None:
        self.server = server
        self.acknowledged: dict[str, list[str]] = {}
        self.acknowledged_state: dict[str, list[str]] = {}
        self.seen: dict[str, Counter[str]] = {}
        self.keys: list[Event] = []
        # For `unwanted`: how long the audit trail was at the last look, and what was not granted.
        self.refused: tuple[int, set[tuple[str, str]]] | None = None
        self.silenced: set[str] = set()  # who was not allowed to say anything, at some time
        self._left: set[str] = set()
        self._client: SimulatedClient | None = None
        self._transactions = 0
        self._notice_rooms: dict[str, bool] = {}

    @property
    def name(self) -> str:
        """The short name, which the server has too."""
        return self.server.name

    @property
    def user_id(self) -> str:
        """The full user ID."""
        return self.server.user_id

    @property
    def client(self) -> SimulatedClient:
        """The logged-in client."""
        if self._client is None:
            raise AssertionError(f"{self.name} is not logged in")
        return self._client

    async def log_in(self) -> None:
        """Log in on a first device."""
        self._client = await self.server.client().__aenter__()
        await self._client.log_in(self.name, PASSWORD)

    async def leave(self) -> None:
        """Close the client."""
        if self._client is not None:
            await self._client.__aexit__(None, None, None)
            self._client = None

    # Rooms

    async def create_room(self, *others: "Person", **options: Any) -> str:
        """Create a private room and invite people."""
        invited = [other.user_id for other in others]
        return await self.client.create_room(**({"invite": invited} | options))

    async def join(self, room_id: str, tries: int = 1) -> None:
        """Join a room; while its server cannot be reached, try again as people do."""
        try:
            await self.client.join(room_id)
        except Refused as refused:
            if refused.status != _NOT_FOUND or tries <= 1:
                raise
            await self.join(room_id, tries - 1)

    async def leave_room(self, room_id: str) -> None:
        """Leave a room."""
        await self.client.request("POST", f"{_V3}/rooms/{quote(room_id)}/leave", {})

    async def say(self, room_id: str, text: str, transaction: str | None = None) -> str:
        """Send a message; returns its event ID once the server has taken it."""
        self._transactions += 1
        transaction = transaction or f"{self.name}-{self._transactions}"
        event_id = await self.client.send_text(room_id, text, transaction)
        self.acknowledged.setdefault(room_id, []).append(event_id)
        return event_id

    async def send_key(self, other: "Person", text: str, transaction: str) -> None:
        """Send something to every device of somebody, as clients do before an encrypted event."""
        messages = {other.user_id: {"*": {"text": text}}}
        path = f"{_V3}/sendToDevice/m.room.encrypted/{quote(transaction)}"
        await self.client.request("PUT", path, {"messages": messages})

    async def set_state(self, room_id: str, event_type: str, key: str, content: Event) -> str:
        """Set a piece of a room's state. Others may refuse it, if power was taken meanwhile."""
        event_id = await self.client.set_state(room_id, event_type, key, content)
        self.acknowledged_state.setdefault(room_id, []).append(event_id)
        return event_id

    async def moderate(self, verb: str, room_id: str, other: "Person") -> None:
        """`invite`, `kick`, `ban` or `unban` somebody."""
        path = f"{_V3}/rooms/{quote(room_id)}/{verb}"
        await self.client.request("POST", path, {"user_id": other.user_id})

    async def type_in(self, room_id: str) -> None:
        """Begin to type."""
        path = f"{_V3}/rooms/{quote(room_id)}/typing/{quote(self.user_id)}"
        await self.client.request("PUT", path, {"typing": True, "timeout": 30_000})

    async def read_all(self, room_id: str) -> None:
        """Say that everything up to the newest event is read."""
        newest = (await self.timeline(room_id))[-1]["event_id"]
        path = f"{_V3}/rooms/{quote(room_id)}/receipt/m.read/{quote(newest)}"
        await self.client.request("POST", path, {})

    async def send_file(self, room_id: str, size: int) -> str:
        """Upload a file of so many bytes, and show it in a room."""
        url = await self.client.upload(bytes(size), "application/octet-stream")
        content = {"msgtype": "m.file", "body": "a file", "url": url}
        self._transactions += 1
        transaction = f"{self.name}-{self._transactions}"
        event_id = await self.client.send(room_id, "m.room.message", content, transaction)
        self.acknowledged.setdefault(room_id, []).append(event_id)
        return event_id

    async def open_newest_file(self, room_id: str) -> bytes:
        """Fetch what was shown last."""
        urls = [event["content"].get("url") for event in await self.timeline(room_id)]
        return await self.client.download(next(url for url in reversed(urls) if url))

    async def timeline(self, room_id: str) -> list[Event]:
        """Every event of a room that this person can see, oldest first."""
        return await self.client.timeline(room_id)

    async def texts(self, room_id: str) -> list[str]:
        """What has been said in a room, oldest first."""
        events = await self.timeline(room_id)
        return [
            str(event["content"]["body"])
            for event in events
            if event["type"] == "m.room.message" and "body" in event["content"]
        ]

    async def state(self, room_id: str) -> dict[tuple[str, str], str]:
        """A room's state: event IDs by type and state key."""
        events = await self.client.request("GET", f"{_V3}/rooms/{quote(room_id)}/state")
        return {(event["type"], event["state_key"]): event["event_id"] for event in events}

    async def membership(self, room_id: str) -> str | None:
        """Whether this person is in a room, as the own server has it."""
        path = f"{_V3}/rooms/{quote(room_id)}/state/m.room.member/{quote(self.user_id)}"
        try:
            return str((await self.client.request("GET", path))["membership"])
        except Refused:
            return None

    async def joined_rooms(self) -> list[str]:
        """The rooms this person is in, but for the one in which the own server speaks."""
        answer = await self.client.request("GET", f"{_V3}/joined_rooms")
        return sorted([one for one in answer["joined_rooms"] if not await self._is_notices(one)])

    async def _is_notices(self, room_id: str) -> bool:
        """Whether a room is tagged as the server's own; asked once a room."""
        if room_id not in self._notice_rooms:
            path = f"{_V3}/user/{quote(self.user_id)}/rooms/{quote(room_id)}/tags"
            tags = (await self.client.request("GET", path))["tags"]
            self._notice_rooms[room_id] = "m.server_notice" in tags
        return self._notice_rooms[room_id]

    async def sync(self) -> dict[str, Any]:
        """Sync once, without waiting, and note which events came; none may come twice.

        Whoever comes back to a room is shown it anew.
        """
        answer = await self.client.sync()
        self.keys += answer.get("to_device", {}).get("events", [])
        for part in ("join", "leave"):
            for room_id, room in answer.get("rooms", {}).get(part, {}).items():
                seen = self.seen.setdefault(room_id, Counter())
                if part == "leave":
                    self._left.add(room_id)
                elif room_id in self._left:
                    self._left.discard(room_id)
                    seen.clear()
                seen.update(event["event_id"] for event in room["timeline"]["events"])
                twice = [event_id for event_id, count in seen.items() if count > 1]
                if twice:
                    raise SeenTwice(f"{self.name} was shown {twice} again in {room_id}")
        return answer

    def what_was_acknowledged(self) -> Acknowledged:
        """A copy of it, to be kept beside a copy of the server."""
        return copy.deepcopy((self.acknowledged, self.acknowledged_state))

    def go_back_to(self, acknowledged: Acknowledged) -> None:
        """The server is as it was then: nothing later is asked of it, and nothing earlier lost."""
        self.forget_syncs()
        self.acknowledged, self.acknowledged_state = copy.deepcopy(acknowledged)

    def forget_syncs(self) -> None:
        """Begin to sync from nothing, as a client does whose server went back in time."""
        self.client.since = None
        self.refused = None
        self.seen.clear()

    # Peers

    async def invitation(self, **wish: Any) -> str:
        """Make a link that connects one person, once; or as the admin API's wishes say."""
        return str((await self.server.admin("POST", "/invitations", wish))["link"])

    async def invitations(self) -> list[dict[str, Any]]:
        """Every invitation of this person's, and what became of it."""
        return list((await self.server.admin("GET", "/invitations"))["invitations"])

    async def withdraw(self, invitation_id: str) -> None:
        """Take an invitation back."""
        await self.server.admin("DELETE", f"/invitations/{invitation_id}")

    async def open_link(self, link: str) -> None:
        """Say yes to somebody's invitation."""
        await self.server.admin("POST", "/peers", {"link": link})

    async def peer(self, other: "Person") -> dict[str, Any] | None:
        """What the own server says about the connection with somebody."""
        try:
            found = await self.server.admin("GET", f"/peers/{other.server.server_name}")
        except Refused as refused:
            if refused.status == _NOT_FOUND:
                return None
            raise
        return dict(found)

    async def peers(self) -> list[dict[str, Any]]:
        """What the own server says about every connection, and the tombstones of those before."""
        return list((await self.server.admin("GET", "/peers"))["peers"])

    async def standing(self, other: "Person") -> str:
        """What stands between this person and another."""
        found = await self.peer(other)
        return "none" if found is None else str(found["standing"])

    async def accept(self, other: "Person") -> None:
        """Say yes to somebody who asks."""
        await self._step(other, "accept", {})

    async def decline(self, other: "Person") -> None:
        """Say no to somebody who asks."""
        await self._step(other, "decline")

    async def cancel(self, other: "Person") -> None:
        """Take back a yes that has come to nothing yet."""
        await self._step(other, "cancel")

    async def dismiss(self, other: "Person") -> None:
        """Look away from an alarm about somebody."""
        await self._step(other, "dismiss")

    async def pause_everything(self) -> None:
        """Stop everything with everybody for a while."""
        await self.server.admin("POST", "/pause")

    async def resume_everything(self) -> None:
        """End the pause of everything."""
        await self.server.admin("POST", "/resume")

    async def pause(self, other: "Person") -> None:
        """Stop everything with somebody for a while."""
        await self._step(other, "pause")

    async def resume(self, other: "Person") -> None:
        """Go on with somebody."""
        await self._step(other, "resume")

    async def revoke(self, other: "Person", **choice: Any) -> None:
        """End the connection with somebody for good.

        `rooms` is `cut`, `leave` or `eject`; `goodbye` and `erase` are yes or no.
        """
        await self._step(other, "revoke", choice)

    async def block(self, other: "Person", **choice: Any) -> None:
        """End it so that not even a new invitation helps; `rooms` and `erase` as in `revoke`."""
        await self._step(other, "block", choice)

    async def unblock(self, other: "Person") -> None:
        """Let invitations help again."""
        await self._step(other, "unblock")

    async def grant(self, other: "Person", **changes: Any) -> None:
        """Change what somebody may do."""
        if changes.get("messages") is False:
            self.silenced.add(other.name)
        await self.server.admin("PATCH", f"/peers/{other.server.server_name}", changes)

    async def audit(self) -> list[dict[str, Any]]:
        """Who agreed to what, oldest first."""
        return list((await self.server.admin("GET", "/audit"))["audit"])

    async def status(self) -> dict[str, Any]:
        """How the own server is."""
        return dict(await self.server.admin("GET", "/status"))

    async def _step(self, other: "Person", verb: str, choice: dict[str, Any] | None = None) -> None:
        await self.server.admin("POST", f"/peers/{other.server.server_name}/{verb}", choice)
