"""Whether an event may happen, given a state.

Rule numbers in comments are those of room version 12; versions 10 and 11 count one less.

Spec: rooms/v12#authorisation-rules
"""

from collections.abc import Collection, Sequence

from homeserver.errors import InvalidParam, NotAllowed
from homeserver.matrix import membership_rules, power_level_rules
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.events import Event, StateKey
from homeserver.matrix.identifiers import EventId, is_user_id, server_of
from homeserver.matrix.membership_rules import AuthState
from homeserver.matrix.power_levels import PowerLevels
from homeserver.matrix.room_versions import ROOM_VERSIONS, RoomVersion

CREATE: StateKey = ("m.room.create", "")
POWER_LEVELS: StateKey = ("m.room.power_levels", "")
JOIN_RULES: StateKey = ("m.room.join_rules", "")

# Only these can be auth events: `auth_keys` names no others.
AUTH_TYPES = frozenset(
    {
        "m.room.create",
        "m.room.member",
        "m.room.join_rules",
        "m.room.power_levels",
        "m.room.third_party_invite",
    }
)

_USES_JOIN_RULES = frozenset({"join", "invite", "knock"})


def check(event: Event, auth_state: AuthState) -> None:
    """Raise `NotAllowed` unless the event may follow this state.

    `auth_state` holds at least what `auth_keys` names, as far as the state has it, and the create
    event in every version. Rejected events must not be in it.

    Spec: rooms/v12#authorisation-rules
    """
    if event.type == "m.room.create":
        _check_create(event)  # 1
        return
    create = auth_state.get(CREATE)
    if create is None or create.room_id != event.room_id:  # 2
        raise NotAllowed("The event belongs to no room that we know.")
    _check_may_federate(event, create)  # 4
    if event.type == "m.room.member":
        membership_rules.check(event, auth_state)  # 5
        return
    if membership_rules.membership_of(event.sender, auth_state) != "join":  # 6
        raise NotAllowed("You are not in this room.")
    levels = PowerLevels.of(create, auth_state.get(POWER_LEVELS))
    if event.type == "m.room.third_party_invite":  # 7
        if not levels.may(event.sender, "invite"):
            raise NotAllowed("You may not invite into this room.")
        return
    _check_may_send(event, levels)
    if event.type == "m.room.power_levels":
        power_level_rules.check(event, create, auth_state.get(POWER_LEVELS))  # 10


def check_auth_events(
    event: Event, auth_events: Sequence[Event], rejected: Collection[EventId] = ()
) -> None:
    """Raise `NotAllowed` unless the event cites what it must and nothing else. Rule 3.

    `auth_events` are the events that it cites; `rejected` the IDs of those we rejected.

    Spec: rooms/v12#authorisation-rules
    """
    expected = auth_keys(event.type, event.sender, event.state_key, event.content, event.version)
    if sorted(auth_event.event_id for auth_event in auth_events) != sorted(event.auth_events):
        raise NotAllowed("Not all auth events are known.")
    seen: set[StateKey] = set()
    for auth_event in auth_events:
        if not auth_event.is_state or auth_event.key not in expected:  # 3.2
            raise NotAllowed("The event cites an auth event that it must not cite.")
        if auth_event.key in seen:  # 3.1
            raise NotAllowed("The event cites two auth events for one key.")
        if auth_event.event_id in rejected:  # 3.3
            raise NotAllowed("The event cites a rejected event.")
        if auth_event.room_id != event.room_id:  # 3.5
            raise NotAllowed("The event cites an event of another room.")
        seen.add(auth_event.key)
    if CREATE in expected and CREATE not in seen:  # before v12: 2.4
        raise NotAllowed("The event does not cite the create event.")


def auth_keys(
    event_type: str, sender: str, state_key: str | None, content: JsonObject, version: RoomVersion
) -> frozenset[StateKey]:
    """Return the keys of the state from which an event's auth events are chosen.

    Spec: server-server-api#auth-events-selection
    """
    if event_type == "m.room.create":
        return frozenset()
    keys = {POWER_LEVELS, ("m.room.member", sender)}
    if not version.room_id_is_create_event:
        keys.add(CREATE)
    if event_type == "m.room.member":
        keys |= _membership_keys(state_key, content)
    return frozenset(keys)


def may_redact(redaction: Event, target: Event, levels: PowerLevels) -> bool:
    """Whether an allowed redaction event takes effect on its target.

    Spec: rooms/v11#handling-redactions
    """
    if redaction.room_id != target.room_id or redaction.redacts != target.event_id:
        return False
    if server_of(redaction.sender) == server_of(target.sender):
        return True
    return levels.may(redaction.sender, "redact")


def _membership_keys(state_key: str | None, content: JsonObject) -> set[StateKey]:
    keys: set[StateKey] = set()
    if state_key is not None:
        keys.add(("m.room.member", state_key))
    membership = content.get("membership")
    if isinstance(membership, str) and membership in _USES_JOIN_RULES:
        keys.add(JOIN_RULES)
    authorising_user = content.get("join_authorised_via_users_server")
    if membership == "join" and isinstance(authorising_user, str):
        keys.add(("m.room.member", authorising_user))
    token = _third_party_token(content)
    if membership == "invite" and token is not None:
        keys.add(("m.room.third_party_invite", token))
    return keys


def _third_party_token(content: JsonObject) -> str | None:
    invite = content.get("third_party_invite")
    signed = invite.get("signed") if isinstance(invite, dict) else None
    token = signed.get("token") if isinstance(signed, dict) else None
    return token if isinstance(token, str) else None


def _check_create(event: Event) -> None:
    content = event.content
    if event.prev_events:  # 1.1
        raise NotAllowed("A room cannot be created twice.")
    if event.state_key != "":
        raise NotAllowed("m.room.create needs an empty state_key.")
    # 1.2, from v12: `events.parse` refuses a room_id.
    if not event.version.room_id_is_create_event and not _on_own_server(event):
        raise NotAllowed("The room ID belongs to another server.")
    # 1.3: a room that names no version has version 1, which this server does not know.
    if ROOM_VERSIONS.get(str(content.get("room_version"))) is not event.version:
        raise NotAllowed("The create event names another room version.")
    if event.version.create_names_creator and "creator" not in content:  # v10: 1.4
        raise NotAllowed("m.room.create needs a creator.")
    if event.version.creators_are_above_all:  # from v12: 1.4
        _check_additional_creators(content.get("additional_creators", []))


def _on_own_server(event: Event) -> bool:
    try:
        return server_of(event.room_id) == server_of(event.sender)
    except InvalidParam:
        return False


def _check_additional_creators(creators: object) -> None:
    if not isinstance(creators, list) or not all(
        isinstance(user_id, str) and is_user_id(user_id) for user_id in creators
    ):
        raise NotAllowed("additional_creators must be user IDs.")


def _check_may_federate(event: Event, create: Event) -> None:
    if create.content.get("m.federate") is False and (
        server_of(event.sender) != server_of(create.sender)
    ):
        raise NotAllowed("This room is for users of one server only.")


def _check_may_send(event: Event, levels: PowerLevels) -> None:
    if not levels.may_send(event.sender, event.type, event.is_state):  # 8
        raise NotAllowed(f"Your power level is too low to send {event.type} here.")
    if (
        event.state_key is not None
        and event.state_key.startswith("@")
        and event.state_key != event.sender
    ):  # 9
        raise NotAllowed("State that belongs to another user is theirs to set.")
