"""Three people who are all connected, in one room: events are encrypted once for both others."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from homeserver.testing import processes
from homeserver.testing.client import Client
from homeserver.testing.processes import Server
from tests.end_to_end import person, story
from tests.end_to_end.conftest import WithClient, WithNio


@dataclass(frozen=True, slots=True)
class Three:
    """Three servers, each connected with both others."""

    alice: Server
    bob: Server
    carol: Server


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Three]:
    alice, bob, carol = (
        Server(
            directory=tmp_path_factory.mktemp(user),
            user=user,
            environment={"HOMESERVER__FEDERATION__RATCHETS": ratchets},
        )
        for user, ratchets in (
            ("alice", "python-olm"),
            ("bob", "vodozemac"),
            ("carol", "python-olm"),
        )
    )
    with processes.running(alice, bob, carol):
        processes.connect(alice, bob)
        processes.connect(alice, carol)
        processes.connect(bob, carol)
        yield Three(alice, bob, carol)


async def gather_in_a_room(host: Client, *guests: Client) -> str:
    room_id = await host.create_room(invite=[guest.user_id for guest in guests])
    for guest in guests:
        await story.wait_for_invite(guest, room_id)
        await guest.join(room_id)
    everybody = (host, *guests)
    for one in everybody:
        for other in everybody:
            await wait_for_member(one, room_id, other.user_id)
    return room_id


async def wait_for_member(client: Client, room_id: str, user_id: str) -> None:
    await story.until(
        lambda: story.has_joined(client, room_id, user_id), f"{client.user_id} sees {user_id}"
    )


async def test_everybody_gets_everything_in_each_speakers_order(
    three: Three, with_client: WithClient
) -> None:
    people = [await with_client(one) for one in (three.alice, three.bob, three.carol)]
    room_id = await gather_in_a_room(*people)
    for speaker in people:
        words = [f"{speaker.user_id[:6]} {number}" for number in range(20)]
        await story.send_many(speaker, room_id, words)
    for speaker in people:
        said = await story.messages(speaker, room_id, speaker.user_id)
        assert len(said) == 20
        for listener in people:
            await story.until_heard(listener, room_id, speaker.user_id, [text for _, text in said])
            assert await story.messages(listener, room_id, speaker.user_id) == said


async def test_one_who_was_away_gets_what_both_others_said(
    three: Three, with_client: WithClient
) -> None:
    alice, bob, carol = [await with_client(one) for one in (three.alice, three.bob, three.carol)]
    room_id = await gather_in_a_room(alice, bob, carol)
    three.carol.kill()
    await story.send_many(alice, room_id, ["Alice, while Carol is away"])
    await story.until_heard(bob, room_id, alice.user_id, ["Alice, while Carol is away"])
    await story.send_many(bob, room_id, ["Bob, while Carol is away"])
    three.carol.start()
    await story.until_heard(carol, room_id, alice.user_id, ["Alice, while Carol is away"])
    await story.until_heard(carol, room_id, bob.user_id, ["Bob, while Carol is away"])
    await story.send_many(carol, room_id, ["Carol is back"])
    for listener in (alice, bob):
        await story.until_heard(listener, room_id, carol.user_id, ["Carol is back"])


async def test_one_who_leaves_hears_no_more(three: Three, with_client: WithClient) -> None:
    alice, bob, carol = [await with_client(one) for one in (three.alice, three.bob, three.carol)]
    room_id = await gather_in_a_room(alice, bob, carol)
    await carol.request("POST", f"/_matrix/client/v3/rooms/{room_id}/leave", {})
    await story.until(lambda: has_left(alice, room_id, carol.user_id), "Carol left")
    await alice.send_text(room_id, "between the two of us")
    await story.until_heard(bob, room_id, alice.user_id, ["between the two of us"])
    assert "between the two of us" not in await story.texts(carol, room_id, alice.user_id)


async def has_left(client: Client, room_id: str, user_id: str) -> bool:
    member = await client.state(room_id, "m.room.member", user_id)
    return bool(member["membership"] == "leave")


async def test_three_nio_users_talk_encrypted(three: Three, with_nio: WithNio) -> None:
    alice, bob, carol = [await with_nio(one) for one in (three.alice, three.bob, three.carol)]
    room_id = await alice.create_encrypted_room("all three", [bob.user_id, carol.user_id])
    for guest in (bob, carol):
        await guest.join(room_id)
    for one in (alice, bob, carol):
        for other in (alice, bob, carol):
            await one.sees_member(room_id, other.user_id)
    for name, speaker in (("Alice", alice), ("Bob", bob), ("Carol", carol)):
        await person.say(speaker, room_id, f"{name} to everybody")
        for listener in {alice, bob, carol} - {speaker}:
            heard = await listener.hears(room_id, f"{name} to everybody")
            assert heard.was_encrypted
