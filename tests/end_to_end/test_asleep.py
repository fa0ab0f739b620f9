"""What is said while a friend's server is off becomes readable for him, whoever was away when."""

import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from homeserver.testing import processes
from homeserver.testing.client import Client
from homeserver.testing.encrypted_client import eventually_true
from homeserver.testing.processes import Server
from tests.end_to_end import person
from tests.end_to_end.conftest import Pair, WithJs, WithNio
from tests.end_to_end.person import Person

LogIn = Callable[[Server], Awaitable[Person]]

THREE_WEEKS_LATER = (sys.executable, str(Path(__file__).with_name("days_ahead.py")), "21")


async def sleep_through(friends: Pair, as_alice: LogIn, as_bob: LogIn) -> None:
    """Bob's server is off; Alice writes from two devices; hers is off when his returns."""
    bob = await as_bob(friends.bob)
    phone = await as_alice(friends.alice)
    friends.bob.stop()
    room_id = await phone.create_encrypted_room("good night", [bob.user_id])
    said = [f"from the phone {number}" for number in range(50)]
    for text in said:
        await person.say(phone, room_id, text)
    await phone.log_out()
    laptop = await as_alice(friends.alice)
    await laptop.knows(room_id)
    more = [f"from the laptop {number}" for number in range(20)]
    for text in more:
        await person.say(laptop, room_id, text)

    friends.alice.stop()
    friends.bob.start()
    friends.alice.start()
    await bob.join(room_id)

    async def has_read_all() -> bool:
        return await bob.readable(room_id) == (said + more, 0)

    await eventually_true(has_read_all, "Bob reads everything")
    await person.say(bob, room_id, "good morning")
    await laptop.hears(room_id, "good morning")


async def test_matrix_nio_reads_all_after_both_servers_were_off(
    friends: Pair, with_nio: WithNio
) -> None:
    await sleep_through(friends, with_nio, with_nio)


@pytest.mark.node
async def test_matrix_js_sdk_reads_all_after_both_servers_were_off(
    friends: Pair, with_js: WithJs
) -> None:
    await sleep_through(friends, with_js, with_js)


@pytest.mark.node
async def test_matrix_js_sdk_writes_to_matrix_nio_that_sleeps(
    friends: Pair, with_nio: WithNio, with_js: WithJs
) -> None:
    await sleep_through(friends, with_js, with_nio)


@pytest.mark.node
async def test_matrix_nio_writes_to_matrix_js_sdk_that_sleeps(
    friends: Pair, with_nio: WithNio, with_js: WithJs
) -> None:
    await sleep_through(friends, with_nio, with_js)


@pytest.fixture
def ageing(tmp_path: Path) -> Iterator[Pair]:
    """Two connected servers of their own, whose clocks a test may put forward."""
    alice, bob = (Server(directory=tmp_path / user, user=user) for user in ("alice", "bob"))
    with processes.running(alice, bob):
        processes.connect(alice, bob)
        yield Pair(alice, bob)


def begin_three_weeks_later(server: Server) -> None:
    server.stop()
    server.launcher = THREE_WEEKS_LATER
    server.start()


async def devices_without_keys(server: Server) -> list[str]:
    """What the owner was told: which devices of others there were no keys for."""
    async with Client(server.url) as admin:
        admin.access_token = (server.data_dir / "admin.token").read_text().strip()
        told = await admin.request("GET", "/_homeserver/admin/v1/notices")
    return [
        device
        for one in told["notices"]
        if one["kind"] == "no_key"
        for device in one["content"]["devices"]
    ]


@pytest.mark.node
async def test_three_weeks_away_with_the_fallback_key_of_matrix_js_sdk(
    ageing: Pair, with_js: WithJs
) -> None:
    """Several devices use the one fallback key; what comes after its time has no key."""
    bob = await with_js(ageing.bob)
    phone = await with_js(ageing.alice)
    ageing.bob.stop()
    room_id = await phone.create_encrypted_room("three weeks", [bob.user_id])
    await person.say(phone, room_id, "from device 0")
    for number in range(1, 6):
        device = await with_js(ageing.alice)
        await device.knows(room_id)
        await person.say(device, room_id, f"from device {number}")
    assert await devices_without_keys(ageing.alice) == []

    begin_three_weeks_later(ageing.alice)
    late = await with_js(ageing.alice)
    await late.knows(room_id)
    await person.say(late, room_id, "too late for a key")
    await person.say(phone, room_id, "with a session from before")
    assert len(await devices_without_keys(ageing.alice)) == 1

    begin_three_weeks_later(ageing.bob)
    await bob.join(room_id)
    expected = [f"from device {number}" for number in range(6)]

    async def has_read_what_it_can() -> bool:
        return await bob.readable(room_id) == ([*expected, "with a session from before"], 1)

    await eventually_true(has_read_what_it_can, "Bob reads all that there was a key for")
    fresh = await with_js(ageing.alice)
    await fresh.knows(room_id)
    await person.say(fresh, room_id, "welcome back")
    await bob.hears(room_id, "welcome back")
