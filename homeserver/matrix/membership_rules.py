"""The m.room.member branch of the authorisation rules.

Rule numbers in comments are those of room version 12; versions 10 and 11 count one less.

Spec: rooms/v12#authorisation-rules
"""

from collections.abc import Callable, Mapping

from homeserver.errors import NotAllowed
from homeserver.matrix.events import Event, StateKey
from homeserver.matrix.identifiers import UserId
from homeserver.matrix.power_levels import PowerLevels

AuthState = Mapping[StateKey, Event]

_RESTRICTED = frozenset({"restricted", "knock_restricted"})
_KNOCKABLE = frozenset({"knock", "knock_restricted"})
_INVITED = frozenset({"invite", "join"})


def check(event: Event, auth_state: AuthState) -> None:
    """Raise unless this change of a membership is allowed. Rule 5; the create event is given.

    Rule 5.2, the signature of the authorising server, is a matter of `events.verify_signatures`.
    """
    membership = event.content.get("membership")
    if event.state_key is None or not isinstance(membership, str):  # 5.1
        raise NotAllowed("A membership needs a user and a value.")
    rule = _RULES.get(membership)
    if rule is None:  # 5.8
        raise NotAllowed("That membership is unknown.")
    rule(event, event.state_key, auth_state)


def membership_of(user_id: str, auth_state: AuthState) -> str:
    """Return a user's membership in a state; who was never there has left."""
    member = auth_state.get(("m.room.member", user_id))
    membership = member.content.get("membership") if member is not None else None
    return membership if isinstance(membership, str) else "leave"


def join_rule(auth_state: AuthState) -> str:
    """Return how a room may be joined: by invitation if it does not say."""
    rules = auth_state.get(("m.room.join_rules", ""))
    rule = rules.content.get("join_rule") if rules is not None else None
    return rule if isinstance(rule, str) else "invite"


def levels(auth_state: AuthState) -> PowerLevels:
    """Return the power levels of a state that holds a create event."""
    power_levels = auth_state.get(("m.room.power_levels", ""))
    return PowerLevels.of(auth_state["m.room.create", ""], power_levels)


def _check_join(event: Event, user_id: str, auth_state: AuthState) -> None:
    if _is_creators_first_join(event, user_id, auth_state):  # 5.3.1
        return
    if event.sender != user_id:  # 5.3.2
        raise NotAllowed("Nobody can join for somebody else.")
    membership = membership_of(user_id, auth_state)
    if membership == "ban":  # 5.3.3
        raise NotAllowed("You are banned from this room.")
    rule = join_rule(auth_state)
    if rule == "public":  # 5.3.6
        return
    if rule in _RESTRICTED and membership not in _INVITED:  # 5.3.5
        _check_authorised_join(event, auth_state)
    elif rule not in _KNOCKABLE | _RESTRICTED | {"invite"}:  # 5.3.7
        raise NotAllowed("This room cannot be joined.")
    elif membership not in _INVITED:  # 5.3.4
        raise NotAllowed("You are not invited to this room.")


def _is_creators_first_join(event: Event, user_id: str, auth_state: AuthState) -> bool:
    create = auth_state["m.room.create", ""]
    if event.prev_events != (create.event_id,):
        return False
    if create.version.create_names_creator:
        return user_id == create.content.get("creator")
    return user_id == create.sender


def _check_authorised_join(event: Event, auth_state: AuthState) -> None:
    authorising_user = event.content.get("join_authorised_via_users_server")
    if not isinstance(authorising_user, str):
        raise NotAllowed("Joining this room takes an invitation or a member's server.")
    if membership_of(authorising_user, auth_state) != "join":
        raise NotAllowed("The user who authorised the join is not in the room.")
    if not levels(auth_state).may(authorising_user, "invite"):
        raise NotAllowed("The user who authorised the join may not invite.")


def _check_invite(event: Event, user_id: str, auth_state: AuthState) -> None:
    if "third_party_invite" in event.content:
        # 5.4.1 needs an identity server, which personal servers do not have: refuse all of them.
        raise NotAllowed("This server takes no invitations by e-mail or phone.")
    _check_sender_joined(event, auth_state)  # 5.4.2
    membership = membership_of(user_id, auth_state)
    if membership == "join":  # 5.4.3
        raise NotAllowed("That user is in the room already.")
    if membership == "ban":
        raise NotAllowed("That user is banned from this room.")
    if not levels(auth_state).may(event.sender, "invite"):  # 5.4.5
        raise NotAllowed("You may not invite into this room.")


def _check_leave(event: Event, user_id: str, auth_state: AuthState) -> None:
    membership = membership_of(user_id, auth_state)
    if event.sender == user_id:  # 5.5.1
        if membership not in {"invite", "join", "knock"}:
            raise NotAllowed("You are not in this room.")
        return
    _check_sender_joined(event, auth_state)  # 5.5.2
    power = levels(auth_state)
    if membership == "ban" and not power.may(event.sender, "ban"):  # 5.5.3
        raise NotAllowed("You may not lift bans in this room.")
    if not power.may(event.sender, "kick"):  # 5.5.4
        raise NotAllowed("You may not remove users from this room.")
    _check_is_below(user_id, event.sender, power)


def _check_ban(event: Event, user_id: str, auth_state: AuthState) -> None:
    _check_sender_joined(event, auth_state)  # 5.6.1
    power = levels(auth_state)
    if not power.may(event.sender, "ban"):  # 5.6.2
        raise NotAllowed("You may not ban users from this room.")
    _check_is_below(user_id, event.sender, power)


def _check_knock(event: Event, user_id: str, auth_state: AuthState) -> None:
    if join_rule(auth_state) not in _KNOCKABLE:  # 5.7.1
        raise NotAllowed("This room takes no knocks.")
    if event.sender != user_id:  # 5.7.2
        raise NotAllowed("Nobody can knock for somebody else.")
    if membership_of(user_id, auth_state) in {"ban", "invite", "join"}:  # 5.7.3
        raise NotAllowed("You cannot knock here: you are banned, invited or in the room.")


def _check_sender_joined(event: Event, auth_state: AuthState) -> None:
    if membership_of(event.sender, auth_state) != "join":
        raise NotAllowed("You are not in this room.")


def _check_is_below(user_id: str, sender: UserId, power: PowerLevels) -> None:
    if power.of_user(user_id) >= power.of_user(sender):
        raise NotAllowed("That user's power level is not below yours.")


_RULES: Mapping[str, Callable[[Event, str, AuthState], None]] = {
    "join": _check_join,
    "invite": _check_invite,
    "leave": _check_leave,
    "ban": _check_ban,
    "knock": _check_knock,
}
