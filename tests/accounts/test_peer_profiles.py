"""What is known of people on peers: heard from them, kept as long as the connection lasts."""

import asyncio
from dataclasses import replace
from typing import Any

from homeserver import errors
from homeserver.accounts.profile import Profiles
from homeserver.matrix.identifiers import UserId
from homeserver.storage import peer_profiles, peers
from homeserver.storage.peer_profiles import HeardProfile
from homeserver.storage.unit_of_work import UnitOfWork, View
from tests.accounts.serving import BOB, BOBS, Device, Served
from tests.rooms.servers import peer_named


def bobs_profile(served: Served) -> HeardProfile | None:
    return served.database.read(lambda view: peer_profiles.find_profile(view, BOB))


async def eventually(served: Served, profile: Any) -> None:
    """What goes on beside the answers comes to this."""
    for _ in range(500):
        heard = bobs_profile(served)
        if (heard and heard.profile) == profile:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(heard)


async def be_connected(served: Served, profile: Any) -> None:
    bobs = replace(peer_named(BOBS), name="bob")
    await served.database.write(lambda work: peers.save_peer(work, bobs))
    served.peers.answers["query/profile"] = lambda _: profile


async def test_a_peers_profile_is_known_while_it_sleeps(served: Served, alice: Device) -> None:
    await be_connected(served, {"displayname": "Bob", "m.tz": "Europe/Rome"})
    assert await alice.get(f"/profile/{BOB}") == {"displayname": "Bob", "m.tz": "Europe/Rome"}
    served.peers.answers.clear()
    assert await alice.get(f"/profile/{BOB}/m.tz") == {"m.tz": "Europe/Rome"}
    assert len(served.peers.asked) == 1


async def test_a_profile_is_renewed_beside_the_answer_when_it_is_old(
    served: Served, alice: Device
) -> None:
    await be_connected(served, {"displayname": "Bob"})
    await alice.get(f"/profile/{BOB}")
    await be_connected(served, {"displayname": "Robert"})
    assert await alice.get(f"/profile/{BOB}") == {"displayname": "Bob"}
    assert len(served.peers.asked) == 1
    served.clock.seconds += 6 * 60
    assert await alice.get(f"/profile/{BOB}") == {"displayname": "Bob"}
    await eventually(served, {"displayname": "Robert"})
    assert await alice.get(f"/profile/{BOB}") == {"displayname": "Robert"}


async def test_a_peer_that_tells_no_more_is_forgotten(served: Served, alice: Device) -> None:
    await be_connected(served, {"displayname": "Bob"})
    await alice.get(f"/profile/{BOB}")

    def refuse(_body: Any) -> Any:
        raise errors.PeerRefused(peer_errcode="not_granted")

    served.peers.answers["query/profile"] = refuse
    served.clock.seconds += 6 * 60
    await alice.get(f"/profile/{BOB}")
    await eventually(served, None)
    assert (await alice.ask("GET", f"/profile/{BOB}"))[0] == 404


async def test_nothing_is_kept_of_who_is_not_connected(served: Served, alice: Device) -> None:
    served.peers.answers["query/profile"] = lambda _: {"displayname": "Bob"}
    await alice.get(f"/profile/{BOB}")
    assert bobs_profile(served) is None


async def test_the_owner_of_a_fresh_connection_is_asked_once(served: Served) -> None:
    profiles = served.services[Profiles]
    profiles.get_acquainted(BOBS)  # not connected yet
    await be_connected(served, {"displayname": "Robert"})
    for _ in range(2):
        profiles.get_acquainted(BOBS)
        await eventually(served, {"displayname": "Robert"})
    assert len(served.peers.asked) == 1


async def test_one_server_has_only_so_many_profiles(served: Served) -> None:
    def save(work: UnitOfWork) -> None:
        for number in range(150):
            peer_profiles.save_profile(work, UserId(f"@u{number}:{BOBS}"), b"{}", number)
        peer_profiles.save_profile(work, UserId("@carol:carol.example"), b"{}", 0)

    def known(view: View) -> list[int]:
        found = [
            number
            for number in range(150)
            if peer_profiles.find_profile(view, UserId(f"@u{number}:{BOBS}")) is not None
        ]
        assert peer_profiles.find_profile(view, UserId("@carol:carol.example")) is not None
        return found

    await served.database.write(save)
    assert served.database.read(known) == list(range(50, 150))
