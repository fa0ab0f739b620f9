from typing import Any

import pytest

from homeserver.errors import NotAllowed
from homeserver.matrix import auth_rules
from homeserver.matrix.auth_rules import POWER_LEVELS
from homeserver.matrix.room_versions import RoomVersion

from .histories import ALICE, ALL_VERSIONS, BOB, CHARLIE, ELLA, V11, V12, open_room

SINGLE = ("users_default", "events_default", "state_default", "ban", "redact", "kick", "invite")

each_version = pytest.mark.parametrize("version", ALL_VERSIONS, ids=lambda version: version.id)


def allowed(
    before: dict[str, Any], after: dict[str, Any], version: RoomVersion = V11, sender: str = BOB
) -> bool:
    """Whether Bob, who has 50 if `before` gives it to him, may change the levels so."""
    room, state = open_room(version, BOB)
    users = {ALICE: 100, BOB: 50} if version is not V12 else {BOB: 50}
    before = {"users": users} | before
    replaced = room.event("m.room.power_levels", ALICE, "", before, state)
    state[POWER_LEVELS] = replaced.event_id
    event = room.event("m.room.power_levels", sender, "", {"users": before["users"]} | after, state)
    try:
        auth_rules.check(event, room.auth_state(state))
    except NotAllowed:
        return False
    return True


@each_version
@pytest.mark.parametrize("name", SINGLE)
@pytest.mark.parametrize("value", ["50", 50.0, True, None, [], {}])
def test_single_levels_are_integers(version: RoomVersion, name: str, value: Any) -> None:
    if not isinstance(value, float):  # which no event can hold
        assert not allowed({}, {name: value}, version)
    assert allowed({}, {name: 50}, version)


@each_version
@pytest.mark.parametrize("name", ["events", "notifications", "users"])
@pytest.mark.parametrize("value", [None, [], 7, {"@x:y": "50"}, {"@x:y": True}, {"@x:y": None}])
def test_groups_of_levels_are_objects_of_integers(
    version: RoomVersion, name: str, value: Any
) -> None:
    assert not allowed({}, {name: value}, version)


@each_version
def test_levels_are_given_to_users(version: RoomVersion) -> None:
    users = {BOB: 50} | ({} if version is V12 else {ALICE: 100})
    assert allowed({}, {"users": users | {"@x:y": 0}}, version)
    assert not allowed({}, {"users": users | {"x": 0}}, version)


@pytest.mark.parametrize("name", SINGLE)
def test_single_levels_change_up_to_the_senders_own(name: str) -> None:
    assert allowed({}, {name: 50})
    assert not allowed({}, {name: 51})
    assert allowed({name: 50}, {name: 0})
    assert not allowed({name: 51}, {name: 50})
    assert not allowed({name: 51}, {}), "taking it away changes it too"
    assert allowed({name: 50}, {})
    # What stays as it is needs no power; unless it is what gives the sender power to send.
    assert allowed({name: 51}, {name: 51}) is (name != "state_default")


@pytest.mark.parametrize("name", ["events", "notifications"])
def test_entries_change_up_to_the_senders_own_level(name: str) -> None:
    assert allowed({}, {name: {"x": 50}})
    assert not allowed({}, {name: {"x": 51}})
    assert allowed({name: {"x": 50}}, {name: {"x": 0}})
    assert not allowed({name: {"x": 51}}, {name: {"x": 50}})
    assert not allowed({name: {"x": 51}}, {name: {}})
    assert not allowed({name: {"x": 51}}, {})
    assert allowed({name: {"x": 50}}, {})
    assert allowed({name: {"x": 51}}, {name: {"x": 51}})


def test_users_change_below_the_sender() -> None:
    def changed(before: dict[str, int], after: dict[str, int]) -> bool:
        both = {ALICE: 100, BOB: 50}
        return allowed({"users": both | before}, {"users": both | after})

    assert changed({}, {CHARLIE: 50})
    assert not changed({}, {CHARLIE: 51})
    assert changed({CHARLIE: 49}, {CHARLIE: 50})
    assert changed({CHARLIE: 49}, {})
    assert not changed({CHARLIE: 50}, {CHARLIE: 49}), "an equal"
    assert not changed({CHARLIE: 50}, {})
    assert changed({CHARLIE: 50, ELLA: 1}, {CHARLIE: 50})
    assert changed({}, {BOB: 49}), "one's own level goes down"
    assert not changed({}, {BOB: 51}), "but not up"
    assert not changed({}, {ALICE: 99})


def test_own_power_may_be_given_up() -> None:
    assert allowed({"users": {ALICE: 100, BOB: 50}}, {"users": {ALICE: 100}})


@each_version
def test_the_first_power_levels_are_free(version: RoomVersion) -> None:
    room, state = open_room(version)
    del state[POWER_LEVELS]
    event = room.event("m.room.power_levels", ALICE, "", {"ban": 1000}, state)
    auth_rules.check(event, room.auth_state(state))


def test_from_v12_creators_are_not_named() -> None:
    room, state = open_room(V12)
    create = room.create(additional_creators=[CHARLIE])
    state[auth_rules.CREATE] = create.event_id
    for user_id, fine in ((ALICE, False), (CHARLIE, False), (BOB, True)):
        event = room.event("m.room.power_levels", ALICE, "", {"users": {user_id: 100}}, state)
        if fine:
            auth_rules.check(event, room.auth_state(state))
        else:
            with pytest.raises(NotAllowed):
                auth_rules.check(event, room.auth_state(state))


def test_from_v12_a_creator_may_change_every_level() -> None:
    top = 2**53 - 1
    assert allowed(
        {"users": {BOB: top}, "ban": top}, {"users": {BOB: 0}, "ban": 0}, V12, sender=ALICE
    )
