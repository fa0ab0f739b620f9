"""Each promise's own test fails once the check that keeps the promise is taken away.

What needs real processes, or measures time, was tried by hand: docs/promises.md says how.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from federation import own_identity
from homeserver.testing.adversaries.middle_man import every_substitution
from homeserver.testing.chance import SeededEntropy
from homeserver.testing.fast_ratchets import FastRatchets
from homeserver.testing.virtual_time import START_MS
from homeserver.testing.world import World
from tests.simulation import (
    removing_checks,
    test_encrypted_rooms,
    test_g1_nothing_from_strangers,
    test_g3_two_yeses,
    test_g4_an_invitation_works_once,
    test_g5_nobody_in_the_middle,
    test_g7_replay,
    test_g8_delivered_once,
    test_g9_pause,
    test_g10_revoke,
    test_g11_hidden_senders,
    test_g14_renewed_after_a_restore,
    test_g15_copies_of_three,
    test_g15_restored_copies,
    test_g16_forged_positions,
    test_g16_hostile_peers,
    test_g20_edits_apply_at_once,
    test_invitations_that_wait,
)

Remove = Callable[[pytest.MonkeyPatch], None]
Story = Callable[[Path, Callable[[], None]], None]


@dataclass(frozen=True, slots=True)
class Removal:
    """A check, how it is taken away, and the shortest test that must notice."""

    promise: str
    check: str
    remove: Remove
    story: Story

    def __str__(self) -> str:
        return f"{self.promise}-{self.check.replace(' ', '-')}"


def told(
    test: Callable[..., Any], *names: str, seen: str, is_fast: bool = False, **given: Any
) -> Story:
    """A simulated test as a story: these people are connected, then the check is taken away.

    It has to fail in the words of the promise, and not anyhow: those are what is `seen`.
    """

    def story(directory: Path, remove: Callable[[], None]) -> None:
        world = World(directory, 1, ratchets=FastRatchets(1) if is_fast else None)
        world.patience_s = 400.0
        world.checks_itself = not is_fast
        asked = inspect.signature(inspect.unwrap(test)).parameters
        try:
            people = world.run(world.befriended(*names)) if names else []
            remove()
            fixtures = {"world": world, "befriended": people, "three": people, "seed": 1}
            fixtures |= {"tmp_path": directory, **given}
            told_now = inspect.unwrap(test)(**{name: fixtures[name] for name in asked})
            with pytest.raises(AssertionError, match=seen):
                world.run(told_now)
        finally:
            world.close()

    return story


def one_answer_for_all(directory: Path, remove: Callable[[], None]) -> None:
    remove()
    with pytest.raises(AssertionError):
        test_g1_nothing_from_strangers.test_every_knock_gets_the_one_answer(directory, 1)


def another_name_in_accept(directory: Path, remove: Callable[[], None]) -> None:
    async def story(world: World) -> None:
        g5 = test_g5_nobody_in_the_middle
        notes = await g5._honest_notes(world)
        world.watch.spared.add("alice")
        alice = await world.person("alice", settings=g5._SHORT)
        bob = await world.person("bob", settings=g5._SHORT)
        mallory, _ = own_identity.create(SeededEntropy(1, "mallory"), START_MS)
        (substitution,) = [
            one for one in every_substitution(mallory, notes) if str(one) == "ACCEPT: name changed"
        ]
        await g5._is_foiled(world, alice, bob, substitution)

    told(story, seen="ACCEPT.*name changed")(directory, remove)


REMOVALS = [
    Removal("G1", "one answer for all", removing_checks.answer_who_is_there, one_answer_for_all),
    Removal(
        "G3",
        "the owner is asked",
        removing_checks.agree_without_the_owner,
        told(
            test_g3_two_yeses.test_a_link_that_asks_again_connects_nobody_before_the_second_yes,
            seen="'active' == 'requested'",
        ),
    ),
    Removal(
        "G3",
        "an invitation waits for the other yes",
        removing_checks.count_one_yes_for_both,
        told(
            test_invitations_that_wait.test_g3_nothing_of_it_leaves_before_the_second_yes,
            seen="queued for somebody",
        ),
    ),
    Removal(
        "G4",
        "a link is bound to its first request",
        removing_checks.take_a_link_again,
        told(test_g4_an_invitation_works_once.test_a_link_works_once, seen="'active' == 'none'"),
    ),
    Removal(
        "G4",
        "a link expires",
        removing_checks.take_a_link_at_any_time,
        told(
            test_g4_an_invitation_works_once.test_a_link_that_has_expired_is_refused,
            seen="'active' == 'none'",
        ),
    ),
    Removal(
        "G5",
        "signatures and transcripts",
        removing_checks.compare_no_transcripts_and_no_signatures,
        another_name_in_accept,
    ),
    Removal(
        "G7",
        "the sequence",
        removing_checks.take_any_sequence,
        told(
            test_g7_replay.test_every_envelope_again_while_the_other_is_away,
            "alice",
            "bob",
            seen=r"assert \['[0-9a-f]+",
        ),
    ),
    Removal(
        "G8",
        "a frame is stored before it is acknowledged",
        removing_checks.forget_every_fourth,
        told(
            test_g8_delivered_once.test_only_the_answers_are_lost,
            "alice",
            "bob",
            seen="acknowledged .* frames that are not worked off, and keeps",
        ),
    ),
    Removal(
        "G9",
        "a pause closes the line",
        removing_checks.close_nothing,
        told(
            test_g9_pause.test_a_pause_moves_nothing_and_loses_nothing,
            "alice",
            "bob",
            seen=r"Passage\(.* == \[\]",
        ),
    ),
    Removal(
        "G10",
        "keys and what waits are deleted",
        removing_checks.delete_no_channel,
        told(
            test_g10_revoke.test_nothing_is_left_and_nothing_moves,
            "alice",
            "bob",
            seen="'channels'",
        ),
    ),
    Removal(
        "G11",
        "the revoked are hidden",
        removing_checks.hide_nobody,
        told(
            test_g11_hidden_senders.test_one_sync_shows_that_he_left_every_shared_room,
            *("alice", "bob", "carol"),
            seen="shows nothing of the room",
            is_fast=True,
        ),
    ),
    Removal(
        "G14",
        "a note of a repair brings the card",
        removing_checks.look_at_no_card_in_a_note,
        told(
            test_g14_renewed_after_a_restore.test_a_restore_and_a_rotation,
            "alice",
            "bob",
            seen="Extra items in the left set:\n.*after it'",
            who="alice",
        ),
    ),
    Removal(
        "G15",
        "a session is of one run",
        removing_checks.go_on_in_any_session,
        told(
            test_g15_copies_of_three.test_nobody_saw_anything_newer,
            "alice",
            "bob",
            seen="used twice",
            victim="alice",
            is_stopped=False,
        ),
    ),
    Removal(
        "G16",
        "a receipt proves a claim",
        removing_checks.believe_every_claim,
        told(
            test_g16_forged_positions.test_a_forged_position_destroys_no_key_of_others,
            seen="'old_copy' not in",
            claim="received",
            when="at the start",
        ),
    ),
    Removal(
        "G15",
        "an old copy begins anew",
        removing_checks.go_on_with_old_ratchets,
        told(
            test_g15_restored_copies.test_a_raw_copy_of_the_files,
            "alice",
            "bob",
            seen="used twice",
            victim="alice",
        ),
    ),
    Removal(
        "G16",
        "a rate for each peer",
        removing_checks.keep_to_no_rate,
        told(test_g16_hostile_peers.test_a_flood_beyond_his_rate_waits, seen=r"> \(100 \*"),
    ),
    Removal(
        "G20",
        "grants are asked each time",
        removing_checks.grant_everything,
        told(test_g20_edits_apply_at_once.test_room_invites, "alice", "bob", seen=r"assert \['!"),
    ),
    Removal(
        "encrypted rooms",
        "keys of sleeping peers are at hand",
        removing_checks.hand_out_no_deposit,
        told(
            test_encrypted_rooms.test_who_is_entitled_reads_and_nobody_else,
            seen="was entitled to",
            messages=40,
        ),
    ),
]


@pytest.mark.parametrize("removal", REMOVALS, ids=str)
def test_without_its_check_the_promise_is_seen_to_break(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, removal: Removal
) -> None:
    removal.story(tmp_path, lambda: removal.remove(monkeypatch))
