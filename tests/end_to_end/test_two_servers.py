"""The main job: two people, two servers, consent by the command line, an encrypted conversation."""

import json

import pytest

from tests.end_to_end import person
from tests.end_to_end.conftest import Pair, WithJs, WithNio
from tests.end_to_end.person import Person


async def meet(alice: Person, bob: Person) -> str:
    room_id = await alice.create_encrypted_room("the two of us", [bob.user_id])
    await bob.join(room_id)
    await alice.sees_member(room_id, bob.user_id)
    return room_id


async def talk_and_share(alice: Person, bob: Person) -> None:
    room_id = await meet(alice, bob)
    await person.chat(alice, bob, room_id)
    await person.exchange_everything(alice, bob, room_id)
    for one, other, name in ((alice, bob, "harbour.png"), (bob, alice, "mountain.png")):
        picture = person.png(320, 240)
        await person.show_picture(one, room_id, name, picture)
        seen, thumbnail = await person.look_at_picture(other, room_id, name)
        assert seen == picture
        assert max(person.size_of(thumbnail)) == 64


def test_each_command_line_shows_the_other_server_as_active(pair: Pair) -> None:
    names = {one.user: one.status()["server_name"] for one in (pair.alice, pair.bob)}
    for one, other in ((pair.alice, "bob"), (pair.bob, "alice")):
        peers = json.loads(one.command("peers", "list", "--json").stdout)
        assert [(peer["server_name"], peer["standing"]) for peer in peers] == [
            (names[other], "active")
        ]
        assert one.status()["peers"]["active"] == 1


async def test_nio_talks_to_nio_across_two_servers(pair: Pair, with_nio: WithNio) -> None:
    await talk_and_share(await with_nio(pair.alice), await with_nio(pair.bob))


async def test_a_large_file_and_its_thumbnail_cross_unchanged(
    pair: Pair, with_nio: WithNio
) -> None:
    alice, bob = await with_nio(pair.alice), await with_nio(pair.bob)
    await meet(alice, bob)
    picture = person.png(1200, 900)
    assert len(picture) > 3 * 192 * 1024  # so that it travels in several parts
    mxc_uri = await alice.upload(picture, "image/png")
    assert await bob.download(mxc_uri) == picture
    width, height = person.size_of(await bob.thumbnail(mxc_uri, 96, 96))
    assert max(width, height) < 1200


async def test_a_message_sent_while_the_other_device_was_away_is_readable(
    pair: Pair, with_nio: WithNio
) -> None:
    alice, bob = await with_nio(pair.alice), await with_nio(pair.bob)
    room_id = await meet(alice, bob)
    pair.bob.stop()
    event_id = await person.say(alice, room_id, "while you slept")
    pair.bob.start()
    heard = await bob.hears(room_id, "while you slept")
    assert (heard.event_id, heard.was_encrypted) == (event_id, True)


@pytest.mark.node
async def test_nio_and_js_sdk_talk_across_two_servers(
    pair: Pair, with_nio: WithNio, with_js: WithJs
) -> None:
    await talk_and_share(await with_nio(pair.alice), await with_js(pair.bob))


@pytest.mark.node
async def test_a_js_sdk_user_can_invite_a_nio_user(
    pair: Pair, with_nio: WithNio, with_js: WithJs
) -> None:
    alice, bob = await with_js(pair.alice), await with_nio(pair.bob)
    await person.chat(alice, bob, await meet(alice, bob))
