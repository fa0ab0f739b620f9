"""Laws of state resolution, over histories that grow at random on three branches."""

from hypothesis import given, settings
from hypothesis import strategies as st

from homeserver.errors import NotAllowed
from homeserver.matrix import auth_rules, state_ordering, state_resolution
from homeserver.matrix.auth_graph import AuthGraph
from homeserver.matrix.auth_rules import CREATE
from homeserver.matrix.identifiers import EventId
from homeserver.matrix.room_versions import RoomVersion

from .histories import (
    ALICE,
    ALL_VERSIONS,
    BOB,
    CHARLIE,
    ELLA,
    History,
    State,
    open_room,
    resolve,
    users_with,
)

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
        return ("m.room.power_levels", "", {"users": users_with(room, bob=60, charlie=50) | others})
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
    assert CREATE in resolved
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
