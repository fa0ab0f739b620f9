"""The consent table: its laws, and no connection without two yeses."""

from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from federation import consent, consent_drawing
from federation.consent import INVITATIONS, TABLE, Breach, Effect, Standing, Step, Ticket, Use

OURS = {Step.OWNER_AGREED, Step.INVITATION_AGREED, Step.OWNER_CONNECTED}
THEIRS = {Step.REQUEST_CAME, Step.KNOCK_CAME, Step.PROOF_CAME}


def test_what_is_not_in_the_table_is_a_breach() -> None:
    for standing in Standing:
        for step in Step:
            if (standing, step) not in TABLE:
                with pytest.raises(Breach):
                    consent.take(standing, step)


def test_only_proof_after_our_yes_and_resuming_make_a_connection_active() -> None:
    into_active = {
        key
        for key, outcome in TABLE.items()
        if outcome.standing is Standing.ACTIVE and key[0] is not Standing.ACTIVE
    }
    assert into_active == {
        (Standing.OFFERED, Step.PROOF_CAME),
        (Standing.PAUSED, Step.OWNER_RESUMED),
    }


def test_only_our_yes_leads_to_offered() -> None:
    for (standing, step), outcome in TABLE.items():
        if outcome.standing is Standing.OFFERED and standing is not Standing.OFFERED:
            assert step in OURS


def test_nothing_a_peer_does_ends_a_pause_or_a_block() -> None:
    for step in THEIRS:
        assert (Standing.PAUSED, step) not in TABLE
        assert (Standing.BLOCKED, step) not in TABLE
        assert (Standing.REVOKED, Step.PROOF_CAME) not in TABLE


def test_a_block_ends_by_the_owner_alone_and_reopens_nothing() -> None:
    ways = {key: outcome for key, outcome in TABLE.items() if key[0] is Standing.BLOCKED}
    assert list(ways) == [(Standing.BLOCKED, Step.OWNER_UNBLOCKED)]
    assert ways[Standing.BLOCKED, Step.OWNER_UNBLOCKED].standing is Standing.REVOKED


def test_ending_a_connection_forgets_everything_of_it() -> None:
    for (standing, step), outcome in TABLE.items():
        if step in (Step.OWNER_REVOKED, Step.OWNER_BLOCKED) and consent.is_connected(standing):
            assert {Effect.CLOSE_SOCKETS, Effect.FORGET_PEER, Effect.HIDE_PEER} <= set(
                outcome.effects
            )


def test_whoever_is_refused_or_cut_off_is_hidden() -> None:
    for (standing, step), outcome in TABLE.items():
        if consent.is_over(outcome.standing) and not consent.is_over(standing):
            assert Effect.HIDE_PEER in outcome.effects, (standing, step)


def test_an_invitation_is_taken_once() -> None:
    takers = [
        key
        for key, outcome in INVITATIONS.items()
        if outcome.ticket is Ticket.BOUND and key[0] is not Ticket.BOUND
    ]
    assert takers == [(Ticket.OPEN, Use.FIRST_REQUEST)]


def test_a_void_invitation_lets_nobody_in_and_goes_on_with_its_silence() -> None:
    ways = {key[1]: outcome for key, outcome in INVITATIONS.items() if key[0] is Ticket.VOID}
    assert set(ways) == {Use.SAME_REQUEST, Use.NEWER_REQUEST}
    assert {outcome.ticket for outcome in ways.values()} == {Ticket.VOID}


def test_a_request_that_a_newer_one_replaced_is_good_for_nothing() -> None:
    assert not [key for key in INVITATIONS if key[1] is Use.EARLIER_REQUEST]


def test_an_invitation_goes_its_way_and_no_other() -> None:
    for ticket in Ticket:
        for step in Use:
            if (ticket, step) in INVITATIONS:
                assert consent.use(ticket, step) == INVITATIONS[ticket, step]
            else:
                with pytest.raises(Breach):
                    consent.use(ticket, step)


def test_a_tombstone_survives_a_handshake_that_came_to_nothing() -> None:
    assert consent.after_expiry(Standing.NONE, Standing.REVOKED) is Standing.REVOKED
    assert consent.after_expiry(Standing.NONE, Standing.NONE) is Standing.NONE
    assert consent.after_expiry(Standing.ACTIVE, Standing.REVOKED) is Standing.ACTIVE


def test_what_the_documentation_draws_is_the_table() -> None:
    page = Path(__file__).parents[3] / "docs" / "protocol" / "consent.md"
    text = page.read_text(encoding="utf-8")
    assert consent_drawing.renewed(text) == text
    for (standing, step), outcome in TABLE.items():
        assert f"    {standing} --> {outcome.standing}: {step}\n" in text
    with pytest.raises(ValueError, match="stand there once"):
        consent_drawing.renewed(text.replace("table of standings", "table"))


def test_a_yes_can_be_taken_back_until_the_other_side_has_proved() -> None:
    cancelled = [key for key in TABLE if key[1] is Step.OWNER_CANCELLED]
    assert cancelled == [(Standing.OFFERED, Step.OWNER_CANCELLED)]
    outcome = TABLE[cancelled[0]]
    assert outcome.standing is Standing.NONE
    assert Effect.FORGET_HANDSHAKE in outcome.effects


def test_a_knock_reopens_nothing_that_was_ended() -> None:
    for ended in (Standing.REVOKED, Standing.DECLINED, Standing.BLOCKED, Standing.PAUSED):
        assert (ended, Step.KNOCK_CAME) not in TABLE


class TwoYeses(RuleBasedStateMachine):
    """Any steps in any order: active only if the owner agreed and the other side proved."""

    def __init__(self) -> None:
        super().__init__()
        self.standing = Standing.NONE
        self.has_agreed = self.has_proved = False

    @rule(step=st.sampled_from(Step))
    def take(self, step: Step) -> None:
        try:
            outcome = consent.take(self.standing, step)
        except Breach:
            return
        if step in OURS:
            self.has_agreed = True
        if step is Step.PROOF_CAME:
            self.has_proved = True
        if outcome.standing in (
            Standing.NONE,
            Standing.REVOKED,
            Standing.BLOCKED,
            Standing.DECLINED,
        ):
            self.has_agreed = self.has_proved = False
        self.standing = outcome.standing

    @invariant()
    def a_connection_needs_two_yeses(self) -> None:
        if consent.is_connected(self.standing):
            assert self.has_agreed
            assert self.has_proved

    @invariant()
    def nothing_is_delivered_unless_active(self) -> None:
        assert consent.may_deliver(self.standing) == (self.standing is Standing.ACTIVE)


TestTwoYeses = TwoYeses.TestCase
