"""Profiles of peers: known from the first moment, while they sleep, no longer than they wish."""

from typing import Any
from urllib.parse import quote

from homeserver.testing.client import Refused
from homeserver.testing.person import Person
from homeserver.testing.simulated import simulated
from homeserver.testing.world import World

_V3 = "/_matrix/client/v3"


async def _profile(alice: Person, bob: Person) -> dict[str, Any] | None:
    try:
        return dict(await alice.client.request("GET", f"{_V3}/profile/{quote(bob.user_id)}"))
    except Refused:
        return None


async def _found(alice: Person, term: str) -> list[tuple[str, str | None]]:
    path = f"{_V3}/user_directory/search"
    answer = await alice.client.request("POST", path, {"search_term": term})
    return [(one["user_id"], one.get("display_name")) for one in answer["results"]]


@simulated
async def test_a_peer_is_known_by_name_until_the_connection_ends(world: World) -> None:
    alice, bob = await world.persons("alice", "bob")
    profile = f"{_V3}/profile/{quote(bob.user_id)}"
    for field, value in (("displayname", "Robert"), ("m.tz", "Europe/Rome")):
        await bob.client.request("PUT", f"{profile}/{field}", {field: value})
    await world.connect(alice, bob)
    await world.settle()
    assert await _found(alice, "robert") == [(bob.user_id, "Robert")]
    await bob.server.stop()
    begun = world.now
    assert await _profile(alice, bob) == {"displayname": "Robert", "m.tz": "Europe/Rome"}
    assert world.now - begun < 1
    await alice.revoke(bob)
    assert await _profile(alice, bob) is None
    assert await _found(alice, "robert") == []


@simulated
async def test_what_is_not_granted_any_more_is_forgotten(
    world: World, befriended: list[Person]
) -> None:
    alice, bob = befriended
    assert await _profile(alice, bob) == {"displayname": "bob"}
    await bob.grant(alice, profile="none")
    await world.settle()
    assert await _profile(alice, bob) is None
