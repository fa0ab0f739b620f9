"""A client that sends exactly what a test says, byte for byte, and keeps the whole answer."""

import http.client
import itertools
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

V3 = "/_matrix/client/v3"
JSON = "application/json"

_numbers = itertools.count(1)

# The servers whose form is looked at, and what they answered with success: method and path.
looked_at: set[str] = set()
succeeded: set[tuple[str, str]] = set()


def part(text: str) -> str:
    """A part of a path, slashes and all."""
    return quote(text, safe="")


@dataclass(frozen=True, slots=True)
class Reply:
    """What the server answered."""

    status: int
    headers: http.client.HTTPMessage
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)

    @property
    def refusal(self) -> tuple[int, str]:
        """Status and errcode; every error has both, and a sentence."""
        assert self.status >= 400, self.content
        assert isinstance(self.json["error"], str)
        return self.status, self.json["errcode"]


class Device:
    """One device of a user, or somebody without a token."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.token: str | None = None
        self.user_id = ""
        self.device_id = ""
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)

    @property
    def me(self) -> str:
        """The user ID as a part of a path."""
        return part(self.user_id)

    @property
    def server_name(self) -> str:
        return self.user_id.partition(":")[2]

    def close(self) -> None:
        self._connection.close()

    def log_in(self, user: str, password: str, **more: Any) -> "Device":
        body = password_login(user, password) | more
        answer = self.call("POST", "/login", body)
        self.token, self.user_id = answer["access_token"], answer["user_id"]
        self.device_id = answer["device_id"]
        return self

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: dict[str, str] | None = None,
        **query: Any,
    ) -> Reply:
        """Send a request; `body` is bytes or JSON, `path` is below v3 unless it is whole."""
        sent = {"Content-Type": JSON} if body is not None else {}
        if self.token is not None:
            sent["Authorization"] = f"Bearer {self.token}"
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        target = path if path.startswith(("/_", "/.")) else V3 + path
        if query:
            target += "?" + urlencode({name.strip("_"): value for name, value in query.items()})
        self._connection.request(method, target, body, sent | (headers or {}))
        response = self._connection.getresponse()
        if self.url in looked_at and response.status < 300:
            succeeded.add((method, target.partition("?")[0]))
        return Reply(response.status, response.headers, response.read())

    def call(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """Send a request that must succeed, and return its JSON."""
        reply = self.ask(method, path, body, **query)
        assert reply.status == 200, (method, path, reply.content)
        return reply.json

    def refused(self, method: str, path: str, body: Any = None, **query: Any) -> tuple[int, str]:
        """Send a request that must not succeed, and return status and errcode."""
        return self.ask(method, path, body, **query).refusal

    def create_room(self, **wish: Any) -> str:
        return str(self.call("POST", "/createRoom", {"preset": "private_chat"} | wish)["room_id"])

    def say(self, room_id: str, text: str) -> str:
        content = {"msgtype": "m.text", "body": text}
        return self.send(room_id, "m.room.message", content)

    def send(self, room_id: str, event_type: str, content: Any, txn_id: str | None = None) -> str:
        path = send_path(room_id, event_type, txn_id)
        return str(self.call("PUT", path, content)["event_id"])

    def put_state(self, room_id: str, event_type: str, content: Any, state_key: str = "") -> str:
        path = state_path(room_id, event_type, state_key)
        return str(self.call("PUT", path, content)["event_id"])

    def state(self, room_id: str, event_type: str, state_key: str = "") -> Any:
        return self.call("GET", state_path(room_id, event_type, state_key))

    def sync(self, since: str | None = None, wanted: Any = None, **query: Any) -> Any:
        if since is not None:
            query["since"] = since
        if wanted is not None:
            query["filter"] = json.dumps(wanted)
        return self.call("GET", "/sync", None, **query)

    def next_batch(self) -> str:
        return str(self.sync(wanted={"room": {"rooms": []}})["next_batch"])


def password_login(user: str, password: str) -> dict[str, Any]:
    return {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": user},
        "password": password,
    }


def send_path(room_id: str, event_type: str, txn_id: str | None = None) -> str:
    txn_id = txn_id if txn_id is not None else f"conformance{next(_numbers)}"
    return f"/rooms/{part(room_id)}/send/{part(event_type)}/{part(txn_id)}"


def state_path(room_id: str, event_type: str, state_key: str = "") -> str:
    return f"/rooms/{part(room_id)}/state/{part(event_type)}/{part(state_key)}"
