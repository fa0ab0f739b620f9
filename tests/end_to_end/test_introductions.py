"""Alice and Carol only share a room of Bob's: they speak directly, without his server."""

from collections.abc import Iterator

import pytest

from homeserver.testing import processes
from homeserver.testing.processes import Server
from tests.end_to_end import person, story
from tests.end_to_end.conftest import WithNio

_SETTINGS = {
    "HOMESERVER__FEDERATION__STRANGERS_IN_ROOMS": "accept",
    "HOMESERVER__FEDERATION__DEFAULT_GRANTS__INTRODUCE": "true",
}


@pytest.fixture
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server, Server]]:
    """Alice and Bob are connected, and Bob and Carol."""
    alice, bob, carol = (
        Server(directory=tmp_path_factory.mktemp(user), user=user, environment=_SETTINGS)
        for user in ("alice", "bob", "carol")
    )
    with processes.running(alice, bob, carol):
        processes.connect(bob, alice)
        processes.connect(bob, carol)
        yield alice, bob, carol


async def test_who_was_introduced_speaks_encrypted_while_the_introducer_is_off(
    three: tuple[Server, Server, Server], with_nio: WithNio
) -> None:
    servers = three
    alice, bob, carol = [await with_nio(one) for one in servers]
    room_id = await bob.create_encrypted_room("Bob's", [alice.user_id, carol.user_id])
    for guest in (alice, carol):
        await guest.join(room_id)
    for one in (alice, bob, carol):
        for other in (alice, bob, carol):
            await one.sees_member(room_id, other.user_id)

    async def are_connected() -> bool:
        return all(one.status()["peers"] == {"active": 2} for one in (servers[0], servers[2]))

    await story.until(are_connected, "Alice and Carol are introduced")
    servers[1].kill()
    said = await person.say(alice, room_id, "Bob's server is off")
    await carol.hears(room_id, "Bob's server is off")
    await person.say(carol, room_id, "and we hear each other")
    heard = await alice.hears(room_id, "and we hear each other")
    assert said
    assert heard
    servers[1].start()
    await bob.hears(room_id, "Bob's server is off")
    await bob.hears(room_id, "and we hear each other")
