"""Backup and verification with matrix-nio, alone and together with matrix-js-sdk."""

from pathlib import Path

import pytest

from tests.end_to_end import nio_keys, person
from tests.end_to_end.conftest import Pair, WithClient, WithJs, WithNio
from tests.end_to_end.nio_keys import NioVerification


async def test_two_nio_users_on_two_servers_compare_words(
    checked_friends: Pair, with_nio: WithNio
) -> None:
    alice, bob = await with_nio(checked_friends.alice), await with_nio(checked_friends.bob)
    room_id = await alice.create_encrypted_room("talk", [bob.user_id])
    await bob.join(room_id)
    await alice.sees_member(room_id, bob.user_id)
    await person.chat(alice, bob, room_id, 1)
    hers, his = NioVerification(alice), NioVerification(bob)
    await hers.ask(bob.user_id, bob.device_id)
    await his.accept()
    words = await hers.words()
    assert words == await his.words()
    assert len(words) == 7
    await hers.confirm()
    await his.confirm()
    assert await hers.is_done()
    assert await his.is_done()
    await person.say(alice, room_id, "it is you")
    assert (await bob.hears(room_id, "it is you")).was_encrypted


@pytest.mark.node
async def test_a_nio_user_and_a_js_sdk_user_compare_words(
    checked_friends: Pair, with_nio: WithNio, with_js: WithJs
) -> None:
    alice, bob = await with_js(checked_friends.alice), await with_nio(checked_friends.bob)
    room_id = await alice.create_encrypted_room("talk", [bob.user_id])
    await bob.join(room_id)
    await alice.sees_member(room_id, bob.user_id)
    await person.chat(alice, bob, room_id, 1)
    await alice.does("knowsDevice", bob.user_id, bob.device_id)
    his = NioVerification(bob)
    await alice.does("askDevice", bob.user_id, bob.device_id)
    await his.answer_request()
    await alice.does("startSas")
    await his.accept()
    words = await his.words()
    assert words == await alice.does("sasWords")
    await alice.does("confirmSas")
    await his.confirm()
    assert await his.is_done()
    assert await alice.does("verified") == "done"
    assert await alice.does("isDeviceVerified", bob.user_id, bob.device_id)


@pytest.mark.node
async def test_a_nio_user_reads_and_writes_on_when_a_js_sdk_user_starts_anew(
    checked_friends: Pair, with_nio: WithNio, with_js: WithJs
) -> None:
    alice, bob = await with_js(checked_friends.alice), await with_nio(checked_friends.bob)
    await alice.does("setUpKeys", checked_friends.alice.password)
    room_id = await alice.create_encrypted_room("talk", [bob.user_id])
    await bob.join(room_id)
    await alice.sees_member(room_id, bob.user_id)
    await person.chat(alice, bob, room_id, 1)
    await alice.does("resetCrossSigning", checked_friends.alice.password)
    await person.say(alice, room_id, "with other keys")
    assert (await bob.hears(room_id, "with other keys")).was_encrypted
    await person.say(bob, room_id, "as before")
    assert (await alice.hears(room_id, "as before")).was_encrypted


async def test_a_new_nio_device_restores_every_room_key(
    checked_friends: Pair, with_nio: WithNio, with_client: WithClient, tmp_path: Path
) -> None:
    alice, phone = await with_nio(checked_friends.alice), await with_nio(checked_friends.bob)
    api = await with_client(checked_friends.bob)
    said = []
    for number in range(3):
        room_id = await alice.create_encrypted_room(f"room {number}", [phone.user_id])
        await phone.join(room_id)
        await alice.sees_member(room_id, phone.user_id)
        await person.chat(alice, phone, room_id, 1)
        said.append(room_id)
    sessions = await nio_keys.exported(phone, tmp_path)
    key = await nio_keys.back_up(phone, api, tmp_path)
    await phone.log_out()

    laptop = await with_nio(checked_friends.bob)
    for room_id in said:
        await laptop.knows(room_id)
        assert await laptop.readable(room_id) == ([], 2)
    assert await nio_keys.restore(laptop, api, key, tmp_path) == len(sessions)
    for room_id in said:
        assert await laptop.readable(room_id) == (["Alice says 0", "Bob says 0"], 0)
