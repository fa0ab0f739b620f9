from typing import Any

import pytest

from homeserver.matrix.canonical_json import MAX_INTEGER
from homeserver.matrix.power_levels import INFINITE, Action, PowerLevels
from homeserver.matrix.room_versions import RoomVersion

from .histories import ALICE, ALL_VERSIONS, BOB, CHARLIE, V10, V11, V12, History


def levels(version: RoomVersion, content: dict[str, Any] | None, **create: Any) -> PowerLevels:
    room = History(version)
    created = room.create(**create)
    if content is None:
        return PowerLevels.of(created, None)
    event = room.event("m.room.power_levels", ALICE, "", content, {})
    return PowerLevels.of(created, event)


@pytest.mark.parametrize(("version", "level"), [(V10, 100), (V11, 100), (V12, INFINITE)])
def test_without_power_levels_the_creator_rules_alone(version: RoomVersion, level: int) -> None:
    power = levels(version, None)
    assert power.of_user(ALICE) == level
    assert power.of_user(BOB) == 0


@pytest.mark.parametrize("version", [V10, V11])
def test_before_v12_a_creator_can_lose_power(version: RoomVersion) -> None:
    power = levels(version, {"users": {BOB: 100}, "users_default": 5})
    assert power.of_user(ALICE) == 5
    assert power.of_user(BOB) == 100


def test_from_v12_creators_stand_above_every_level_that_can_be_written() -> None:
    power = levels(V12, {"users": {BOB: MAX_INTEGER}}, additional_creators=[CHARLIE])
    assert power.of_user(ALICE) == power.of_user(CHARLIE) > power.of_user(BOB)


def test_additional_creators_mean_nothing_before_v12() -> None:
    assert levels(V11, None, additional_creators=[CHARLIE]).of_user(CHARLIE) == 0


@pytest.mark.parametrize("content", [None, {}])
@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_what_a_room_does_not_say_has_a_default(
    version: RoomVersion, content: dict[str, Any] | None
) -> None:
    power = levels(version, content)
    assert power.to_send("m.room.message", is_state=False) == 0
    assert power.to_send("m.room.name", is_state=True) == 50
    assert power.to_notify("room") == 50
    actions: list[tuple[Action, int]] = [("invite", 0), ("kick", 50), ("ban", 50), ("redact", 50)]
    for action, level in actions:
        assert power.to(action) == level


def test_what_a_room_says_counts() -> None:
    power = levels(
        V12,
        {
            "events": {"m.room.name": 30},
            "events_default": 10,
            "state_default": 20,
            "invite": 1,
            "notifications": {"room": 7},
            "users": {BOB: 20},
        },
    )
    assert power.to_send("m.room.name", is_state=True) == 30
    assert power.to_send("m.room.name", is_state=False) == 30
    assert power.to_send("m.room.topic", is_state=True) == 20
    assert power.to_send("m.room.topic", is_state=False) == 10
    assert power.to("invite") == 1
    assert power.to_notify("room") == 7
    assert power.may_send(BOB, "m.room.topic", is_state=True)
    assert not power.may_send(BOB, "m.room.name", is_state=True)
    assert power.may(BOB, "invite")
    assert not power.may(BOB, "ban")


def test_a_level_that_is_no_integer_counts_as_unsaid() -> None:
    power = levels(V12, {"users": [], "users_default": "7", "ban": True, "events": None})
    assert power.of_user(BOB) == 0
    assert power.to("ban") == 50
    assert power.to_send("m.room.name", is_state=True) == 50
