"""A small Matrix client that speaks to the API; it does no end-to-end encryption.

For tests, benchmarks and demonstrations. A refusal is raised as `Refused`, with what the server
said; a lost connection stays the `aiohttp.ClientError` it is.
"""

import itertools
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import aiohttp
import orjson

_V3 = "/_matrix/client/v3"
_PAGE = 500
_BAD_REQUEST = 400


class Refused(Exception):
    """The server refused; carries its status and errcode."""

    def __init__(self, status: int, errcode: str, error: str) -> None:
        super().__init__(f"{status} {errcode}: {error}")
        self.status = status
        self.errcode = errcode


class DidNotHappen(AssertionError):
    """Something that should have been seen was not, in time."""


class Client:
    """One device of one user."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.user_id = ""
        self.device_id = ""
        self.access_token = ""
        self.since: str | None = None
        self._numbers = itertools.count(1)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=self._connector(),
            timeout=aiohttp.ClientTimeout(total=120),
            auto_decompress=True,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    def _connector(self) -> aiohttp.BaseConnector:
        return aiohttp.TCPConnector(limit=0)

    async def log_in(self, user: str, password: str) -> None:
        """Log in with the short user name and keep the token."""
        answer = await self.request(
            "POST",
            f"{_V3}/login",
            {
                "type": "m.login.password",
                "identifier": {"type": "m.id.user", "user": user},
                "password": password,
            },
        )
        self.user_id = answer["user_id"]
        self.device_id = answer["device_id"]
        self.access_token = answer["access_token"]

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        parameters: dict[str, str] | None = None,
    ) -> Any:
        """Make one request and return the JSON of its answer."""
        status, _, content = await self.exchange(
            method,
            path,
            None if body is None else orjson.dumps(body),
            parameters=parameters,
        )
        answer = orjson.loads(content)
        if status >= _BAD_REQUEST:
            raise Refused(status, answer.get("errcode", ""), answer.get("error", ""))
        return answer

    async def exchange(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        parameters: dict[str, str] | None = None,
        content_type: str = "application/json",
    ) -> tuple[int, str, bytes]:
        """Make one request and return status, content type and bytes of its answer."""
        if self._session is None:
            raise RuntimeError("use the client in an `async with` block")
        headers = {"Content-Type": content_type}
        if self.access_token:
            headers["Authorization"] = f"Bearer {self.access_token}"
        async with self._session.request(
            method, self.url + path, data=body, params=parameters, headers=headers
        ) as response:
            return response.status, response.content_type, await response.read()

    async def create_room(self, **options: Any) -> str:
        """Create a room, private unless said otherwise."""
        answer = await self.request(
            "POST", f"{_V3}/createRoom", {"preset": "private_chat"} | options
        )
        return str(answer["room_id"])

    async def invite(self, room_id: str, user_id: str) -> None:
        """Invite somebody."""
        await self.request("POST", f"{_V3}/rooms/{quote(room_id)}/invite", {"user_id": user_id})

    async def join(self, room_id: str) -> None:
        """Join a room we are invited to."""
        await self.request("POST", f"{_V3}/rooms/{quote(room_id)}/join", {})

    async def send_text(self, room_id: str, text: str, transaction_id: str | None = None) -> str:
        """Send a text message and return its event ID once the server acknowledged it."""
        content = {"msgtype": "m.text", "body": text}
        return await self.send(room_id, "m.room.message", content, transaction_id)

    async def send(
        self,
        room_id: str,
        event_type: str,
        content: dict[str, Any],
        transaction_id: str | None = None,
    ) -> str:
        """Send a message event. The same transaction ID again is the same event."""
        transaction_id = transaction_id or f"{id(self)}-{next(self._numbers)}"
        path = f"{_V3}/rooms/{quote(room_id)}/send/{event_type}/{quote(transaction_id)}"
        answer = await self.request("PUT", path, content)
        return str(answer["event_id"])

    async def set_state(
        self, room_id: str, event_type: str, state_key: str, content: dict[str, Any]
    ) -> str:
        """Set a piece of the room's state."""
        path = f"{_V3}/rooms/{quote(room_id)}/state/{event_type}/{quote(state_key)}"
        answer = await self.request("PUT", path, content)
        return str(answer["event_id"])

    async def state(self, room_id: str, event_type: str, state_key: str = "") -> dict[str, Any]:
        """The content of a piece of the room's state."""
        path = f"{_V3}/rooms/{quote(room_id)}/state/{event_type}/{quote(state_key)}"
        content: dict[str, Any] = await self.request("GET", path)
        return content

    async def sync(self, timeout_ms: int = 0) -> dict[str, Any]:
        """Everything since the last sync of this client, waiting for it if there is nothing."""
        parameters = {"timeout": str(timeout_ms)}
        if self.since is not None:
            parameters["since"] = self.since
        answer: dict[str, Any] = await self.request("GET", f"{_V3}/sync", parameters=parameters)
        self.since = answer["next_batch"]
        return answer

    async def messages(
        self, room_id: str, start: str | None = None, limit: int = _PAGE
    ) -> dict[str, Any]:
        """One page of history, newest first."""
        parameters = {"dir": "b", "limit": str(limit)}
        if start is not None:
            parameters["from"] = start
        page: dict[str, Any] = await self.request(
            "GET", f"{_V3}/rooms/{quote(room_id)}/messages", parameters=parameters
        )
        return page

    async def pages(self, room_id: str, limit: int = _PAGE) -> AsyncIterator[list[dict[str, Any]]]:
        """All of a room's history, page by page, newest first; up to a hole that nobody fills."""
        start: str | None = None
        while True:
            page = await self.messages(room_id, start, limit)
            yield page["chunk"]
            before, start = start, page.get("end")
            if start is None or (start == before and not page["chunk"]):
                return

    async def timeline(self, room_id: str) -> list[dict[str, Any]]:
        """Every event of a room that this user can see, oldest first."""
        events = [event async for page in self.pages(room_id) for event in page]
        return events[::-1]

    async def has_event(self, room_id: str, event_id: str) -> bool:
        """Whether the server has an event that this user may see."""
        path = f"{_V3}/rooms/{quote(room_id)}/event/{quote(event_id)}"
        status, _, _ = await self.exchange("GET", path)
        return status < _BAD_REQUEST

    async def upload(self, content: bytes, content_type: str) -> str:
        """Upload a file and return its mxc URI."""
        status, _, raw = await self.exchange(
            "POST", "/_matrix/media/v3/upload", content, content_type=content_type
        )
        answer = orjson.loads(raw)
        if status >= _BAD_REQUEST:
            raise Refused(status, answer.get("errcode", ""), answer.get("error", ""))
        return str(answer["content_uri"])

    async def download(self, mxc_uri: str) -> bytes:
        """Fetch a file; raises `Refused` unless it is there."""
        path = f"/_matrix/client/v1/media/download/{mxc_uri.removeprefix('mxc://')}"
        status, _, content = await self.exchange("GET", path)
        if status >= _BAD_REQUEST:
            answer = orjson.loads(content)
            raise Refused(status, answer.get("errcode", ""), answer.get("error", ""))
        return content
