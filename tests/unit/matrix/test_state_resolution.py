from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeserver.errors import NotAllowed
from homeserver.matrix import auth_rules, state_ordering, state_resolution
from homeserver.matrix.auth_graph import AuthGraph
from homeserver.matrix.auth_rules import CREATE, JOIN_RULES, POWER_LEVELS
from homeserver.matrix.events import Event
from homeserver.matrix.identifiers import EventId
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
    open_room,
)

each_version = pytest.mark.parametrize("version", ALL_VERSIONS, ids=lambda version: version.id)
TOPIC = ("m.room.topic", "")


def resolve(room: History, *states: State) -> State:
    """Resolve, and insist that the order of the states makes no difference."""
    results = [
        state_resolution.resolve(room.version, order, room.fetch) for order in permutations(states)
    ]
    assert all(result == results[0] for result in results)
    return results[0]


def _member(user_id: str) -> tuple[str, str]:
    return ("m.room.member", user_id)


def _set(
    room: History, state: State, sender: str, name: str, key: str = "", **content: object
) -> Event:
    return room.apply(state, f"m.room.{name}", sender, key, content)


def _levels(room: History, **levels: int) -> dict[str, int]:
    named = {f"@{name}:example.org": level for name, level in levels.items()}
    return named if room.version is V12 else {ALICE: 100} | named


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
    assert resolved[_member(BOB)] == ban.event_id
    assert TOPIC not in resolved


@each_version
def test_a_demotion_beats_the_demoted_ones_topic(version: RoomVersion) -> None:
    room, state = open_room(version, BOB, bob=50)
    before = _set(room, state, ALICE, "topic", topic="before")
    left, right = dict(state), dict(state)
    _set(room, right, BOB, "topic", topic="meanwhile")
    _set(room, left, ALICE, "power_levels", users=_levels(room))
    assert resolve(room, left, right)[TOPIC] == before.event_id


@each_version
def test_of_two_power_levels_the_mightier_sender_comes_first(version: RoomVersion) -> None:
    room, state = open_room(version, BOB, bob=50)
    left, right = dict(state), dict(state)
    promotion = _set(room, left, BOB, "power_levels", users=_levels(room, bob=50, charlie=50))
    demotion = _set(room, right, ALICE, "power_levels", users=_levels(room))
    assert promotion.origin_server_ts < demotion.origin_server_ts
    assert resolve(room, left, right)[POWER_LEVELS] == demotion.event_id


@each_version
def test_banning_each_other_is_won_by_the_mightier(version: RoomVersion) -> None:
    room, state = open_room(version, BOB, CHARLIE, bob=60, charlie=50)
    users = _levels(room, bob=60, charlie=50)
    left, right = dict(state), dict(state)
    _set(room, left, CHARLIE, "power_levels", users=users | {ELLA: 50})
    ban = _set(room, right, BOB, "member", CHARLIE, membership="ban")
    resolved = resolve(room, left, right)
    assert resolved[_member(CHARLIE)] == ban.event_id
    assert resolved[POWER_LEVELS] == state[POWER_LEVELS]


@each_version
def test_a_room_that_closes_shuts_out_who_joins_meanwhile(version: RoomVersion) -> None:
    room, state = open_room(version, BOB)
    left, right = dict(state), dict(state)
    closed = _set(room, left, ALICE, "join_rules", join_rule="invite")
    _set(room, right, CHARLIE, "member", CHARLIE, membership="join")
    resolved = resolve(room, left, right)
    assert resolved[JOIN_RULES] == closed.event_id
    assert _member(CHARLIE) not in resolved


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
    _set(room, right, ALICE, "power_levels", users=_levels(room, bob=50), ban=60)
    fresh = room.event("m.room.topic", BOB, "", {"topic": "fresh"}, right, at=1)
    right[TOPIC] = fresh.event_id
    assert resolve(room, left, right)[TOPIC] == fresh.event_id


@each_version
def test_what_lies_behind_unconflicted_events_is_in_nobodys_doubt(version: RoomVersion) -> None:
    room, state = open_room(version, BOB, bob=50)
    stale = room.event("m.room.topic", BOB, "", {"topic": "cites the former levels"}, state)
    former = state[POWER_LEVELS]
    _set(room, state, ALICE, "power_levels", users=_levels(room, bob=50), ban=60)
    graph = AuthGraph(room.fetch)
    conflicted = [{stale.event_id}, set()]
    assert former in stale.auth_events
    assert graph.difference(conflicted, state.values()) == set()
    without = [event_id for event_id in state.values() if event_id != state[POWER_LEVELS]]
    without.remove(state[JOIN_RULES])
    without.remove(state[_member(BOB)])
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
    _set(room, state, ALICE, "power_levels", users=_levels(room, bob=60))
    _set(room, state, BOB, "power_levels", users=_levels(room, bob=60, charlie=50))
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
    assert _member(ELLA) in resolved
    assert _member("@zara:example.org") in resolved


# Laws, over histories that grow at random on three branches.

USERS = (ALICE, BOB, CHARLIE, ELLA)
_steps = st.tuples(
    st.integers(0, 2),
    st.sampled_from(USERS),
    st.sampled_from(
        ["join", "leave", "kick", "ban", "invite", "topic", "levels", "rules", "merge"]
    ),
    st.sampled_from(USERS),
    st.integers(0, 3),
)


def _grow(
    version: RoomVersion, steps: list[tuple[int, str, str, str, int]]
) -> tuple[History, list[State]]:
    room, state = open_room(version, BOB, CHARLIE, bob=60, charlie=50)
    branches = [dict(state) for _ in range(3)]
    for branch, sender, action, target, number in steps:
        if action == "merge":
            branches[branch] = state_resolution.resolve(
                version, [branches[branch], branches[number % 3]], room.fetch
            )
            continue
        kind, key, content = _action(room, sender, action, target, number)
        event = room.event(kind, sender, key, content, branches[branch], at=number)
        try:
            auth_rules.check(event, room.auth_state(branches[branch]))
        except NotAllowed:
            continue
        branches[branch][event.key] = event.event_id
    return room, branches


def _action(
    room: History, sender: str, action: str, target: str, number: int
) -> tuple[str, str, dict[str, object]]:
    if action == "topic":
        return ("m.room.topic", "", {"topic": number})
    if action == "rules":
        return ("m.room.join_rules", "", {"join_rule": ("public", "invite", "knock")[number % 3]})
    if action == "levels":
        others = {target: number * 20} if target != ALICE else {}
        return ("m.room.power_levels", "", {"users": _levels(room, bob=60, charlie=50) | others})
    if action in ("join", "leave"):
        return ("m.room.member", sender, {"membership": action})
    membership = {"kick": "leave"}.get(action, action)
    return ("m.room.member", target, {"membership": membership})


growing = given(version=st.sampled_from(ALL_VERSIONS), steps=st.lists(_steps, max_size=25))


@settings(max_examples=60, deadline=None)
@growing
def test_any_order_of_states_gives_the_same_state(
    version: RoomVersion, steps: list[tuple[int, str, str, str, int]]
) -> None:
    room, branches = _grow(version, steps)
    resolved = resolve(room, *branches)
    assert resolve(room, branches[0], *branches) == resolved, "a state twice changes nothing"
    common = branches[0].items() & branches[1].items() & branches[2].items()
    assert common <= resolved.items(), "what nobody disputes stays"
    offered = set().union(*(branch.values() for branch in branches))
    assert resolved.keys() >= {CREATE, _member(ALICE)} & branches[0].keys()
    chain = AuthGraph(room.fetch).chain(offered)
    assert set(resolved.values()) <= chain, "nothing comes from nowhere"


def _obvious_chain(room: History, event_id: EventId) -> set[EventId]:
    cited = room.known[event_id].auth_events
    return {event_id}.union(*(_obvious_chain(room, parent) for parent in cited))


@settings(max_examples=40, deadline=None)
@growing
def test_difference_and_subgraph_agree_with_their_definitions(
    version: RoomVersion, steps: list[tuple[int, str, str, str, int]]
) -> None:
    room, branches = _grow(version, steps)
    common = dict(branches[0].items() & branches[1].items() & branches[2].items())
    conflicted = [set(branch.values()) - set(common.values()) for branch in branches]
    disputed = set().union(*conflicted)
    chains = [
        set().union(*(_obvious_chain(room, event_id) for event_id in branch.values()))
        for branch in branches
    ]
    difference = set().union(*chains) - set(chains[0]).intersection(*chains)
    graph = AuthGraph(room.fetch)
    assert graph.difference(conflicted, common.values()) == difference - disputed
    above = set().union(*(_obvious_chain(room, event_id) for event_id in disputed))
    between = {event_id for event_id in above if _obvious_chain(room, event_id) & disputed}
    assert graph.subgraph(disputed) == between
    assert graph.chain(disputed) == above


@settings(max_examples=40, deadline=None)
@growing
def test_causes_come_before_effects(
    version: RoomVersion, steps: list[tuple[int, str, str, str, int]]
) -> None:
    room, _ = _grow(version, steps)
    everything = set(room.known)
    ordered = state_ordering.by_power(everything, AuthGraph(room.fetch))
    assert set(ordered) == everything
    assert len(ordered) == len(everything)
    place = {event_id: index for index, event_id in enumerate(ordered)}
    for event_id in everything:
        for cause in room.known[event_id].auth_events:
            assert place[cause] < place[event_id]


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
        _set(room, state, ALICE, "power_levels", users=_levels(room, bob=50))
    left, right = dict(state), dict(state)
    _set(room, left, ALICE, "topic", topic="left")
    _set(room, right, BOB, "topic", topic="right")
    room.fetched.clear()
    state_resolution.resolve(version, [left, right], room.fetch)
    assert len(room.fetched) < 10
