from itertools import product
from typing import Any

import pytest

from homeserver.errors import NotAllowed
from homeserver.matrix import auth_rules
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
    open_room,
)

MEMBERSHIPS = ("leave", "invite", "join", "knock", "ban")
JOIN_RULE_NAMES = ("public", "invite", "knock", "restricted", "knock_restricted", "private")

each_version = pytest.mark.parametrize("version", ALL_VERSIONS, ids=lambda version: version.id)


def allowed(room: History, state: State, event: Event) -> bool:
    try:
        auth_rules.check(event, room.auth_state(state))
    except NotAllowed:
        return False
    return True


def put(room: History, state: State, kind: str, state_key: str, **content: Any) -> None:
    """Set a part of the state, by what way ever it came about."""
    event = room.event(kind, ALICE, state_key, content, state)
    state[event.key] = event.event_id


@pytest.fixture(params=ALL_VERSIONS, ids=lambda version: version.id)
def room_and_state(request: pytest.FixtureRequest) -> tuple[History, State]:
    """Alice 100 or above, Bob 50, Charlie and Ella 0; none but Alice is in the room."""
    version: RoomVersion = request.param
    return open_room(version, bob=50)


def test_joining(room_and_state: tuple[History, State]) -> None:
    room, state = room_and_state
    for rule, before in product(JOIN_RULE_NAMES, MEMBERSHIPS):
        put(room, state, "m.room.join_rules", "", join_rule=rule)
        put(room, state, "m.room.member", CHARLIE, membership=before)
        expected = before != "ban" and (
            rule == "public" or (rule != "private" and before in ("invite", "join"))
        )
        join = room.member(CHARLIE, CHARLIE, "join", state)
        assert allowed(room, state, join) is expected, (rule, before)
        assert not allowed(room, state, room.member(ALICE, CHARLIE, "join", state))


def test_joining_where_a_members_server_vouches(room_and_state: tuple[History, State]) -> None:
    room, state = room_and_state
    users = {BOB: 50} if room.version is V12 else {ALICE: 100, BOB: 50}
    put(room, state, "m.room.power_levels", "", users=users, invite=50)
    memberships = {BOB: "join", ELLA: "join", CHARLIE: "leave"}
    for user_id, membership in memberships.items():
        put(room, state, "m.room.member", user_id, membership=membership)

    def joins(authorising_user: Any) -> bool:
        content = {"join_authorised_via_users_server": authorising_user}
        return allowed(room, state, room.member(CHARLIE, CHARLIE, "join", state, content=content))

    for rule in ("restricted", "knock_restricted"):
        put(room, state, "m.room.join_rules", "", join_rule=rule)
        assert joins(BOB), rule
        assert not joins(ELLA), "she may not invite"
        assert not joins("@nobody:example.org"), "not in the room"
        assert not joins(7)
        put(room, state, "m.room.member", CHARLIE, membership="ban")
        assert not joins(BOB), "a ban is a ban"
        put(room, state, "m.room.member", CHARLIE, membership="leave")
    put(room, state, "m.room.join_rules", "", join_rule="invite")
    assert not joins(BOB), "not under this rule"
    put(room, state, "m.room.member", BOB, membership="leave")
    put(room, state, "m.room.join_rules", "", join_rule="restricted")
    assert not joins(BOB), "he has left"


def test_without_a_rule_joining_takes_an_invitation(room_and_state: tuple[History, State]) -> None:
    room, state = room_and_state
    for unsaid in ({}, {"join_rule": 7}):
        put(room, state, "m.room.join_rules", "", **unsaid)
        assert not allowed(room, state, room.member(CHARLIE, CHARLIE, "join", state))
    del state[JOIN_RULES]
    assert not allowed(room, state, room.member(CHARLIE, CHARLIE, "join", state))
    put(room, state, "m.room.member", CHARLIE, membership="invite")
    assert allowed(room, state, room.member(CHARLIE, CHARLIE, "join", state))


@each_version
def test_only_the_creator_joins_right_after_the_creation(version: RoomVersion) -> None:
    room = History(version)
    create = room.create()
    state: State = {auth_rules.CREATE: create.event_id}
    first = room.member(ALICE, ALICE, "join", state, prev=[create.event_id])
    assert allowed(room, state, first)
    assert not allowed(room, state, room.member(BOB, BOB, "join", state, prev=[create.event_id]))
    assert not allowed(room, state, room.member(ALICE, ALICE, "join", state))
    two = [create.event_id, first.event_id]
    assert not allowed(room, state, room.member(ALICE, ALICE, "join", state, prev=two))


def test_in_v10_the_creator_is_whom_the_create_event_names() -> None:
    for version, joins in ((V10, True), (V11, False)):
        room = History(version)
        create = room.create(sender=ALICE)
        # What v10 calls creator is content; the builder writes it as the sender would.
        content = create.content | {"creator": BOB}
        other = room.event("m.room.create", ALICE, "", content, {}, prev=[])
        state: State = {auth_rules.CREATE: other.event_id}
        join = room.member(BOB, BOB, "join", state, prev=[other.event_id])
        assert allowed(room, state, join) is joins


def test_inviting(room_and_state: tuple[History, State]) -> None:
    room, state = room_and_state
    for before, sender_membership in product(MEMBERSHIPS, MEMBERSHIPS):
        put(room, state, "m.room.member", CHARLIE, membership=before)
        put(room, state, "m.room.member", ELLA, membership=sender_membership)
        expected = sender_membership == "join" and before not in ("join", "ban")
        invite = room.member(ELLA, CHARLIE, "invite", state)
        assert allowed(room, state, invite) is expected, (before, sender_membership)


def test_inviting_takes_power(room_and_state: tuple[History, State]) -> None:
    room, state = room_and_state
    users = {BOB: 50} if room.version is V12 else {ALICE: 100, BOB: 50}
    put(room, state, "m.room.power_levels", "", users=users, invite=50)
    for user_id in (BOB, ELLA):
        put(room, state, "m.room.member", user_id, membership="join")
    assert allowed(room, state, room.member(BOB, CHARLIE, "invite", state))
    assert not allowed(room, state, room.member(ELLA, CHARLIE, "invite", state))


def test_invitations_by_e_mail_are_refused(room_and_state: tuple[History, State]) -> None:
    room, state = room_and_state
    content = {"third_party_invite": {"signed": {"mxid": CHARLIE, "token": "t"}}}
    invite = room.member(ALICE, CHARLIE, "invite", state, content=content)
    assert not allowed(room, state, invite)


def test_leaving(room_and_state: tuple[History, State]) -> None:
    room, state = room_and_state
    for before in MEMBERSHIPS:
        put(room, state, "m.room.member", CHARLIE, membership=before)
        leave = room.member(CHARLIE, CHARLIE, "leave", state)
        assert allowed(room, state, leave) is (before in ("invite", "join", "knock")), before


def test_kicking_and_lifting_bans(room_and_state: tuple[History, State]) -> None:
    room, state = room_and_state
    users = {BOB: 50, ELLA: 60} | ({} if room.version is V12 else {ALICE: 100})
    for target, before, kick, ban in product(
        (CHARLIE, ELLA, ALICE), MEMBERSHIPS, (50, 51), (50, 51)
    ):
        put(room, state, "m.room.power_levels", "", users=users, kick=kick, ban=ban)
        for sender_membership in ("join", "leave"):
            put(room, state, "m.room.member", BOB, membership=sender_membership)
            put(room, state, "m.room.member", target, membership=before)
            expected = (
                sender_membership == "join"
                and target == CHARLIE
                and kick == 50
                and (before != "ban" or ban == 50)
            )
            event = room.member(BOB, target, "leave", state)
            assert allowed(room, state, event) is expected, (target, before, kick, ban)


def test_banning(room_and_state: tuple[History, State]) -> None:
    room, state = room_and_state
    users = {BOB: 50, ELLA: 50} | ({} if room.version is V12 else {ALICE: 100})
    for target, before, ban in product((CHARLIE, ELLA, ALICE), MEMBERSHIPS, (50, 51)):
        put(room, state, "m.room.power_levels", "", users=users, ban=ban)
        for sender_membership in ("join", "leave"):
            put(room, state, "m.room.member", BOB, membership=sender_membership)
            put(room, state, "m.room.member", target, membership=before)
            expected = sender_membership == "join" and target == CHARLIE and ban == 50
            event = room.member(BOB, target, "ban", state)
            assert allowed(room, state, event) is expected, (target, before, ban)


def test_nobody_bans_an_equal_and_from_v12_nobody_a_creator() -> None:
    room, state = open_room(V12, BOB, bob=2**53 - 1)
    assert not allowed(room, state, room.member(BOB, ALICE, "ban", state))
    assert allowed(room, state, room.member(ALICE, BOB, "ban", state))
    assert not allowed(room, state, room.member(ALICE, ALICE, "ban", state))
    old, old_state = open_room(V11, BOB, bob=100)
    assert not allowed(old, old_state, old.member(ALICE, BOB, "ban", old_state))


def test_knocking(room_and_state: tuple[History, State]) -> None:
    room, state = room_and_state
    for rule, before in product(JOIN_RULE_NAMES, MEMBERSHIPS):
        put(room, state, "m.room.join_rules", "", join_rule=rule)
        put(room, state, "m.room.member", CHARLIE, membership=before)
        expected = rule in ("knock", "knock_restricted") and before in ("leave", "knock")
        knock = room.member(CHARLIE, CHARLIE, "knock", state)
        assert allowed(room, state, knock) is expected, (rule, before)
        assert not allowed(room, state, room.member(ALICE, CHARLIE, "knock", state))


@pytest.mark.parametrize("content", [{}, {"membership": "dance"}, {"membership": 7}])
def test_a_membership_must_be_known(
    room_and_state: tuple[History, State], content: dict[str, Any]
) -> None:
    room, state = room_and_state
    assert not allowed(room, state, room.event("m.room.member", BOB, BOB, content, state))


def test_a_membership_must_be_somebodys(room_and_state: tuple[History, State]) -> None:
    room, state = room_and_state
    event = room.event("m.room.member", BOB, None, {"membership": "join"}, state)
    assert not allowed(room, state, event)


def test_who_was_never_there_has_left(room_and_state: tuple[History, State]) -> None:
    room, state = room_and_state
    del state[POWER_LEVELS]
    assert not allowed(room, state, room.member(CHARLIE, CHARLIE, "leave", state))
    assert allowed(room, state, room.member(ALICE, CHARLIE, "ban", state))
