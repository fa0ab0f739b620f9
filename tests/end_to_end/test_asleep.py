"""What is said while a friend's server is off becomes readable for him, whoever was away when."""

from collections.abc import Awaitable, Callable

import pytest

from homeserver.testing.encrypted_client import eventually_true
from homeserver.testing.processes import Server
from tests.end_to_end import person
from tests.end_to_end.conftest import Pair, WithJs, WithNio
from tests.end_to_end.person import Person

LogIn = Callable[[Server], Awaitable[Person]]


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
