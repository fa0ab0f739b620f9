"""Backup, secret storage, a dehydrated device, verification and shared history with js-sdk."""

import asyncio

import pytest

from tests.end_to_end import person
from tests.end_to_end.conftest import Pair, WithJs
from tests.end_to_end.js_client import JsClient

pytestmark = pytest.mark.node


async def talk(alice: JsClient, bob: JsClient) -> str:
    room_id = await alice.create_encrypted_room("talk", [bob.user_id])
    await bob.join(room_id)
    await alice.sees_member(room_id, bob.user_id)
    await person.chat(alice, bob, room_id, 1)
    return room_id


async def verify(asking: JsClient, asked: JsClient) -> None:
    """From a request that was sent to both having compared the same words."""
    await asked.does("acceptRequest")
    await asking.does("startSas")
    await asked.does("joinSas")
    words = await asyncio.gather(asking.does("sasWords"), asked.does("sasWords"))
    assert words[0] == words[1]
    assert len(words[0]) == 7
    await asking.does("confirmSas")
    await asked.does("confirmSas")
    assert [await one.does("verified") for one in (asking, asked)] == ["done", "done"]


async def test_people_on_two_servers_verify_each_other_in_a_room_to_devices_and_by_a_code(
    checked_friends: Pair, with_js: WithJs
) -> None:
    alice, bob = await with_js(checked_friends.alice), await with_js(checked_friends.bob)
    await alice.does("setUpKeys", checked_friends.alice.password)
    await bob.does("setUpKeys", checked_friends.bob.password)
    room_id = await talk(alice, bob)
    tablet = await bob.does("deviceId")
    await alice.does("knowsDevice", bob.user_id, tablet)
    assert not await alice.does("isUserVerified", bob.user_id)

    await alice.does("askDevice", bob.user_id, tablet)
    await verify(alice, bob)

    await alice.does("askInRoom", bob.user_id, room_id)
    await verify(alice, bob)
    await alice.does("seesUserVerified", bob.user_id)
    await bob.does("seesUserVerified", alice.user_id)

    # Whoever starts anew is somebody else until he was compared again.
    await bob.does("resetCrossSigning", checked_friends.bob.password)
    await alice.does("seesUserNotVerified", bob.user_id)
    await alice.does("askInRoom", bob.user_id, room_id)
    await bob.does("acceptRequest")
    await alice.does("scanCode", await bob.does("showCode"))
    await bob.does("confirmScanned")
    assert [await one.does("verified") for one in (alice, bob)] == ["done", "done"]
    await alice.does("seesUserVerified", bob.user_id)
    await person.say(alice, room_id, "still you")
    assert (await bob.hears(room_id, "still you")).was_encrypted


async def test_a_new_device_restores_every_room_key_and_reads_what_came_while_none_was_there(
    checked_friends: Pair, with_js: WithJs
) -> None:
    alice, phone = await with_js(checked_friends.alice), await with_js(checked_friends.bob)
    key = await phone.does("setUpKeys", checked_friends.bob.password)
    room_id = await talk(alice, phone)
    await phone.does("dehydrate", None)
    sessions = await phone.does("exportedSessions")
    await phone.does("seesBackedUp", len(sessions))
    await phone.log_out()
    await alice.does("knowsDehydrated", phone.user_id)
    await person.say(alice, room_id, "while nobody was there")

    laptop = await with_js(checked_friends.bob)
    restored = await laptop.does("restoreBackup", key)
    assert restored["imported"] == restored["total"] == len(sessions)
    assert await laptop.does("exportedSessions") == sessions
    await laptop.does("dehydrate", key)
    await laptop.knows(room_id)
    texts, unreadable = await laptop.readable(room_id)
    assert (texts, unreadable) == (
        ["Alice says 0", "Bob says 0", "while nobody was there"],
        0,
    )


async def test_who_is_invited_reads_what_was_said_before(
    checked_friends: Pair, with_js: WithJs
) -> None:
    alice, bob = await with_js(checked_friends.alice), await with_js(checked_friends.bob)
    await alice.does("setUpKeys", checked_friends.alice.password)
    await bob.does("setUpKeys", checked_friends.bob.password)
    await talk(alice, bob)  # so that they know each other's keys
    room_id = await alice.create_encrypted_room("before", [])
    await person.say(alice, room_id, "said before he came")
    await alice.does("inviteSharing", room_id, bob.user_id)
    await bob.join(room_id)
    await bob.does("readsAll", room_id, ["said before he came"])
