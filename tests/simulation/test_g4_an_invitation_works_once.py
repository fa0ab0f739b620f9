"""G4: an invitation works once, in time, for one person."""

import pytest

from homeserver.config import FederationSettings
from homeserver.testing.client import Refused
from homeserver.testing.simulated import simulated
from homeserver.testing.world import DAY, HOUR, World


@simulated
async def test_a_link_works_once(world: World) -> None:
    alice, bob = await world.persons("alice", "bob")
    carol = await world.person("carol", settings=FederationSettings(handshake_lifetime_days=1))
    link = await alice.invitation()
    await bob.open_link(link)
    await world.settle()
    await carol.open_link(link)
    await world.settle()
    await world.pass_time(DAY + HOUR)
    await world.settle()
    assert await alice.standing(carol) == "none"
    assert await carol.standing(alice) == "none"


@simulated
async def test_two_open_a_link_at_once(world: World) -> None:
    alice, bob, carol = await world.persons("alice", "bob", "carol")
    world.network.everywhere(jitter_s=2.0, loss=0.2, duplication=0.2)
    link = await alice.invitation()
    await bob.open_link(link)
    await carol.open_link(link)
    await world.settle()
    world.network.heal()
    await world.settle()
    standings = [await alice.standing(one) for one in (bob, carol)]
    assert standings.count("none") == 1, standings
    assert sorted([await bob.standing(alice), await carol.standing(alice)])[1] == "offered"
    (first,) = [one for one in (bob, carol) if await alice.standing(one) != "none"]
    assert await alice.standing(first) == "paused"
    await alice.resume(first)
    await world.pass_time(2 * HOUR)
    assert await alice.standing(first) == await first.standing(alice) == "active"


@simulated
async def test_a_link_that_has_expired_is_refused(world: World) -> None:
    alice, bob = await world.persons("alice", "bob")
    link = await alice.invitation()
    await world.pass_time(7 * DAY + HOUR)
    with pytest.raises(Refused, match="expired"):
        await bob.open_link(link)
    bob.server.clock.skew_s = -DAY  # a clock that is slow takes it for good, and alice does not
    await bob.open_link(link)
    await world.settle()
    assert await alice.standing(bob) == "none"
