"""Checks taken away where no simulated world alone tells of it; and that no promise is left out."""

import asyncio
import inspect
import re
from pathlib import Path

import pytest

from federation import identity
from federation.lines import Line
from federation.ratchets.vodozemac import Vodozemac
from homeserver.testing.person import Person
from homeserver.testing.simulated import simulated
from homeserver.testing.world import World
from tests.federation import test_g14_no_silent_key_change as g14
from tests.federation.conftest import Meeting
from tests.simulation import test_g7_replay
from tests.simulation.test_every_check_counts import REMOVALS

HERE = {"G14"}
# What the document says how to try by hand.
BY_HAND = {"G2", "G12", "G18"}


@simulated
async def test_answers_are_replayed_where_they_need_not_name_their_question(
    world: World, befriended: list[Person], monkeypatch: pytest.MonkeyPatch
) -> None:
    note = Line.note_received

    def take_for_newest(self: Line, nonce: bytes, answers: bytes) -> int | None:
        note(self, nonce, answers)
        return next(reversed(self._sent.values()), None)

    monkeypatch.setattr(Line, "note_received", take_for_newest)
    story = inspect.unwrap(test_g7_replay.test_every_answer_in_the_place_of_another)
    with pytest.raises(AssertionError):
        await story(world=world, befriended=befriended)


def test_keys_change_in_silence_where_any_may_follow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        meeting = Meeting(tmp_path)
        try:
            with pytest.raises(AssertionError):
                await g14.test_a_card_that_the_peer_shows(meeting, g14.another_card, Vodozemac())
        finally:
            for node in meeting.nodes:
                await node.stop()

    monkeypatch.setattr(identity, "may_replace", lambda *_arguments: True)
    asyncio.run(story())


def test_no_promise_is_left_out() -> None:
    document = Path(__file__).parents[2] / "docs" / "promises.md"
    promises = set(re.findall(r"^\| (G\d+) \|", document.read_text("utf-8"), re.MULTILINE))
    assert len(promises) > 10
    tried = {removal.promise for removal in REMOVALS if re.match(r"G\d", removal.promise)}
    assert tried | HERE | BY_HAND == promises
