"""matrix-js-sdk by sliding sync: is invited, joins, and learns that an invitation ended."""

from contextlib import AsyncExitStack

from homeserver.testing.processes import Server
from tests.end_to_end import js_client
from tests.end_to_end.conftest import Pair, WithJs
from tests.end_to_end.js_client import JsClient

TEXT = "m.room.message"


def _text(body: str) -> dict[str, str]:
    return {"msgtype": "m.text", "body": body}


async def _slide(stack: AsyncExitStack, server: Server) -> JsClient:
    return await stack.enter_async_context(
        js_client.js_client(server.url, server.user, server.password, slides=True)
    )


async def test_a_sliding_client_is_invited_and_joins(
    friends: Pair, stack: AsyncExitStack, with_js: WithJs
) -> None:
    alice, bob = await with_js(friends.alice), await _slide(stack, friends.bob)
    room_id = await alice.create_encrypted_room("Invited", [bob.user_id])
    await bob.join(room_id)
    await alice.sees_member(room_id, bob.user_id)
    await alice.send(room_id, TEXT, _text("welcome"))
    assert (await bob.hears(room_id, "welcome")).was_encrypted


async def test_every_device_learns_that_an_invitation_ended(
    friends: Pair, stack: AsyncExitStack, with_js: WithJs
) -> None:
    alice = await with_js(friends.alice)
    classic, sliding = await with_js(friends.bob), await _slide(stack, friends.bob)

    async def invite(name: str) -> str:
        room_id = await alice.create_encrypted_room(name, [classic.user_id])
        for device in (classic, sliding):
            await device.does("seesMyself", room_id, "invite")
        return room_id

    async def is_over(room_id: str) -> None:
        for device in (classic, sliding):
            await device.does("seesMyself", room_id, "leave")

    revoked = await invite("Revoked")
    await alice.does("kick", revoked, classic.user_id)
    await is_over(revoked)
    for number, device in enumerate((classic, sliding)):
        rejected = await invite(f"Rejected {number}")
        await device.does("leave", rejected)
        await is_over(rejected)
