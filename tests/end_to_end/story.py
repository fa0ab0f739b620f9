"""Pieces of stories told with the small client: meet in a room, talk, compare what each has."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from homeserver.testing.client import Client, Refused
from homeserver.testing.encrypted_client import PATIENCE_S


async def meet(host: Client, guest: Client) -> str:
    """Create a plain room, invite, and join from the other server."""
    room_id = await host.create_room(invite=[guest.user_id])
    await wait_for_invite(guest, room_id)
    await guest.join(room_id)
    await until(lambda: has_joined(host, room_id, guest.user_id), "the guest joined")
    return room_id


async def wait_for_invite(guest: Client, room_id: str) -> None:
    async def is_invited() -> bool:
        answer = await guest.sync(timeout_ms=500)
        return room_id in answer.get("rooms", {}).get("invite", {})

    await until(is_invited, "an invite")


async def has_joined(client: Client, room_id: str, user_id: str) -> bool:
    try:
        member = await client.state(room_id, "m.room.member", user_id)
    except Refused:
        return False
    return bool(member["membership"] == "join")


async def hears(client: Client, room_id: str, text: str) -> None:
    """Wait until somebody has said so in the room."""

    async def has_heard() -> bool:
        said = [event["content"].get("body") for event in await client.timeline(room_id)]
        return text in said

    await until(has_heard, f"{text!r} is heard")


async def texts(client: Client, room_id: str, sender: str) -> list[str]:
    """What one sender said in a room, oldest first, as this client's server has it."""
    return [body for _, body in await messages(client, room_id, sender)]


async def messages(client: Client, room_id: str, sender: str) -> list[tuple[str, str]]:
    """Event IDs and texts of one sender, oldest first, as this client's server has them."""
    return [
        (event["event_id"], event["content"]["body"])
        for event in await client.timeline(room_id)
        if event["type"] == "m.room.message" and event["sender"] == sender
    ]


async def memberships(client: Client, room_id: str) -> list[dict[str, Any]]:
    timeline = await client.timeline(room_id)
    return [event for event in timeline if event["type"] == "m.room.member"]


async def send_many(client: Client, room_id: str, wanted: list[str], at_once: int = 20) -> None:
    """Send texts, several in flight; the server decides their order."""
    waiting = iter(wanted)

    async def send_on() -> None:
        for text in waiting:
            await client.send_text(room_id, text)

    await asyncio.gather(*(send_on() for _ in range(at_once)))


async def until_heard(
    listener: Client, room_id: str, sender: str, words: list[str], patience_s: float = PATIENCE_S
) -> None:
    """Wait until a sender's words have arrived; fails at once if one of them came twice."""

    async def has_all() -> bool:
        heard = await texts(listener, room_id, sender)
        assert len(set(heard)) == len(heard)
        return set(words) <= set(heard)

    await until(has_all, f"{len(words)} messages of {sender} arrived", patience_s)


async def until(
    look: Callable[[], Awaitable[bool]], what: str, patience_s: float = PATIENCE_S
) -> None:
    """Look until it is so."""
    limit = time.monotonic() + patience_s
    while not await look():
        if time.monotonic() > limit:
            raise AssertionError(f"did not happen in {patience_s:.0f} s: {what}")
        await asyncio.sleep(0.05)
