"""What leaves beyond a grant is told, once the product's own check of it is taken away.

That nothing is told while the checks are there is shown by every other test of this folder.
"""

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from federation.peer_network import ConnectedPeers
from federation.replication import media_parts, people
from federation.replication.answers import Answers
from homeserver.matrix.identifiers import RoomId, ServerName
from homeserver.storage import meetings
from homeserver.storage.meetings import Wish
from homeserver.testing.client import Refused
from homeserver.testing.invariants import Broken
from homeserver.testing.person import Person
from homeserver.testing.world import World
from tests.simulation.test_introductions import chain, meet, strangers

_PROFILE = "/_matrix/client/v3/profile"
_FILE_BYTES = 5_000

Remove = Callable[[pytest.MonkeyPatch], None]
Story = Callable[[World, Callable[[], None]], Awaitable[None]]


def show_the_whole_profile(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(people, "_granted", lambda _view, _peer, found: found)


async def a_profile(world: World, remove: Callable[[], None]) -> None:
    alice, bob = await world.befriended("alice", "bob")
    path = f"{_PROFILE}/{quote(alice.user_id)}"
    await alice.client.request("PUT", f"{path}/displayname", {"displayname": "Alice A."})
    await alice.client.request("PUT", f"{path}/avatar_url", {"avatar_url": "mxc://a/picture"})
    await alice.grant(bob, profile="name")
    await world.settle()
    remove()
    await bob.client.request("GET", path)


def send_files_of_any_size(patch: pytest.MonkeyPatch) -> None:
    answer = media_parts.answer_download

    async def whatever_is_wanted(media: Any, body: dict[str, Any]) -> Any:
        return await answer(media, {**body, "most_bytes": None})

    patch.setattr(media_parts, "answer_download", whatever_is_wanted)


def fetch_files_of_anybody(patch: pytest.MonkeyPatch) -> None:
    async def fetch(self: ConnectedPeers, peer: ServerName, media_id: str) -> Any:
        ask = self._questions.ask_for_bytes
        return await media_parts.fetch(ask, peer, media_id, _FILE_BYTES)

    patch.setattr(ConnectedPeers, "fetch_media", fetch)


def a_file(most_bytes: int) -> Story:
    async def story(world: World, remove: Callable[[], None]) -> None:
        alice, bob = await world.befriended("alice", "bob")
        file = await bob.client.upload(bytes(_FILE_BYTES), "application/octet-stream")
        await alice.grant(bob, media_max_bytes=most_bytes)
        await world.settle()
        remove()
        await try_to_open(alice, file)

    return story


async def try_to_open(person: Person, file: str) -> None:
    with contextlib.suppress(Refused):  # what left has left all the same
        await person.client.download(file)


def hand_out_files_of_all_rooms(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Answers, "_check_file", lambda *_arguments: None)


async def a_file_of_another_room(world: World, remove: Callable[[], None]) -> None:
    alice, bob, carol = await chain(world, "accept", "accept", "accept")
    await meet(world, alice, bob, carol)
    private = await world.room(alice, bob)
    await alice.send_file(private, _FILE_BYTES)
    await world.settle()
    remove()
    (file,) = [
        event["content"]["url"]
        for event in await alice.timeline(private)
        if "url" in event["content"]
    ]
    await try_to_open(carol, file)


def tell_everybody_whom_i_want_to_meet(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("federation.introductions.strangers.introducers", meetings.carrying)


def call_no_wish_off(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("homeserver.storage.withdrawing.withdraw", lambda *_arguments: None)


def pass_on_at_once(patch: pytest.MonkeyPatch) -> None:
    def find(_view: object, asker: ServerName, target: ServerName, room_id: RoomId) -> Wish:
        return Wish(asker, target, room_id, b'{"proof":{}}', 0)

    patch.setattr(meetings, "find_wish", find)


async def a_wish_to_somebody_who_may_not_introduce(
    world: World, remove: Callable[[], None]
) -> None:
    alice, bob, carol = await chain(world, "accept", "accept", "accept")
    await carol.grant(bob, introduce=False)
    await world.settle()
    remove()
    await meet(world, alice, bob, carol)


async def wish_while_the_introducer_sleeps(world: World) -> list[Person]:
    """Alice, Bob and Carol, whom Alice wishes to meet: that waits for Bob."""
    people = await chain(world, "ask", "accept", "accept")
    alice, bob, _ = people
    room_id = await meet(world, *people)
    await bob.server.stop()
    await alice.say(room_id, "in flight, and everything else behind it")
    await world.pass_time(60.0)
    await alice.server.admin("POST", f"/strangers/{quote(room_id)}/agree", {})
    await world.pass_time(60.0)
    return people


async def a_wish_that_waits(world: World, remove: Callable[[], None]) -> None:
    alice, bob, _ = await wish_while_the_introducer_sleeps(world)
    remove()
    await alice.grant(bob, introduce=False)
    await bob.server.start()


async def a_wish_of_one_only(world: World, remove: Callable[[], None]) -> None:
    alice, bob, carol = await chain(world, "ask", "accept", "accept")
    remove()
    await meet(world, alice, bob, carol)


def answer_anything(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("federation.requests._may_ask", lambda *_arguments: True)
    patch.setattr("federation.peer_network._check_scope", lambda *_arguments: None)


async def a_question_beyond_the_room(world: World, remove: Callable[[], None]) -> None:
    alice, bob, carol = await chain(world, "accept", "accept", "accept")
    await meet(world, alice, bob, carol)
    remove()
    network = carol.server.built.peers.network
    await network.ask(ServerName(alice.server.server_name), "publicRooms", {})


def carry_every_room(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("federation.replication.access.is_carried", lambda *_arguments: True)


async def a_room_in_which_only_one_agreed(world: World, remove: Callable[[], None]) -> None:
    alice, bob, carol = await chain(world, "ask", "accept", "accept")
    first = await meet(world, alice, bob, carol)
    await alice.server.admin("POST", f"/strangers/{quote(first)}/agree", {})
    await world.settle()
    second = await meet(world, alice, bob, carol)
    assert [one["said"] for one in (await strangers(alice))[-1]["servers"]] == ["asked"]
    remove()
    await alice.say(second, "not for carol")


@dataclass(frozen=True, slots=True)
class Removal:
    """What is taken away, the story in which it counts, and what has to be said."""

    remove: Remove
    story: Story
    told: str

    def __str__(self) -> str:
        return self.remove.__name__


REMOVALS = [
    Removal(show_the_whole_profile, a_profile, "alice sent bob avatar_url of a profile"),
    Removal(
        send_files_of_any_size,
        a_file(_FILE_BYTES - 1),
        f"bob sent alice {_FILE_BYTES} bytes of a file of {_FILE_BYTES}",
    ),
    Removal(fetch_files_of_anybody, a_file(0), "alice sent bob a question for a file"),
    Removal(
        hand_out_files_of_all_rooms,
        a_file_of_another_room,
        "alice sent carol a file of other rooms",
    ),
    Removal(
        tell_everybody_whom_i_want_to_meet,
        a_wish_to_somebody_who_may_not_introduce,
        "carol sent bob a wish to be introduced",
    ),
    Removal(call_no_wish_off, a_wish_that_waits, "alice sent bob a wish to be introduced"),
    Removal(
        pass_on_at_once,
        a_wish_of_one_only,
        "bob sent alice an introduction to .*, for which it has not asked",
    ),
    Removal(
        answer_anything,
        a_question_beyond_the_room,
        "carol sent alice publicRooms over a .*; alice sent carol an answer to publicRooms",
    ),
    Removal(
        carry_every_room,
        a_room_in_which_only_one_agreed,
        "alice sent carol something of the room .*, in which they have not met",
    ),
]


@pytest.mark.parametrize("removal", REMOVALS, ids=str)
def test_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, removal: Removal) -> None:
    async def story(world: World) -> None:
        await removal.story(world, lambda: removal.remove(monkeypatch))
        await world.settle()

    world = World(tmp_path, 1)
    try:
        with pytest.raises(Broken, match=removal.told):
            world.run(story(world))
    finally:
        world.close()
