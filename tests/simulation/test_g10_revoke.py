"""G10: revoke is immediate, complete, and survives a crash."""

import contextlib
import itertools
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from homeserver import crash_points
from homeserver.crash_points import Point
from homeserver.matrix.identifiers import RoomId, ServerName
from homeserver.rooms import state
from homeserver.storage import meetings, room_state
from homeserver.storage.meetings import RoomRequest
from homeserver.storage.unit_of_work import View
from homeserver.testing import census
from homeserver.testing.adversaries import HostilePeer
from homeserver.testing.client import Refused
from homeserver.testing.crashing import CrashAfter, CrashAt
from homeserver.testing.person import Person
from homeserver.testing.simulated import simulated
from homeserver.testing.world import DAY, World

_V3 = "/_matrix/client/v3"
_BOB = {"membership": "join", "displayname": "Bobby"}


async def _spend_a_day(world: World, alice: Person, bob: Person) -> str:
    """Leave something of everything behind: events, receipts, keys, files, open invites."""
    room_id = await world.room(alice, bob)
    for person, other in ((alice, bob), (bob, alice)):
        event_id = await person.say(room_id, f"{person.name} was here")
        await world.settle()
        receipt = f"{_V3}/rooms/{quote(room_id)}/receipt/m.read/{quote(event_id)}"
        await other.client.request("POST", receipt, {})
        words = {"messages": {other.user_id: {"*": {"said": "to a device"}}}}
        path = f"{_V3}/sendToDevice/org.example.word/{person.name}"
        await person.client.request("PUT", path, words)
    await alice.client.download(await bob.client.upload(b"a file of Bob's", "text/plain"))
    await bob.create_room(alice)
    await world.settle()
    return room_id


async def _end(alice: Person, bob: Person, verb: str = "revoke", **choice: Any) -> dict[str, Any]:
    """Revoke or block with a choice; what the answer says about it."""
    path = f"/peers/{bob.server.server_name}/{verb}"
    return dict((await alice.server.admin("POST", path, choice))["report"])


def _left(alice: Person, bob: Person) -> set[str]:
    """The tables of Alice's that name Bob where they should not."""
    server_name = bob.server.server_name
    return census.tables_naming(alice.server, server_name, server_name.split(".")[0])


async def _is_gone(world: World, alice: Person, bob: Person) -> None:
    begun = world.now
    assert await alice.standing(bob) == "revoked"
    await bob.server.restart()
    await world.pass_time(DAY)
    moved = [
        one
        for one in world.network.passages
        if one.at > begun and one.source == "alice" and one.fate != "refused"
    ]
    assert moved == []
    left = _left(alice, bob)
    assert left <= census.MAY_REMAIN, left - census.MAY_REMAIN


@simulated
async def test_nothing_is_left_and_nothing_moves(world: World, befriended: list[Person]) -> None:
    alice, bob = befriended
    room_id = await _spend_a_day(world, alice, bob)
    await alice.revoke(bob)
    await bob.say(room_id, "anybody there?")
    await _is_gone(world, alice, bob)
    assert "anybody there?" not in await alice.texts(room_id)
    alice.forget_syncs()
    assert "invite" not in (await alice.sync())["rooms"]


@simulated
async def test_what_waits_for_its_past_goes_too(world: World, befriended: list[Person]) -> None:
    alice, bob = befriended
    room_id = await _spend_a_day(world, alice, bob)
    world.watch.spared.add("bob")
    world.checks_itself = False
    await HostilePeer(bob, alice).leave_waiting(room_id)
    await world.pass_time(60)
    server = ServerName(bob.server.server_name)
    wish = RoomRequest(RoomId("!beyond:elsewhere.example"), server, "join", False, 0)
    await alice.server.built.database.write(lambda work: meetings.save_request(work, wish))
    assert {"waiting_events", "room_requests"} <= _left(alice, bob)
    await alice.revoke(bob)
    assert not {"waiting_events", "room_requests"} & _left(alice, bob)


@simulated
async def test_every_table_that_is_kept_by_peer_is_counted(world: World) -> None:
    alice = await world.person("alice")
    known = census.MUST_GO | census.MAY_REMAIN | census.TOLD_BY_OTHERS
    assert census.tables_by_peer(alice.server) <= known


@simulated
async def test_with_mail_held_and_mail_under_way(world: World, befriended: list[Person]) -> None:
    alice, bob = befriended
    room_id = await _spend_a_day(world, alice, bob)
    world.network.everywhere(latency_s=5.0)
    await bob.say(room_id, "under way")
    await alice.say(room_id, "held")
    await world.pass_time(7.0)
    await alice.revoke(bob)
    await _is_gone(world, alice, bob)


@simulated
async def test_while_the_peer_is_away(world: World, befriended: list[Person]) -> None:
    alice, bob = befriended
    await _spend_a_day(world, alice, bob)
    await bob.server.stop()
    await alice.pause(bob)
    await alice.revoke(bob)
    await _is_gone(world, alice, bob)


def test_a_crash_at_every_commit(tmp_path: Path, seed: int) -> None:
    for number in range(20):
        world = World(tmp_path / str(number), seed)
        try:
            if not world.run(_crash_in_revoke(world, number)):
                assert number >= 2
                return
        finally:
            world.close()
    raise AssertionError("a revoke has fewer commits than that")


async def _crash_in_revoke(world: World, number: int) -> bool:
    alice, bob = await world.befriended("alice", "bob")
    room_id = await _spend_a_day(world, alice, bob)
    await bob.say(room_id, "in flight")
    plan = alice.server.crash_at = CrashAfter(number)
    with contextlib.suppress(aiohttp.ClientError):
        await alice.revoke(bob)
        await world.settle()
    if plan.where is None:
        return False
    await alice.server.start()
    await world.settle()
    if await alice.standing(bob) != "revoked":
        await alice.revoke(bob)
    await _is_gone(world, alice, bob)
    return True


def test_a_crash_at_every_step_whatever_becomes_of_rooms(
    tmp_path: Path, seed: int, pytestconfig: pytest.Config
) -> None:
    choices = ("cut", "leave", "eject")
    steps = list(zip(crash_points.REVOKE, itertools.cycle(choices), strict=False))
    if pytestconfig.getoption("--seeds"):
        steps = list(itertools.product(crash_points.REVOKE, choices))
    for number, (point, rooms) in enumerate(steps):
        world = World(tmp_path / str(number), seed)
        try:
            world.run(_crash_at(world, point, rooms))
        finally:
            world.close()


async def _crash_at(world: World, point: Point, rooms: str) -> None:
    world.checks_itself = False
    alice, bob, carol = await world.befriended("alice", "bob", "carol")
    room_id = await world.room(alice, bob, carol)
    await bob.say(room_id, "before")
    await world.settle()
    plan = alice.server.crash_at = CrashAt(point)
    with contextlib.suppress(aiohttp.ClientError):
        await _end(alice, bob, rooms=rooms, erase=True, goodbye=True)
        await world.settle()
    assert plan.where is not None
    await alice.server.start()
    if await alice.standing(bob) != "revoked":
        assert await alice.standing(bob) == "active"
        assert "before" in await alice.texts(room_id)
        await _end(alice, bob, rooms=rooms, erase=True)
    await world.settle()
    assert await alice.membership(room_id) == ("leave" if rooms == "leave" else "join")
    assert "before" not in await alice.texts(room_id)
    path = f"{_V3}/rooms/{quote(room_id)}/state/m.room.member/{quote(bob.user_id)}"
    of_bob = (await carol.client.request("GET", path))["membership"]
    assert of_bob == ("leave" if rooms == "eject" else "join")
    # What Carol's server told of the room since is hers, and its proofs of who Bob is.
    left = _left(alice, bob)
    assert left <= census.MAY_REMAIN | census.TOLD_BY_OTHERS, left - census.MAY_REMAIN


@simulated
async def test_the_owner_is_told_in_plain_words_before_and_after(world: World) -> None:
    alice, bob, carol = await world.befriended("alice", "bob", "carol")
    of_two = await world.room(alice, bob, name="Just us")
    of_three = await world.room(alice, bob, carol, name="All three")
    of_bob = await world.room(bob, alice, carol, name="At Bob's")
    foreseen = await _end(alice, bob, rooms="eject", dry_run=True)
    assert await alice.standing(bob) == "active"
    assert foreseen["is_dry_run"]
    told = {room["room_id"]: room for room in foreseen["rooms"]}
    assert told.keys() == {of_two, of_three, of_bob}
    assert "have left" in told[of_two]["what"]
    assert "are removed" in told[of_three]["what"]
    assert "may not remove" in told[of_bob]["what"]
    assert told[of_three]["others"] == [carol.server.server_name]
    (passing_on,) = foreseen["can_pass_on"]
    assert "carol" in passing_on
    assert "All three" in passing_on
    assert "Just us" not in passing_on
    done = await _end(alice, bob, rooms="eject")
    assert done | {"is_dry_run": True} == foreseen
    with pytest.raises(Refused):
        await _end(alice, bob, dry_run=True)


@simulated
async def test_what_is_erased_is_gone_from_the_disk(world: World, befriended: list[Person]) -> None:
    alice, bob = befriended
    room_id = await _spend_a_day(world, alice, bob)
    await bob.set_state(room_id, "m.room.member", bob.user_id, _BOB)
    file = await bob.client.upload(b"another file of Bob's", "text/plain")
    await alice.client.download(file)
    await world.settle()
    assert "Bobby" in str(await alice.timeline(room_id))
    report = await _end(alice, bob, erase=True)
    assert "2 files" in str(report["deleted"])
    await world.pass_time(5.0)
    assert await alice.texts(room_id) == ["alice was here"]
    with pytest.raises(Refused):
        await alice.client.download(file)
    stored = [one.read_bytes() for one in alice.server.directory.rglob("*") if one.is_file()]
    assert not [one for one in stored if b"file of Bob's" in one]
    await alice.server.restart()
    alice.forget_syncs()
    assert "Bobby" not in str(await alice.sync())
    assert "Bobby" not in str(await alice.timeline(room_id))


@simulated
@pytest.mark.parametrize("version", ["10", "11"])
async def test_what_a_rooms_rules_rest_on_is_not_erased(world: World, version: str) -> None:
    alice, bob, carol = await world.befriended("alice", "bob", "carol")
    room_id = await world.room(bob, alice, carol, room_version=version)
    rules: dict[str, dict[str, Any]] = {
        "m.room.server_acl": {"allow": ["*"], "deny": ["evil.example"]},
        "m.room.power_levels": {"users": {bob.user_id: 100, alice.user_id: 100}, "invite": 50},
        "m.room.guest_access": {"guest_access": "can_join"},
        "m.room.topic": {"topic": "words of Bob"},
    }
    for kind, content in rules.items():
        await bob.set_state(room_id, kind, "", content)
    await bob.set_state(room_id, "m.room.member", bob.user_id, _BOB)
    await world.settle()

    def standing() -> dict[str, Any]:
        def look(view: View) -> dict[str, Any]:
            current = room_state.current_state(view, RoomId(room_id))
            return {
                "/".join(key): one.content
                for key, one in state.load_entries(view, current, list(current)).items()
            }

        return alice.server.built.database.read(look)

    before = standing()
    await _end(alice, bob, erase=True)
    after = standing()
    member = f"m.room.member/{bob.user_id}"
    assert after.pop("m.room.topic/") == {}
    assert "Bobby" not in str(after)
    assert after.pop(member)["membership"] == before.pop(member)["membership"]
    del before["m.room.topic/"]
    assert after == before
    await alice.server.restart()
    again = standing()
    assert again | before == again
    assert "Bob" not in str(again)


@simulated
async def test_only_a_new_invitation_reopens(world: World, befriended: list[Person]) -> None:
    alice, bob = befriended
    room_id = await _spend_a_day(world, alice, bob)
    await alice.revoke(bob)
    with pytest.raises(Refused):
        await alice.resume(bob)
    await world.pass_time(DAY)
    assert await alice.standing(bob) == "revoked"
    await bob.revoke(alice)
    await world.connect(alice, bob)
    for person in (alice, bob):
        await person.say(room_id, f"{person.name} is back")
    await world.check_healed()
    for person in (alice, bob):
        assert {"alice is back", "bob is back"} <= set(await person.texts(room_id))


@simulated
async def test_a_block_takes_the_choices_of_a_revoke(world: World) -> None:
    alice, bob, carol = await world.befriended("alice", "bob", "carol")
    room_id = await world.room(alice, bob, carol)
    await bob.say(room_id, "words of bob")
    await world.settle()
    world.checks_itself = False
    would = await _end(alice, bob, "block", rooms="eject", erase=True, dry_run=True)
    assert await alice.standing(bob) == "active"
    did = await _end(alice, bob, "block", rooms="eject", erase=True)
    assert did == would | {"is_dry_run": False}
    assert await alice.standing(bob) == "blocked"
    assert "words of bob" not in await alice.texts(room_id)
    await world.settle()
    state = await carol.state(room_id)
    removal = state["m.room.member", bob.user_id]
    sender = {one["event_id"]: one["sender"] for one in await carol.timeline(room_id)}[removal]
    assert sender == alice.user_id


@simulated
async def test_the_answer_says_what_becomes_of_a_goodbye(
    world: World, befriended: list[Person]
) -> None:
    alice, bob = befriended
    assert (await _end(alice, bob, dry_run=True))["goodbye"] == ""
    await alice.pause(bob)
    assert "not told" in (await _end(alice, bob, goodbye=True))["goodbye"]
    await bob.revoke(alice)
    await world.connect(alice, bob)
    assert "are told" in (await _end(alice, bob, goodbye=True))["goodbye"]
    await world.pass_time(20.0)
    notices = (await bob.server.admin("GET", "/notices"))["notices"]
    assert [one["kind"] for one in notices].count("goodbye") == 1
