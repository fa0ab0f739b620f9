"""What somebody's client sees of a room, and of another person in it."""

from typing import Any
from urllib.parse import quote

from homeserver.matrix.identifiers import ServerName
from homeserver.testing.client import Refused
from homeserver.testing.person import Person

_V3 = "/_matrix/client/v3"


async def get(person: Person, room_id: str, path: str, **parameters: str) -> Any:
    room = f"{_V3}/rooms/{quote(room_id)}/{path}"
    return await person.client.request("GET", room, parameters=parameters)


async def joined(person: Person, room_id: str) -> set[str]:
    return set((await get(person, room_id, "joined_members"))["joined"])


async def membership(person: Person, room_id: str, other: Person) -> str | None:
    try:
        path = f"state/m.room.member/{quote(other.user_id)}"
        return str((await get(person, room_id, path))["membership"])
    except Refused:
        return None


async def catch_up(person: Person) -> None:
    """Sync until nothing new comes: the device has then said that it had the last answer."""
    for _ in range(3):
        await person.sync()


def timeline(answer: dict[str, Any], room_id: str) -> list[dict[str, Any]]:
    room = answer.get("rooms", {}).get("join", {}).get(room_id)
    assert room is not None, f"the sync shows nothing of the room {room_id}"
    return list(room["timeline"]["events"])


def changes(events: list[dict[str, Any]], other: Person) -> list[str]:
    return [
        one["content"]["membership"]
        for one in events
        if one["type"] == "m.room.member" and one["state_key"] == other.user_id
    ]


async def asked(asker: Person, whom: Person, operation: str, body: dict[str, Any]) -> Any:
    """What another server answers to somebody's server."""
    requests = asker.server.built.peers.federation.requests
    server = ServerName(whom.server.server_name)
    return (await requests.ask(server, operation, body)).body
