"""Names that hide something or look like another, and grants that make no sense."""

import dataclasses

import pytest

from federation import payloads
from federation.payloads import GrantsTold
from homeserver import errors
from homeserver.storage import invitations
from tests.federation.conftest import Meeting, notices_of, standing

DAY = 86_400.0


@pytest.mark.parametrize("name", ["Al\u202eice", "bob\x07", "B\u200bob", " bob"])
async def test_nobody_connects_under_a_name_with_something_hidden_in_it(
    meeting: Meeting, name: str
) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    bob.federation.connecting._terms = dataclasses.replace(
        bob.federation.connecting._terms, name=name
    )
    issued = await alice.federation.peers.invite()
    await bob.federation.peers.connect(issued.link)
    await meeting.clock.advance(DAY)
    assert standing(alice, bob) == "none"
    assert [kind for kind, _ in notices_of(alice)] == ["unfit_name"]
    state = alice.database.read(lambda view: invitations.find_invitation(view, issued.intake))
    assert state is not None
    assert state.ticket == "open"


async def test_nobody_is_met_under_a_name_with_something_hidden_in_it(meeting: Meeting) -> None:
    alice, bob = meeting.node("alice"), meeting.node("bob")
    alice.federation.inviting._terms = dataclasses.replace(
        alice.federation.inviting._terms, name="alice\u202e"
    )
    issued = await alice.federation.peers.invite()
    await bob.federation.peers.connect(issued.link)
    await meeting.clock.advance(DAY)
    assert standing(bob, alice) == "offered"
    assert [kind for kind, _ in notices_of(bob)] == ["unfit_name"]


@pytest.mark.parametrize("name", ["A1ice", "carol", "\u0441arol"])
async def test_a_name_that_looks_like_one_that_is_known_waits_for_the_owner(
    meeting: Meeting, name: str
) -> None:
    alice, bob, carol = meeting.node("alice"), meeting.node("bob"), meeting.node("carol")
    await meeting.connect(alice, carol)
    bob.federation.connecting._terms = dataclasses.replace(
        bob.federation.connecting._terms, name=name
    )
    issued = await alice.federation.peers.invite()
    await bob.federation.peers.connect(issued.link)
    await meeting.clock.advance(60)
    assert standing(alice, bob) == "requested"


@pytest.mark.parametrize(
    "grants", [{"messages": "perhaps"}, {"rate": -5}, {"profile": "some"}, {"typing": 1}]
)
def test_grants_that_make_no_sense_are_refused(grants: dict[str, object]) -> None:
    with pytest.raises(errors.BadJson):
        payloads.read(GrantsTold, {"grants": grants})


def test_of_grants_that_are_told_only_the_known_ones_are_kept() -> None:
    told = payloads.read(GrantsTold, {"grants": {"evil\u202e": "x" * 3_000, "typing": True}})
    assert told.grants.as_told() == {"typing": True}
