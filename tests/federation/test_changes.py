"""What changes about us reaches peers: routes, cards; and what must not pass."""

from typing import Any

import pytest

from federation import own_identity, restoring
from homeserver.storage import channels, frames, peers
from tests.federation.conftest import Meeting, are_connected, notices_of, standing
from tests.federation.node import Node


def routes_of(node: Node, other: Node) -> tuple[str, ...]:
    line = node.federation.lines.find(other.server_name)
    assert line is not None
    return line.routes


async def test_a_server_that_moves_is_found_again(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    await meeting.stop(bob)
    bob.routes = ("http://elsewhere",)
    meeting.start(bob)
    await meeting.clock.until(lambda: routes_of(alice, bob) == ("http://elsewhere",))
    await alice.send(bob.server_name, "found you")
    await meeting.clock.until(lambda: bob.texts == ["found you"])
    await meeting.restart(alice)
    assert routes_of(alice, bob) == ("http://elsewhere",)


async def test_who_listens_on_loopback_only_tells_nobody_elsewhere_and_polls(
    meeting: Meeting,
) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob", is_reachable=False)
    bob.routes = ("http://127.0.0.1:8008",)
    await meeting.restart(bob)
    await meeting.connect(alice, bob)
    assert routes_of(alice, bob) == ()
    before = meeting.clock.monotonic()
    await alice.send(bob.server_name, "hello")
    await meeting.clock.settle()
    assert bob.texts == ["hello"]
    assert meeting.clock.monotonic() - before < 1
    for node in (bob, alice):
        await meeting.restart(node)
    await alice.send(bob.server_name, "still here")
    await meeting.clock.until(lambda: bob.texts == ["hello", "still here"])
    assert routes_of(alice, bob) == ()


async def test_routes_are_told_with_the_grant_only(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    await alice.federation.peers.edit_grants(bob.server_name, {"route": False})
    await meeting.clock.until(lambda: routes_of(bob, alice) == ())
    await bob.send(alice.server_name, "still there?")
    await meeting.clock.advance(10)
    await alice.federation.peers.edit_grants(bob.server_name, {"route": True})
    await meeting.clock.until(lambda: alice.texts == ["still there?"])


async def test_a_renewed_key_is_adopted_with_a_notice(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    await meeting.stop(bob)
    bob.own = own_identity.renew_event_key(bob.own, bob.entropy, meeting.clock.now_ms())
    meeting.start(bob)
    await meeting.clock.until(
        lambda: "keys_renewed" in [kind for kind, _ in notices_of(alice)], within=600
    )
    assert alice.federation.peers.find(bob.server_name).proof == bob.own.proof
    assert are_connected(alice, bob)


async def test_a_key_that_does_not_follow_stops_everything(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    stranger = own_identity.create(bob.entropy, 1)[0]
    await bob.database.write(
        lambda work: frames.queue_item(
            work, alice.server_name, frames.CONTROL, "card", {"identity": stranger.proof}
        )
    )
    await meeting.clock.advance(60)
    assert "alarm" in [kind for kind, _ in notices_of(alice)]
    assert alice.federation.lines.all() == []
    await bob.send(alice.server_name, "hello?")
    await meeting.clock.advance(60)
    assert alice.texts == []
    await alice.federation.peers.dismiss_alarm(bob.server_name)
    await meeting.clock.until(lambda: alice.texts == ["hello?"], within=7_200)


async def test_a_restored_server_comes_up_paused_and_reuses_nothing(meeting: Meeting) -> None:
    alice, bob, carol = (meeting.node(name) for name in ("alice", "bob", "carol"))
    await meeting.connect(alice, bob)
    issued = await alice.federation.peers.invite()
    before = alice.database.read(lambda view: channels.find_channel(view, bob.server_name))
    party = alice.federation.party
    waiting = await alice.database.write(lambda work: restoring.void(work, party))
    assert [peer.server_name for peer in waiting] == [bob.server_name]
    await meeting.restart(alice)
    assert standing(alice, bob) == "paused"
    after = alice.database.read(lambda view: channels.find_channel(view, bob.server_name))
    assert before is not None
    assert after is not None
    assert after.session is None
    assert after.account != before.account
    await carol.federation.peers.connect(issued.link)
    await meeting.clock.advance(600)
    assert standing(alice, carol) == "none"
    await bob.send(alice.server_name, "welcome back")
    await alice.federation.peers.resume(bob.server_name)
    await meeting.clock.until(lambda: alice.texts == ["welcome back"], within=7_200)
    await alice.send(bob.server_name, "thanks")
    await meeting.clock.until(lambda: bob.texts == ["thanks"], within=600)


async def test_a_peer_that_sends_more_than_its_rate_is_slowed_down(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    await alice.federation.peers.edit_grants(bob.server_name, {"rate": 60})
    for number in range(200):
        await bob.send(alice.server_name, str(number))
        await meeting.clock.settle()
    early = len(alice.texts)
    assert 25 <= early < 200
    await meeting.clock.until(lambda: len(alice.texts) == 200)
    assert alice.texts == [str(number) for number in range(200)]


async def test_items_beyond_the_bound_fall_out_and_are_counted(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    await meeting.stop(bob)
    alice.federation.outbox.most_items = 5

    def queue(work: Any) -> None:
        for number in range(8):
            frames.queue_item(work, bob.server_name, frames.TO_DEVICE, "x", {"n": number})
        huge = {"n": "x" * 300_000}
        frames.queue_item(work, bob.server_name, frames.TO_DEVICE, "x", huge)

    await alice.database.write(queue)
    await meeting.clock.advance(3)
    lost = alice.database.read(lambda view: frames.losses(view, bob.server_name))
    assert lost[frames.TO_DEVICE] >= 1
    meeting.start(bob)
    await meeting.clock.advance(60)
    came = [item["body"]["n"] for item in bob.items]
    assert came == sorted(came)
    assert (
        len(came)
        + alice.database.read(lambda view: frames.losses(view, bob.server_name))[frames.TO_DEVICE]
        == 9
    )


async def test_what_waits_too_long_falls_out(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    await meeting.stop(bob)
    alice.federation.outbox.lifetime_ms = 86_400_000
    await alice.database.write(
        lambda work: frames.queue_item(work, bob.server_name, frames.CONTROL, "x", {"n": 1})
    )
    # What is in flight stays: it may have arrived. The one behind it waits too long.
    await meeting.clock.advance(10)
    await alice.database.write(
        lambda work: frames.queue_item(work, bob.server_name, frames.CONTROL, "x", {"n": 2})
    )
    await meeting.clock.advance(2 * 86_400)
    lost = alice.database.read(lambda view: frames.losses(view, bob.server_name))
    assert lost == {frames.CONTROL: 1}
    meeting.start(bob)


@pytest.mark.parametrize("count", [3])
async def test_a_room_queued_for_nobody_in_particular_is_settled(
    meeting: Meeting, count: int
) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    await alice.send(bob.server_name, *(str(number) for number in range(count)))
    await meeting.clock.until(lambda: len(bob.texts) == count)
    alice.rooms.events.clear()
    await alice.database.write(
        lambda work: frames.queue_room(work, bob.server_name, "!other", work.next_position())  # type: ignore[arg-type]
    )
    await meeting.clock.advance(5)
    waiting = alice.database.read(lambda view: frames.count_waiting(view, bob.server_name))
    assert waiting == {"rooms": 0, "newest": 0}
    assert not alice.database.read(lambda view: frames.has_waiting(view, bob.server_name))


async def test_grants_are_asked_of_storage(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    assert not alice.database.read(lambda view: peers.may(view, bob.server_name, "messages"))
    await meeting.connect(alice, bob)
    assert alice.database.read(lambda view: peers.may(view, bob.server_name, "messages"))
    assert not alice.database.read(lambda view: peers.may(view, bob.server_name, "presence"))
    await alice.federation.peers.pause(bob.server_name)
    assert not alice.database.read(lambda view: peers.may(view, bob.server_name, "messages"))
    assert alice.database.read(peers.connected_servers) == {bob.server_name}


async def test_a_goodbye_is_said_if_the_owner_wants_it(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    await alice.federation.peers.revoke(bob.server_name, says_goodbye=True)
    assert standing(alice, bob) == "revoked"
    await meeting.clock.until(lambda: "goodbye" in [kind for kind, _ in notices_of(bob)], within=1)


async def test_a_goodbye_is_not_waited_for(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    await meeting.stop(bob)
    await alice.send(bob.server_name, "never sent")
    await meeting.clock.advance(5)
    await alice.federation.peers.revoke(bob.server_name, says_goodbye=True)
    assert standing(alice, bob) == "revoked"
    await meeting.clock.advance(11)
    meeting.start(bob)
    await meeting.clock.advance(60)
    assert bob.taken == []
    assert "goodbye" not in [kind for kind, _ in notices_of(bob)]


async def test_when_a_peer_was_last_heard_from_outlives_a_restart(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    hearing = alice.federation.hearing
    heard = hearing.last_heard_at(alice.federation.peers.find(bob.server_name))
    await meeting.stop(bob)
    await meeting.clock.advance(3_600)
    await meeting.restart(alice)
    again = alice.federation.hearing.last_heard_at(alice.federation.peers.find(bob.server_name))
    meeting.start(bob)
    assert heard is not None
    assert again is not None
    assert abs(again - heard) < 120_000
