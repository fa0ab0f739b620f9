"""Real clients with end-to-end encryption on one server: the same story with each of them."""

import pytest

from homeserver.testing.processes import Server
from tests.end_to_end import person
from tests.end_to_end.conftest import WithJs, WithNio
from tests.end_to_end.person import Person


async def talk_from_two_devices(phone: Person, laptop: Person) -> None:
    room_id = await phone.create_encrypted_room("notes to myself", [])
    await laptop.sees_member(room_id, phone.user_id)
    await person.chat(phone, laptop, room_id)
    await person.exchange_everything(phone, laptop, room_id)


async def share_files(phone: Person, laptop: Person) -> None:
    room_id = await phone.create_encrypted_room("pictures", [])
    await laptop.sees_member(room_id, phone.user_id)
    picture = person.png(800, 600)
    await person.show_picture(phone, room_id, "harbour.png", picture)
    seen, thumbnail = await person.look_at_picture(laptop, room_id, "harbour.png")
    assert seen == picture
    assert max(person.size_of(thumbnail)) == 64

    mxc_uri = await phone.upload(picture, "image/png")
    assert await laptop.download(mxc_uri) == picture
    shrunk = person.size_of(await laptop.thumbnail(mxc_uri, 96, 96))
    assert 96 <= max(shrunk) < 800


async def test_two_nio_devices_talk_encrypted(server: Server, with_nio: WithNio) -> None:
    await talk_from_two_devices(await with_nio(server), await with_nio(server))


async def test_nio_devices_share_files(server: Server, with_nio: WithNio) -> None:
    await share_files(await with_nio(server), await with_nio(server))


async def test_a_nio_device_that_logged_out_is_gone(server: Server, with_nio: WithNio) -> None:
    phone, laptop = await with_nio(server), await with_nio(server)
    devices = await laptop.device_ids()
    assert phone.device_id in devices
    await phone.log_out()
    assert set(devices) - set(await laptop.device_ids()) == {phone.device_id}


@pytest.mark.node
async def test_two_js_sdk_devices_talk_encrypted(server: Server, with_js: WithJs) -> None:
    await talk_from_two_devices(await with_js(server), await with_js(server))


@pytest.mark.node
async def test_js_sdk_devices_share_files_and_log_out(server: Server, with_js: WithJs) -> None:
    phone, laptop = await with_js(server), await with_js(server)
    await share_files(phone, laptop)
    await phone.log_out()


@pytest.mark.node
async def test_a_nio_and_a_js_sdk_device_talk_encrypted(
    server: Server, with_nio: WithNio, with_js: WithJs
) -> None:
    phone, laptop = await with_nio(server), await with_js(server)
    await talk_from_two_devices(phone, laptop)
    await share_files(laptop, phone)
