"""Restricted rooms: a member of another room may join if somebody of ours vouches for it.

Spec: server-server-api#restricted-rooms
"""

from typing import Any

from homeserver import errors
from homeserver.matrix import identifiers, signing
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.events import StateMap
from homeserver.matrix.identifiers import RoomId, UserId
from homeserver.matrix.room_versions import RoomVersion
from homeserver.rooms import inviting, state
from homeserver.rooms.local_server import LocalServer
from homeserver.storage import rooms
from homeserver.storage.unit_of_work import View

AUTHORISED_BY = inviting.AUTHORISED_BY

_RESTRICTED = frozenset({"restricted", "knock_restricted"})
_NEEDS_NOBODY = frozenset({"join", "invite"})


def authorisation(
    view: View, local: LocalServer, current: StateMap, room_id: RoomId, user_id: UserId
) -> JsonObject:
    """What a join has to say of who vouches for it; nothing where nobody has to.

    Raises Forbidden where somebody would have to and nobody can.
    """
    rule = state.load_entry(view, current, state.JOIN_RULES)
    if rule is None or rule.content.get("join_rule") not in _RESTRICTED:
        return {}
    member = state.load_entry(view, current, state.member_key(user_id))
    if member is not None and member.content.get("membership") in _NEEDS_NOBODY:
        return {}
    if not _is_in_allowed_room(view, rule.content.get("allow"), user_id):
        raise errors.Forbidden("You are in none of the rooms whose members may join.")
    levels = state.power_levels(view, current)
    for candidate in sorted(rooms.joined_users(view, room_id)):
        if local.owns(candidate) and levels.may(candidate, "invite"):
            return {AUTHORISED_BY: candidate}
    raise errors.Forbidden("Nobody of this server may let you in.")


def is_authorised_here(local: LocalServer, pdu: JsonObject) -> bool:
    """Whether a join names one of our users as the one who vouches for it."""
    named = pdu["content"].get(AUTHORISED_BY)
    return isinstance(named, str) and identifiers.is_user_id(named) and local.owns(named)


def countersigned(local: LocalServer, pdu: JsonObject, version: RoomVersion) -> JsonObject:
    """The join with our signature beside its own server's."""
    key = local.signing_key
    signature = signing.unpadded_b64(key.sign(signing.essential_bytes(pdu, version)))
    return pdu | {"signatures": pdu["signatures"] | {local.server_name: {key.key_id: signature}}}


def _is_in_allowed_room(view: View, allow: Any, user_id: UserId) -> bool:
    for one in allow if isinstance(allow, list) else ():
        room_id = one.get("room_id") if isinstance(one, dict) else None
        if isinstance(room_id, str) and one.get("type") == "m.room_membership":
            found = rooms.find_membership(view, RoomId(room_id), user_id)
            if found is not None and found.membership == "join":
                return True
    return False
