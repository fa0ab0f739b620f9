"""Every way that consent can go: taken back, asked for twice, paused meanwhile, begun again."""

import pytest

from federation.opening import AlreadyAsked, AlreadyUsed
from federation.sentences import EverythingPaused, NotNow
from federation.transport.memory import Passing
from homeserver import errors
from homeserver.config import FederationSettings
from homeserver.storage import audit, invitations, notices
from tests.federation.conftest import Meeting, are_connected, notices_of, ping, standing, steps_of
from tests.federation.node import Node

DAY = 86_400.0


def ticket(node: Node, intake: str) -> str:
    found = node.database.read(lambda view: invitations.find_invitation(view, intake))
    assert found is not None
    return found.ticket


async def test_a_yes_is_taken_back_while_the_other_side_is_silent(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    issued = await alice.federation.peers.invite(asks_owner=True)
    await bob.federation.peers.connect(issued.link)
    await meeting.clock.advance(5)
    await bob.federation.peers.cancel(alice.server_name)
    assert standing(bob, alice) == "none"
    assert bob.database.read(invitations.load_handshakes) == []
    await alice.federation.peers.accept(bob.server_name)
    await meeting.clock.advance(DAY)
    assert (standing(alice, bob), standing(bob, alice)) == ("offered", "none")


async def test_a_standing_connection_is_not_cancelled(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    with pytest.raises(NotNow, match=r"You cannot cancel now\. The connection stands"):
        await alice.federation.peers.cancel(bob.server_name)


async def test_a_cancelled_repair_of_something_ended_leaves_the_tombstone(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    await bob.federation.peers.revoke(alice.server_name)
    issued = await alice.federation.peers.invite(asks_owner=True)
    await meeting.stop(alice)
    await bob.federation.peers.connect(issued.link)
    assert standing(bob, alice) == "offered"
    await bob.federation.peers.cancel(alice.server_name)
    assert standing(bob, alice) == "revoked"
    meeting.start(alice)


async def test_an_honest_repeat_raises_no_alarm(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    boxes: list[Passing] = []

    async def double(passing: Passing) -> None:
        passing.is_doubled = True
        boxes.append(passing)

    meeting.network.before = double
    await meeting.connect(alice, bob)
    assert boxes
    assert [kind for kind, _ in notices_of(alice)] == ["connected"]
    assert len([step for _, step, _ in steps_of(alice) if step == "proof came"]) == 1


async def test_a_second_request_before_the_first_has_proved_makes_it_come_up_paused(
    meeting: Meeting,
) -> None:
    alice, bob, eve = meeting.node("alice"), meeting.node("bob"), meeting.node("eve")

    async def hold_prove(passing: Passing) -> None:
        waiting = bob.database.read(invitations.load_handshakes)
        if passing.route == "http://alice" and [one.state for one in waiting] == ["proving"]:
            raise errors.PeerUnreachable

    issued = await alice.federation.peers.invite()
    meeting.network.before = hold_prove
    await bob.federation.peers.connect(issued.link)
    await meeting.clock.advance(5)
    assert standing(alice, bob) == "offered"
    meeting.calm()
    await eve.federation.peers.connect(issued.link)
    await meeting.clock.advance(3_600)
    assert (standing(alice, bob), standing(alice, eve)) == ("paused", "none")
    found = alice.federation.peers.find(bob.server_name)
    assert found.paused_because == "its invitation was used twice"
    assert standing(bob, alice) == "offered"
    await alice.federation.peers.resume(bob.server_name)
    # Bob's server repeats its proof, and is told READY now.
    await meeting.clock.until(lambda: standing(bob, alice) == "active", within=7_200)
    await ping(alice, bob, meeting)


async def test_a_spent_link_is_called_what_it_is(meeting: Meeting) -> None:
    alice, bob, eve = meeting.node("alice"), meeting.node("bob"), meeting.node("eve")
    issued = await alice.federation.peers.invite(asks_owner=True)
    await bob.federation.peers.connect(issued.link)
    with pytest.raises(AlreadyAsked, match="still awaited"):
        await bob.federation.peers.connect(issued.link)
    await meeting.clock.advance(5)
    await alice.federation.peers.accept(bob.server_name)
    await meeting.clock.until(lambda: are_connected(alice, bob))
    with pytest.raises(AlreadyUsed, match="connected through this link already"):
        await bob.federation.peers.connect(issued.link)
    await eve.federation.peers.connect(issued.link)
    await meeting.clock.advance(3_600)
    assert eve.federation.connecting.is_refused(alice.own.node_id)
    assert [kind for kind, _ in notices_of(eve)] == ["link_refused"]


async def test_an_invitation_that_ends_unused_is_told_to_its_owner(meeting: Meeting) -> None:
    alice = meeting.node("alice")
    await alice.federation.peers.invite()
    await meeting.clock.advance(8 * DAY)
    assert [kind for kind, _ in notices_of(alice)] == ["invitation_expired"]


async def test_what_is_declined_voids_its_invitation(meeting: Meeting) -> None:
    alice, bob, eve = meeting.node("alice"), meeting.node("bob"), meeting.node("eve")
    issued = await alice.federation.peers.invite(asks_owner=True)
    await bob.federation.peers.connect(issued.link)
    await meeting.clock.advance(5)
    assert ticket(alice, issued.intake) == "bound"
    await alice.federation.peers.decline(bob.server_name)
    assert ticket(alice, issued.intake) == "void"
    await eve.federation.peers.connect(issued.link)
    await meeting.clock.advance(3_600)
    assert standing(alice, eve) == "none"
    assert "warning" not in [kind for kind, _ in notices_of(alice)]


@pytest.mark.parametrize("end", ["revoke", "block"])
async def test_only_an_invitation_given_afterwards_begins_again(meeting: Meeting, end: str) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    before = await alice.federation.peers.invite()
    await meeting.connect(alice, bob)
    await meeting.clock.advance(5)
    await getattr(alice.federation.peers, end)(bob.server_name)
    if end == "block":
        await meeting.clock.advance(5)
        await alice.federation.peers.unblock(bob.server_name)
    await bob.federation.peers.revoke(alice.server_name)
    await bob.federation.peers.connect(before.link)
    await meeting.clock.advance(3_600)
    assert standing(alice, bob) == "revoked"
    assert ticket(alice, before.intake) == "open"
    await bob.federation.peers.cancel(alice.server_name)
    await meeting.connect(alice, bob)
    await ping(bob, alice, meeting)


async def test_a_lost_peer_is_found_again_by_a_knock_link(meeting: Meeting) -> None:
    settings = FederationSettings(knock_link=True)
    alice, bob = meeting.node("alice", settings=settings), meeting.node("bob")
    await meeting.connect(alice, bob)
    issued = await alice.federation.peers.invite("knock")
    before = len(steps_of(alice))
    await bob.federation.peers.connect(issued.link)
    await meeting.clock.advance(60)
    assert are_connected(alice, bob)
    assert "request" not in [kind for kind, _ in notices_of(alice)]
    assert [step for _, step, _ in steps_of(alice)[before:]] == [
        "knock came",
        "invitation agreed",
        "proof came",
    ]
    await ping(alice, bob, meeting)


async def test_a_knock_is_answered_with_yes_or_no_and_never_reopens(meeting: Meeting) -> None:
    settings = FederationSettings(knock_link=True)
    alice = meeting.node("alice", settings=settings)
    bob, carol = meeting.node("bob"), meeting.node("carol")
    link = (await alice.federation.peers.invite("knock")).link
    for knocker in (bob, carol):
        await knocker.federation.peers.connect(link)
    await meeting.clock.advance(5)
    assert (standing(alice, bob), standing(alice, carol)) == ("requested", "requested")
    asked = [content for kind, content in notices_of(alice) if kind == "request"]
    assert [one["name"] for one in asked] == ["bob", "carol"]
    assert asked[0]["words"] == bob.federation.peers.words_with(
        bob.federation.peers.find(alice.server_name)
    )
    await alice.federation.peers.accept(bob.server_name)
    await alice.federation.peers.decline(carol.server_name)
    await meeting.clock.until(lambda: are_connected(alice, bob), within=2 * DAY)
    await meeting.clock.advance(2 * DAY)
    assert standing(alice, carol) == "declined"
    await alice.federation.peers.revoke(bob.server_name)
    await bob.federation.peers.revoke(alice.server_name)
    await meeting.clock.advance(1)
    await bob.federation.peers.connect(link)
    await meeting.clock.advance(DAY)
    assert standing(alice, bob) == "revoked"


async def test_an_older_handshake_does_not_end_a_later_yes(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice", is_reachable=True), meeting.node("bob")
    first = await alice.federation.peers.invite(asks_owner=True)
    await bob.federation.peers.connect(first.link)
    await meeting.clock.advance(10 * DAY)
    second = await alice.federation.peers.invite(asks_owner=True)
    await bob.federation.peers.connect(second.link)
    await meeting.clock.advance(5 * DAY)
    assert (standing(alice, bob), standing(bob, alice)) == ("requested", "offered")
    await alice.federation.peers.accept(bob.server_name)
    await meeting.clock.until(lambda: are_connected(alice, bob), within=2 * DAY)


async def test_nothing_of_a_handshake_moves_while_everything_is_paused(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    issued = await alice.federation.peers.invite()
    await alice.federation.peers.pause_everything(is_paused=True)
    await bob.federation.peers.connect(issued.link)
    await meeting.clock.advance(3_600)
    assert steps_of(alice) == [
        ("owner", "invitation given", "none"),
        ("owner", "everything paused", "none"),
    ]
    await bob.federation.peers.pause_everything(is_paused=True)
    passed: list[Passing] = []

    async def note(passing: Passing) -> None:
        passed.append(passing)

    meeting.network.before = note
    await meeting.clock.advance(DAY)
    assert passed == []
    meeting.calm()
    with pytest.raises(EverythingPaused):
        await bob.federation.peers.connect((await alice.federation.peers.invite()).link)
    for node in (alice, bob):
        await node.federation.peers.pause_everything(is_paused=False)
    await meeting.clock.until(lambda: are_connected(alice, bob), within=DAY)


async def test_a_proof_that_comes_during_a_pause_of_everything_waits(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    issued = await alice.federation.peers.invite(asks_owner=True)
    await bob.federation.peers.connect(issued.link)
    await meeting.clock.advance(5)
    await alice.federation.peers.accept(bob.server_name)

    async def pause_before_the_proof(_passing: Passing) -> None:
        waiting = bob.database.read(invitations.load_handshakes)
        if [one.state for one in waiting] == ["proving"]:
            await alice.federation.peers.pause_everything(is_paused=True)

    meeting.network.before = pause_before_the_proof
    await meeting.clock.advance(2 * 3_600)
    assert standing(alice, bob) == "offered"
    meeting.calm()
    await alice.federation.peers.pause_everything(is_paused=False)
    await meeting.clock.until(lambda: are_connected(alice, bob), within=DAY)


async def test_a_refused_step_names_what_was_wanted_and_how_things_stand(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    owner = alice.federation.peers
    with pytest.raises(NotNow, match=r"You cannot resume now\. The connection stands"):
        await owner.resume(bob.server_name)
    await owner.pause(bob.server_name)
    with pytest.raises(NotNow, match=r"You cannot pause now\. The connection is paused"):
        await owner.pause(bob.server_name)
    link = (await bob.federation.peers.invite()).link
    with pytest.raises(NotNow, match=r"The connection is paused\. Resume it first"):
        await owner.connect(link)
    await owner.block(bob.server_name)
    with pytest.raises(NotNow, match=r"You blocked them\. Unblock them first"):
        await owner.connect(link)
    with pytest.raises(NotNow, match=r"You cannot accept now\. You blocked them"):
        await owner.accept(bob.server_name)


async def test_every_edit_is_in_the_audit_trail_without_the_note(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    changes = {"media_max_bytes": 0, "presence": True, "note": "met at school"}
    await alice.federation.peers.edit_grants(bob.server_name, changes, "Connections room")
    last = alice.database.read(audit.trail)[-1]
    assert (last.who, last.step, last.how) == ("owner", "grants edited", "Connections room")
    assert (last.standing_before, last.standing) == ("active", "active")
    assert last.detail == "media_max_bytes: 26214400 -> 0, presence: no -> yes, note"
    with pytest.raises(errors.InvalidParam):
        await alice.federation.peers.edit_grants(bob.server_name, {"presence": 7})
    assert alice.database.read(audit.trail)[-1] == last


async def test_an_edit_of_the_route_is_known_at_once(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    await meeting.connect(alice, bob)
    line = alice.federation.lines.find(bob.server_name)
    assert line is not None
    assert line.knows_us
    await alice.federation.peers.edit_grants(bob.server_name, {"route": False})
    assert not line.knows_us
    await alice.federation.peers.edit_grants(bob.server_name, {"route": True})
    assert line.knows_us


async def test_a_named_set_of_grants_is_chosen_when_inviting_connecting_and_later(
    meeting: Meeting,
) -> None:
    sets = {"colleague": {"presence": True, "media_max_bytes": 0}, "friend": {"introduce": True}}
    settings = FederationSettings.model_validate({"grant_sets": sets})
    alice = meeting.node("alice", settings=settings)
    bob = meeting.node("bob", settings=settings)
    issued = await alice.federation.peers.invite(grant_set="colleague")
    await bob.federation.peers.connect(issued.link, grants="friend")
    await meeting.clock.until(lambda: are_connected(alice, bob))
    hers = alice.federation.peers.find(bob.server_name).grants
    assert (hers["presence"], hers["media_max_bytes"], hers["introduce"]) == (True, 0, False)
    his = bob.federation.peers.find(alice.server_name)
    assert (his.grants["introduce"], his.grants["media_max_bytes"]) == (True, 26_214_400)
    assert his.granted["media_max_bytes"] == 0
    await alice.federation.peers.edit_grants(bob.server_name, {"note": "kept"})
    await alice.federation.peers.edit_grants(bob.server_name, {}, grant_set="friend")
    hers = alice.federation.peers.find(bob.server_name).grants
    assert (hers["media_max_bytes"], hers["introduce"], hers["note"]) == (26_214_400, True, "kept")
    with pytest.raises(errors.InvalidParam, match="Your settings have: colleague, friend"):
        await alice.federation.peers.invite(grant_set="enemy")


async def test_an_invitation_for_one_node_is_of_no_use_to_another(meeting: Meeting) -> None:
    alice, bob, eve = meeting.node("alice"), meeting.node("bob"), meeting.node("eve")
    issued = await alice.federation.peers.invite(expected=bob.own.node_id)
    await eve.federation.peers.connect(issued.link)
    await meeting.clock.advance(600)
    assert (standing(alice, eve), ticket(alice, issued.intake)) == ("none", "open")
    assert alice.database.read(notices.untold) == []
    await bob.federation.peers.connect(issued.link)
    await meeting.clock.until(lambda: are_connected(alice, bob))
    with pytest.raises(errors.InvalidParam):
        await alice.federation.peers.invite(expected="somebody")
