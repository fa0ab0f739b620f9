"""G11: a revoked peer cannot read what is encrypted after the revoke, even if it is passed on.

Alice writes with matrix-js-sdk (rust crypto) and with matrix-nio. Carol is connected with both, so
that her server passes on to Bob's what Alice says. After a new consent everything flows again.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from homeserver.testing import encrypted_client, processes
from homeserver.testing.encrypted_client import NioClient
from homeserver.testing.processes import VODOZEMAC, Server
from tests.end_to_end import person, story
from tests.end_to_end.conftest import WithJs, WithNio
from tests.end_to_end.js_client import JsClient


@dataclass(frozen=True, slots=True)
class Three:
    alice: Server
    bob: Server
    carol: Server


@pytest.fixture
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Three]:
    alice, bob, carol = (
        Server(directory=tmp_path_factory.mktemp(user), user=user, environment=environment)
        for user, environment in (("alice", VODOZEMAC), ("bob", VODOZEMAC), ("carol", {}))
    )
    with processes.running(alice, bob, carol):
        for one, other in ((alice, bob), (alice, carol), (bob, carol)):
            processes.connect(one, other)
        yield Three(alice, bob, carol)


@dataclass(frozen=True, slots=True)
class People:
    js: JsClient
    nio: NioClient
    bob: NioClient
    carol: NioClient
    room_id: str

    async def hear_each_other(self, what: str) -> None:
        """Each of Alice's devices says something that Bob and Carol read, and Bob answers."""
        for name, device in (("js", self.js), ("nio", self.nio)):
            await person.say(device, self.room_id, f"{name} {what}")
            for reader in (self.bob, self.carol):
                assert (await reader.hears(self.room_id, f"{name} {what}")).was_encrypted
        await person.say(self.bob, self.room_id, f"bob {what}")
        listeners: tuple[JsClient | NioClient, ...] = (self.js, self.nio, self.carol)
        for listener in listeners:
            await listener.hears(self.room_id, f"bob {what}")


async def _meet(three: Three, with_js: WithJs, with_nio: WithNio) -> People:
    js, nio = await with_js(three.alice), await with_nio(three.alice)
    bob, carol = await with_nio(three.bob), await with_nio(three.carol)
    room_id = await nio.create_encrypted_room("all three", [bob.user_id, carol.user_id])
    for guest in (bob, carol):
        await guest.join(room_id)
    await js.knows(room_id)
    for one in (js, nio, bob, carol):
        for user_id in {nio.user_id, bob.user_id, carol.user_id} - {one.user_id}:
            await one.sees_member(room_id, user_id)
    return People(js, nio, bob, carol, room_id)


async def _see_bob_gone(people: People) -> None:
    room_id, bob = people.room_id, people.bob.user_id
    await people.js.does("seesGone", room_id, bob)
    rooms = people.nio.library.rooms
    await encrypted_client.eventually(lambda: bob not in rooms[room_id].users, "Bob gone")


async def test_a_revoked_peer_cannot_read_on_until_a_new_consent(
    three: Three, with_js: WithJs, with_nio: WithNio
) -> None:
    people = await _meet(three, with_js, with_nio)
    room_id, bob, carol = people.room_id, people.bob, people.carol
    await people.hear_each_other("before")

    bob_server, alice_server = (one.user_id.split(":", 1)[1] for one in (bob, people.nio))
    three.alice.command("peers", "revoke", bob_server)
    await _see_bob_gone(people)
    for name, device in (("js", people.js), ("nio", people.nio)):
        await person.say(device, room_id, f"{name} meanwhile")
        assert (await carol.hears(room_id, f"{name} meanwhile")).was_encrypted
    await person.say(carol, room_id, "carol passes it on")
    await bob.hears(room_id, "carol passes it on")

    async def has_the_ciphertexts() -> bool:
        return (await bob.readable(room_id))[1] == 2

    await story.until(has_the_ciphertexts, "Bob's client holds what Alice encrypted")
    texts, _ = await bob.readable(room_id)
    assert not [text for text in texts if text.endswith("meanwhile")]

    await person.say(bob, room_id, "bob meanwhile")
    await carol.hears(room_id, "bob meanwhile")
    await person.say(carol, room_id, "carol answers him")
    for device in (people.js, people.nio):
        await device.hears(room_id, "carol answers him")
    assert "bob meanwhile" not in (await people.nio.readable(room_id))[0]

    three.bob.command("peers", "revoke", alice_server)
    processes.connect(three.alice, three.bob)
    for device in (people.js, people.nio):
        await device.sees_member(room_id, bob.user_id)
    await bob.sees_member(room_id, people.nio.user_id)
    await people.hear_each_other("afterwards")
    texts, unreadable = await bob.readable(room_id)
    assert unreadable == 2
    assert not [text for text in texts if text.endswith("meanwhile") and "bob" not in text]
