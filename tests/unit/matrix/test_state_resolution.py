import pytest

from homeserver.matrix import state_resolution
from homeserver.matrix.auth_graph import AuthGraph
from homeserver.matrix.auth_rules import JOIN_RULES, POWER_LEVELS
from homeserver.matrix.events import Event
from homeserver.matrix.room_versions import RoomVersion

from .histories import (
    ALICE,
    ALL_VERSIONS,
    BOB,
    CHARLIE,
    ELLA,
    V10,
    V11,
    V12,
    History,
    State,
    member_key,
    open_room,
    resolve,
    users_with,
)

each_version = pytest.mark.parametrize("version", ALL_VERSIONS, ids=lambda version: version.id)
TOPIC = ("m.room.topic", "")


def _set(
    room: History, state: State, sender: str, name: str, key: str = "", **content: object
) -> Event:
    return room.apply(state, f"m.room.{name}", sender, key, content)


@each_version
def test_states_that_agree_need_no_events(version: RoomVersion) -> None:
    room, state = open_room(version, BOB)
    assert resolve(room, state) == state
    assert resolve(room, state, dict(state), dict(state)) == state
    assert room.fetched == []


@each_version
def test_what_only_one_side_has_is_kept_if_it_is_allowed(version: RoomVersion) -> None:
    room, state = open_room(version, BOB)
    left, right = dict(state), dict(state)
    joined = _set(room, left, CHARLIE, "member", CHARLIE, membership="join")
    topic = _set(room, right, ALICE, "topic", topic="t")
    merged = state | {joined.key: joined.event_id, topic.key: topic.event_id}
    assert resolve(room, left, right) == merged
    assert resolve(room, state, left, right) == merged


@each_version
def test_the_later_of_two_equal_topics_wins(version: RoomVersion) -> None:
    room, state = open_room(version, BOB, bob=50)
    left, right = dict(state), dict(state)
    early = _set(room, left, ALICE, "topic", topic="early")
    late = _set(room, right, BOB, "topic", topic="late")
    assert early.origin_server_ts < late.origin_server_ts
    assert resolve(room, left, right)[TOPIC] == late.event_id


@each_version
def test_at_the_same_time_the_id_decides(version: RoomVersion) -> None:
    room, state = open_room(version, BOB, bob=50)
    ids = []
    states = []
    for sender in (ALICE, BOB):
        event = room.event("m.room.topic", sender, "", {}, state, at=1000)
        ids.append(event.event_id)
        states.append(state | {TOPIC: event.event_id})
    assert resolve(room, *states)[TOPIC] == max(ids)


@each_version
def test_a_ban_beats_what_the_banned_did_meanwhile(version: RoomVersion) -> None:
    room, state = open_room(version, BOB, bob=50)
    left, right = dict(state), dict(state)
    _set(room, right, BOB, "topic", topic="meanwhile")
    ban = _set(room, left, ALICE, "member", BOB, membership="ban")
    resolved = resolve(room, left, right)
    assert resolved[member_key(BOB)] == ban.event_id
    assert TOPIC not in resolved


@each_version
def test_a_demotion_beats_the_demoted_ones_topic(version: RoomVersion) -> None:
    room, state = open_room(version, BOB, bob=50)
    before = _set(room, state, ALICE, "topic", topic="before")
    left, right = dict(state), dict(state)
    _set(room, right, BOB, "topic", topic="meanwhile")
    _set(room, left, ALICE, "power_levels", users=users_with(room))
    assert resolve(room, left, right)[TOPIC] == before.event_id


@each_version
def test_of_two_power_levels_the_mightier_sender_comes_first(version: RoomVersion) -> None:
    room, state = open_room(version, BOB, bob=50)
    left, right = dict(state), dict(state)
    promotion = _set(room, left, BOB, "power_levels", users=users_with(room, bob=50, charlie=50))
    demotion = _set(room, right, ALICE, "power_levels", users=users_with(room))
    assert promotion.origin_server_ts < demotion.origin_server_ts
    assert resolve(room, left, right)[POWER_LEVELS] == demotion.event_id


@each_version
def test_banning_each_other_is_won_by_the_mightier(version: RoomVersion) -> None:
    room, state = open_room(version, BOB, CHARLIE, bob=60, charlie=50)
    users = users_with(room, bob=60, charlie=50)
    left, right = dict(state), dict(state)
    _set(room, left, CHARLIE, "power_levels", users=users | {ELLA: 50})
    ban = _set(room, right, BOB, "member", CHARLIE, membership="ban")
    resolved = resolve(room, left, right)
    assert resolved[member_key(CHARLIE)] == ban.event_id
    assert resolved[POWER_LEVELS] == state[POWER_LEVELS]


@each_version
def test_a_room_that_closes_shuts_out_who_joins_meanwhile(version: RoomVersion) -> None:
    room, state = open_room(version, BOB)
    left, right = dict(state), dict(state)
    closed = _set(room, left, ALICE, "join_rules", join_rule="invite")
    _set(room, right, CHARLIE, "member", CHARLIE, membership="join")
    resolved = resolve(room, left, right)
    assert resolved[JOIN_RULES] == closed.event_id
    assert member_key(CHARLIE) not in resolved


@each_version
def test_users_may_join_on_all_sides_at_once(version: RoomVersion) -> None:
    room, state = open_room(version)
    states, joined = [], []
    for user_id in (BOB, CHARLIE, ELLA):
        states.append(dict(state))
        joined.append(_set(room, states[-1], user_id, "member", user_id, membership="join"))
    expected = state | {event.key: event.event_id for event in joined}
    assert resolve(room, *states) == expected


@each_version
def test_a_topic_rests_on_the_newest_power_levels(version: RoomVersion) -> None:
    # Mainline ordering: what rests on newer power levels wins, whatever its clock says.
    room, state = open_room(version, BOB, bob=50)
    left, right = dict(state), dict(state)
    stale = room.event("m.room.topic", BOB, "", {"topic": "stale"}, left, at=10**6)
    left[TOPIC] = stale.event_id
    _set(room, right, ALICE, "power_levels", users=users_with(room, bob=50), ban=60)
    fresh = room.event("m.room.topic", BOB, "", {"topic": "fresh"}, right, at=1)
    right[TOPIC] = fresh.event_id
    assert resolve(room, left, right)[TOPIC] == fresh.event_id


@each_version
def test_what_lies_behind_unconflicted_events_is_in_nobodys_doubt(version: RoomVersion) -> None:
    room, state = open_room(version, BOB, bob=50)
    stale = room.event("m.room.topic", BOB, "", {"topic": "cites the former levels"}, state)
    former = state[POWER_LEVELS]
    _set(room, state, ALICE, "power_levels", users=users_with(room, bob=50), ban=60)
    graph = AuthGraph(room.fetch)
    conflicted = [{stale.event_id}, set()]
    assert former in stale.auth_events
    assert graph.difference(conflicted, state.values()) == set()
    without = [event_id for event_id in state.values() if event_id != state[POWER_LEVELS]]
    without.remove(state[JOIN_RULES])
    without.remove(state[member_key(BOB)])
    assert former in graph.difference(conflicted, without)
    assert resolve(room, state | {TOPIC: stale.event_id}, state)[TOPIC] == stale.event_id


# The problems that version 2.1 solves, as MSC4297 tells them. In both, a peer claims a state that
# is older than what its own events cite.


def _problem_a(version: RoomVersion) -> tuple[History, State, State]:
    room, state = open_room(version, BOB, bob=50)
    outdated = dict(state)
    _set(room, state, ALICE, "join_rules", join_rule="invite")
    left = room.member(ALICE, ALICE, "leave", state)
    state[left.key] = outdated[left.key] = left.event_id
    return room, state, outdated


@pytest.mark.parametrize("version", [V10, V11, V12], ids=lambda version: version.id)
def test_problem_a_the_unconflicted_state_forbids_what_was_allowed(version: RoomVersion) -> None:
    room, newest, outdated = _problem_a(version)
    resolved = resolve(room, newest, outdated)
    if version is V12:
        assert resolved[JOIN_RULES] == newest[JOIN_RULES]
        assert resolved == newest
    else:  # version 2 loses the join rules: their sender has left
        assert JOIN_RULES not in resolved


def _problem_b(version: RoomVersion) -> tuple[History, State, State]:
    room, state = open_room(version, BOB, CHARLIE)
    oldest = state[POWER_LEVELS]
    _set(room, state, ALICE, "power_levels", users=users_with(room, bob=60))
    _set(room, state, BOB, "power_levels", users=users_with(room, bob=60, charlie=50))
    newest, outdated = dict(state), dict(state)
    _set(room, newest, ELLA, "member", ELLA, membership="join")
    _set(room, outdated, "@zara:example.org", "member", "@zara:example.org", membership="join")
    outdated[POWER_LEVELS] = oldest
    return room, newest, outdated


@pytest.mark.parametrize("version", [V10, V11, V12], ids=lambda version: version.id)
def test_problem_b_what_lies_between_is_needed(version: RoomVersion) -> None:
    room, newest, outdated = _problem_b(version)
    resolved = resolve(room, newest, outdated)
    if version is V12:
        assert resolved[POWER_LEVELS] == newest[POWER_LEVELS]
    else:  # version 2 does not replay Bob's promotion, so Bob could not promote Charlie
        assert resolved[POWER_LEVELS] == outdated[POWER_LEVELS]
    assert member_key(ELLA) in resolved
    assert member_key("@zara:example.org") in resolved


def test_a_long_history_is_walked_once_and_without_recursion() -> None:
    room, state = open_room(V12, BOB, bob=50)
    for number in range(1500):
        users = {BOB: 50 + number % 2}
        event = room.event("m.room.power_levels", ALICE, "", {"users": users}, state)
        state[event.key] = event.event_id
    left, right = dict(state), dict(state)
    _set(room, left, ALICE, "topic", topic="left")
    _set(room, right, ALICE, "power_levels", users={BOB: 49})
    _set(room, right, ALICE, "topic", topic="right")
    right[POWER_LEVELS], left[POWER_LEVELS] = left[POWER_LEVELS], right[POWER_LEVELS]
    room.fetched.clear()
    state_resolution.resolve(V12, [left, right], room.fetch)
    assert len(room.fetched) == len(set(room.fetched)) <= len(room.known)


@each_version
def test_a_conflict_about_a_topic_does_not_enter_the_past(version: RoomVersion) -> None:
    room, state = open_room(version, BOB, bob=50)
    for _ in range(300):
        _set(room, state, ALICE, "power_levels", users=users_with(room, bob=50))
    left, right = dict(state), dict(state)
    _set(room, left, ALICE, "topic", topic="left")
    _set(room, right, BOB, "topic", topic="right")
    room.fetched.clear()
    state_resolution.resolve(version, [left, right], room.fetch)
    assert len(room.fetched) < 10
