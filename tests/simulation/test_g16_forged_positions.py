"""G16: a peer that lies about what passed between us harms its own connection and nothing else."""

from dataclasses import replace
from typing import Any

import pytest

from homeserver.testing import device_secrets
from homeserver.testing.person import Person
from homeserver.testing.simulated import simulated
from homeserver.testing.world import HOUR, World

_KEYS = "/_matrix/client/v3/keys"
_MANY = 20


async def _upload(person: Person) -> None:
    who = person.user_id, str(person.client.device_id)
    names = [f"K{number:03}" for number in range(_MANY)]
    keys = {
        "device_keys": device_secrets.device_keys(*who),
        "one_time_keys": device_secrets.one_time_keys(*who, *names),
    }
    await person.client.request("POST", f"{_KEYS}/upload", keys)


async def _keys_left(person: Person) -> int:
    answer = await person.client.request("POST", f"{_KEYS}/upload", {})
    return int(answer["one_time_key_counts"]["signed_curve25519"])


def _lie(liar: Person, **ahead: int) -> list[int]:
    """From now on each box of his claims so much more than is true; counts the boxes."""
    channel, lies = liar.server.built.peers.federation.channel, []
    box = channel._box

    def lying(line: Any, key: bytes, turned: Any, patience_s: int) -> bytes:
        lies.append(1)
        claimed = {name: getattr(turned.channel, name) + more for name, more in ahead.items()}
        forged = replace(turned, channel=replace(turned.channel, **claimed))
        return box(line, key, forged, patience_s)

    channel._box = lying  # type: ignore[method-assign]
    return lies


async def _notices(person: Person) -> list[str]:
    told = await person.server.admin("GET", "/notices")
    return [notice["kind"] for notice in told["notices"]]


@pytest.mark.parametrize("claim", ["received", "acknowledged"])
@pytest.mark.parametrize("when", ["in the run", "at the start"])
@simulated
async def test_a_forged_position_destroys_no_key_of_others(
    world: World, claim: str, when: str
) -> None:
    alice, bob, carol = await world.befriended("alice", "bob", "carol")
    with_bob, with_carol = await world.room(alice, bob), await world.room(alice, carol)
    await _upload(alice)
    await world.settle()
    left = await _keys_left(alice)
    world.checks_itself = False
    if when == "at the start":
        await alice.server.stop()
    lies = _lie(bob, **{claim: 1_000})
    if when == "at the start":
        await alice.server.start()
    for number in range(5):
        await bob.client.send(
            with_bob, "m.room.message", {"msgtype": "m.text", "body": f"{number}"}
        )
        await world.pass_time(60.0)
    await world.pass_time(HOUR)
    assert len(lies) > 3
    assert await _keys_left(alice) == left
    assert "old_copy" not in await _notices(alice)
    known = await alice.peer(bob)
    assert known is not None
    assert known["alarm"]
    for speaker, listener in ((alice, carol), (carol, alice)):
        await speaker.say(with_carol, f"{speaker.name} goes on")
        await world.pass_time(5.0)
        assert f"{speaker.name} goes on" in await listener.texts(with_carol)
    assert (await alice.peer(carol) or {})["alarm"] is None
