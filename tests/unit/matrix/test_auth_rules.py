from typing import Any

import pytest

from homeserver.errors import NotAllowed
from homeserver.matrix import auth_rules, events
from homeserver.matrix.auth_rules import CREATE, JOIN_RULES, POWER_LEVELS
from homeserver.matrix.events import Event
from homeserver.matrix.power_levels import PowerLevels
from homeserver.matrix.room_versions import RoomVersion

from .histories import (
    ALICE,
    ALL_VERSIONS,
    BOB,
    CHARLIE,
    EVE,
    V10,
    V11,
    V12,
    History,
    State,
    open_room,
    pdu,
)

each_version = pytest.mark.parametrize("version", ALL_VERSIONS, ids=lambda version: version.id)


def allowed(room: History, state: State, event: Event) -> bool:
    try:
        auth_rules.check(event, room.auth_state(state))
    except NotAllowed:
        return False
    return True


def sent(room: History, state: State, sender: str, kind: str, **fields: Any) -> bool:
    event = room.event(kind, sender, fields.get("state_key"), fields.get("content", {}), state)
    return allowed(room, state, event)


def _create(version: RoomVersion, content: dict[str, Any], **changes: Any) -> Event:
    room_version = {"room_version": version.id}
    fields = pdu(type="m.room.create", state_key="", content=room_version | content) | changes
    if version.room_id_is_create_event:
        del fields["room_id"]
    if version.create_names_creator and not content:
        fields["content"]["creator"] = ALICE
    return events.parse(fields, version)


@each_version
def test_a_room_can_be_created(version: RoomVersion) -> None:
    auth_rules.check(_create(version, {}), {})


@pytest.mark.parametrize(
    ("version", "content", "changes"),
    [
        *((version, {}, {"prev_events": ["$before"]}) for version in ALL_VERSIONS),
        *((version, {}, {"state_key": "x"}) for version in ALL_VERSIONS),
        *((version, {"room_version": "9", "creator": ALICE}, {}) for version in ALL_VERSIONS),
        *((version, {"room_version": [], "creator": ALICE}, {}) for version in ALL_VERSIONS),
        (V11, {}, {"room_id": "!room:elsewhere.example"}),
        (V11, {}, {"room_id": "!nowhere"}),
        (V10, {"not": "the creator"}, {}),
        (V12, {"additional_creators": BOB}, {}),
        (V12, {"additional_creators": None}, {}),
        (V12, {"additional_creators": [BOB, "charlie"]}, {}),
        (V12, {"additional_creators": [7]}, {}),
    ],
)
def test_a_room_cannot_be_created_like_that(
    version: RoomVersion, content: dict[str, Any], changes: dict[str, Any]
) -> None:
    with pytest.raises(NotAllowed):
        auth_rules.check(_create(version, content, **changes), {})


def test_additional_creators_are_users() -> None:
    auth_rules.check(_create(V12, {"additional_creators": [BOB]}), {})
    auth_rules.check(_create(V11, {"additional_creators": "anything"}), {})


def test_an_event_belongs_to_the_room_of_its_create_event() -> None:
    room, state = open_room(V12, BOB)
    message = room.event("m.room.message", ALICE, None, {}, state)
    assert allowed(room, state, message)
    another = room.create(name="another").event_id
    assert not allowed(room, state | {CREATE: another}, message)
    del state[CREATE]
    assert not allowed(room, state, message)


@each_version
def test_a_room_can_be_kept_to_one_server(version: RoomVersion) -> None:
    room = History(version)
    no: Any = False
    create = room.create(**{"m.federate": no})
    state: State = {CREATE: create.event_id}
    join = room.member(ALICE, ALICE, "join", state, prev=[create.event_id])
    assert allowed(room, state, join)
    state[join.key] = join.event_id
    room.apply(state, "m.room.join_rules", ALICE, "", {"join_rule": "public"})
    assert allowed(room, state, room.member(BOB, BOB, "join", state))
    assert not allowed(room, state, room.member(EVE, EVE, "join", state))


@each_version
def test_only_members_send(version: RoomVersion) -> None:
    room, state = open_room(version, BOB)
    assert sent(room, state, BOB, "m.room.message")
    assert not sent(room, state, CHARLIE, "m.room.message")
    room.apply(state, "m.room.member", BOB, BOB, {"membership": "leave"})
    assert not sent(room, state, BOB, "m.room.message")


@each_version
def test_sending_takes_the_required_power(version: RoomVersion) -> None:
    room, state = open_room(version, BOB, CHARLIE, bob=50)
    assert sent(room, state, BOB, "m.room.name", state_key="")
    assert not sent(room, state, CHARLIE, "m.room.name", state_key="")
    assert sent(room, state, CHARLIE, "m.room.name"), "as a message it is nobody's state"


@each_version
def test_state_named_after_a_user_is_theirs(version: RoomVersion) -> None:
    room, state = open_room(version, BOB, bob=50)
    assert sent(room, state, BOB, "org.example.mood", state_key=BOB)
    assert not sent(room, state, BOB, "org.example.mood", state_key=ALICE)
    assert not sent(room, state, ALICE, "org.example.mood", state_key=BOB)
    assert sent(room, state, BOB, "org.example.mood", state_key="alice")


@each_version
def test_inviting_by_other_means_takes_the_power_to_invite(version: RoomVersion) -> None:
    room, state = open_room(version, BOB, CHARLIE, bob=20)
    users = {BOB: 20} if version is V12 else {ALICE: 100, BOB: 20}
    room.apply(state, "m.room.power_levels", ALICE, "", {"users": users, "invite": 20})
    assert sent(room, state, BOB, "m.room.third_party_invite", state_key="token")
    assert not sent(room, state, CHARLIE, "m.room.third_party_invite", state_key="token")


# Which state an event cites.


def keys(
    version: RoomVersion, kind: str, content: dict[str, Any], target: str | None = None
) -> Any:
    return auth_rules.auth_keys(kind, ALICE, target, content, version) - {
        POWER_LEVELS,
        ("m.room.member", ALICE),
    }


def test_every_event_cites_power_and_membership_and_before_v12_the_create_event() -> None:
    plain = {POWER_LEVELS, ("m.room.member", ALICE)}
    assert auth_rules.auth_keys("m.room.message", ALICE, None, {}, V12) == plain
    assert auth_rules.auth_keys("m.room.message", ALICE, None, {}, V11) == plain | {CREATE}
    assert auth_rules.auth_keys("m.room.create", ALICE, "", {}, V11) == frozenset()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"membership": "leave"}, set()),
        ({"membership": "ban"}, set()),
        ({"membership": ["join"]}, set()),
        ({}, set()),
        ({"membership": "join"}, {JOIN_RULES}),
        ({"membership": "knock"}, {JOIN_RULES}),
        (
            {"membership": "join", "join_authorised_via_users_server": CHARLIE},
            {JOIN_RULES, ("m.room.member", CHARLIE)},
        ),
        ({"membership": "join", "join_authorised_via_users_server": 7}, {JOIN_RULES}),
        ({"membership": "leave", "join_authorised_via_users_server": CHARLIE}, set()),
        ({"membership": "invite", "third_party_invite": []}, {JOIN_RULES}),
        ({"membership": "invite", "third_party_invite": {"signed": 1}}, {JOIN_RULES}),
        (
            {"membership": "invite", "third_party_invite": {"signed": {"token": "t"}}},
            {JOIN_RULES, ("m.room.third_party_invite", "t")},
        ),
    ],
)
def test_a_membership_cites_what_decides_about_it(
    content: dict[str, Any], expected: set[tuple[str, str]]
) -> None:
    assert keys(V12, "m.room.member", content, BOB) == expected | {("m.room.member", BOB)}


def test_a_membership_of_nobody_cites_nobody() -> None:
    assert keys(V12, "m.room.member", {"membership": "leave"}) == frozenset()


# Which citations are right.


@each_version
def test_what_a_history_cites_is_right_in_any_order(version: RoomVersion) -> None:
    room, _ = open_room(version, BOB)
    for event in room.known.values():
        cited = [room.known[event_id] for event_id in event.auth_events]
        auth_rules.check_auth_events(event, cited)
        auth_rules.check_auth_events(event, cited[::-1])


def _cites(room: History, cited: list[Event], **rejected: Any) -> bool:
    fields = pdu(room_id=room.room_id, auth_events=[event.event_id for event in cited])
    try:
        auth_rules.check_auth_events(events.parse(fields, room.version), cited, **rejected)
    except NotAllowed:
        return False
    return True


@each_version
def test_wrong_citations_are_refused(version: RoomVersion) -> None:
    room, state = open_room(version, BOB)
    create, alice, bob, levels, rules = (
        room.known[state[key]]
        for key in (
            CREATE,
            ("m.room.member", ALICE),
            ("m.room.member", BOB),
            POWER_LEVELS,
            JOIN_RULES,
        )
    )
    message = room.event("m.room.message", ALICE, None, {}, state)
    right = [levels, alice] if version is V12 else [create, levels, alice]
    assert _cites(room, right)
    assert not _cites(room, [*right, rules]), "an event that it should not cite"
    assert not _cites(room, [*right, bob]), "another user's membership"
    assert not _cites(room, [*right, message]), "an event that is no state"
    assert not _cites(room, [*right, levels]), "the same twice"
    again = room.event("m.room.power_levels", ALICE, "", {"users": {}}, state)
    assert not _cites(room, [*right, again]), "two for one key"
    assert not _cites(room, right, rejected={levels.event_id})
    assert _cites(room, right[1:]) is (version is V12), "the create event is missing before v12"
    assert _cites(room, [create, levels, alice]) is (version is not V12)


@each_version
def test_citations_from_another_room_are_refused(version: RoomVersion) -> None:
    room, state = open_room(version)
    other = History(version, room_id=room.room_id)
    elsewhere = other.member(ALICE, ALICE, "join", {})
    room.room_id = type(room.room_id)("!other:example.org")
    fields = [room.known[state[CREATE]]] if version is not V12 else []
    assert not _cites(room, [*fields, elsewhere])


def test_a_citation_that_is_not_at_hand_is_refused() -> None:
    room, state = open_room(V12)
    message = room.event("m.room.message", ALICE, None, {}, state)
    with pytest.raises(NotAllowed):
        auth_rules.check_auth_events(message, [])


# Which redactions take effect.


def test_a_redaction_takes_effect_for_moderators_and_on_the_own_servers_events() -> None:
    room, state = open_room(V12, BOB, EVE, eve=50)
    by_alice = room.event("m.room.message", ALICE, None, {}, state)
    by_eve = room.event("m.room.message", EVE, None, {}, state)
    levels = PowerLevels.of(room.known[state[CREATE]], room.known[state[POWER_LEVELS]])

    def redacts(sender: str, target: Event, named: Event) -> bool:
        content = {"redacts": named.event_id}
        event = room.event("m.room.redaction", sender, None, content, state)
        return auth_rules.may_redact(event, target, levels)

    assert redacts(EVE, by_alice, by_alice), "with the power to redact"
    assert redacts(BOB, by_alice, by_alice), "from the same server"
    assert not redacts(BOB, by_eve, by_eve)
    assert not redacts(EVE, by_alice, by_eve), "it names another event"
    elsewhere = events.parse(by_alice.pdu | {"room_id": "!other:example.org"}, V12)
    assert not redacts(ALICE, elsewhere, elsewhere), "it is in another room"
