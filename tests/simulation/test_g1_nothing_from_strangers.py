"""G1: nothing from someone I did not accept reaches my clients.

The same scripted day is told with and without a stranger who has valid keys and tries every route.
"""

import json
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock, patch

import pytest

from homeserver.outbound import Answer, Outbound
from homeserver.testing.adversaries import Stranger
from homeserver.testing.person import Person
from homeserver.testing.world import HOUR, World


class Gateway:
    """A push gateway without a socket: every word that it is told."""

    url = "https://push.example/_matrix/push/v1/notify"

    def __init__(self) -> None:
        self.told: list[str] = []

    async def take(self, url: str, body: bytes, **_bounds: Any) -> Answer:
        assert url == self.url
        self.told.append(body.decode())
        return Answer(200, b"{}")

    async def is_set_for(self, person: Person) -> None:
        """Let it be told what happens to somebody."""
        server = person.server
        allowed = server.config.push.model_copy(update={"gateways": (self.url,)})
        server.config = server.config.model_copy(update={"push": allowed})
        await server.restart()
        pusher = {"kind": "http", "app_id": "app", "pushkey": "key", "lang": "en"}
        names = {"app_display_name": "app", "device_display_name": "telephone"}
        body = {**pusher, **names, "data": {"url": self.url}}
        await person.client.request("POST", "/_matrix/client/v3/pushers/set", body)


async def _look(person: Person) -> str:
    """All that a client is shown, from the beginning; word for word."""
    person.forget_syncs()
    seen: dict[str, Any] = await person.client.sync()
    for invitation in await person.server.admin("GET", "/invitations"):
        seen.setdefault("invitations", []).append(invitation)
    seen["peers"] = [(one["name"], one["standing"]) for one in await person.peers()]
    seen["audit"] = await person.audit()
    return json.dumps(seen, sort_keys=True)


async def _a_day(world: World, gateway: Gateway, *, has_stranger: bool) -> list[str]:
    stranger = Stranger(world.network, world.seed)
    seen = []

    async def disturb() -> None:
        if has_stranger:
            for person in world.people.values():
                await stranger.knock_everywhere(person.server, boxes=3)

    alice, bob = await world.befriended("alice", "bob")
    await gateway.is_set_for(alice)
    await alice.invitation()
    await disturb()
    room_id = await world.room(alice, bob)
    for hour in range(4):
        await alice.say(room_id, f"alice at {hour}")
        await disturb()
        await bob.say(room_id, f"bob at {hour}")
        await world.pass_time(HOUR)
        if has_stranger and hour == 1:
            await stranger.try_every_method(alice.server)
            statuses = await stranger.try_every_route(alice.server)
            # What says who answers, what one needs to log in, and nothing of the owner.
            assert set(statuses) <= {200, 307, 400, 401, 403, 404, 405, 413, 415, 429}
        await disturb()
        seen += [await _look(person) for person in (alice, bob)]
    await world.settle()
    assert len(gateway.told) >= 4  # each time that Bob said something
    return [*seen, *gateway.told, *[await _look(person) for person in (alice, bob)]]


def _told(directory: Path, seed: int, *, has_stranger: bool) -> tuple[list[str], list[Any]]:
    world, gateway = World(directory, seed), Gateway()
    try:
        with patch.object(Outbound, "post", AsyncMock(side_effect=gateway.take)):
            seen = world.run(_a_day(world, gateway, has_stranger=has_stranger))
        passages = [(one.source, one.target, one.size) for one in world.network.passages]
        return seen, passages
    finally:
        world.close()


@pytest.mark.seeds(1)
def test_a_day_with_a_stranger_is_the_day_without(tmp_path: Path, seed: int) -> None:
    seen, passages = _told(tmp_path / "quiet", seed, has_stranger=False)
    disturbed, passages_then = _told(tmp_path / "disturbed", seed, has_stranger=True)
    assert disturbed == seen
    assert passages_then == passages  # nor does his noise make us say anything to anybody


def test_every_knock_gets_the_one_answer(tmp_path: Path, seed: int) -> None:
    world = World(tmp_path, seed)
    try:
        stranger = Stranger(world.network, seed)  # who overhears at which addresses they meet
        alice, _ = world.run(world.befriended("alice", "bob"))
        answers = world.run(stranger.knock_everywhere(alice.server, boxes=10))
        assert len(set(answers)) == 1
        by_method = world.run(stranger.try_every_method(alice.server))
        assert {body for _, body in by_method if body} == {answers[0].partition(b" ")[2]}
        assert {str(status).encode() for status, _ in by_method} == {answers[0].partition(b" ")[0]}
    finally:
        world.close()
