"""Change memberships, and tell the servers that are not in the room: of invitations above all.

Spec: server-server-api#inviting-to-a-room
"""

from collections.abc import Iterable
from dataclasses import replace

from homeserver import errors
from homeserver.matrix import identifiers
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.events import Event, StateMap
from homeserver.matrix.identifiers import UserId
from homeserver.rooms import drafting, state
from homeserver.rooms.drafting import Intent
from homeserver.rooms.local_server import LocalServer
from homeserver.storage import accounts, frames, invitations, peers, room_state, rooms, sharing
from homeserver.storage.peers import Peer
from homeserver.storage.rooms import Room
from homeserver.storage.unit_of_work import UnitOfWork, View

AUTHORISED_BY = "join_authorised_via_users_server"

# What an invitation shows of the room, and what declining it has to cite.
_SHOWN = (
    "m.room.create",
    "m.room.join_rules",
    "m.room.canonical_alias",
    "m.room.avatar",
    "m.room.name",
    "m.room.encryption",
    "m.room.topic",
    "m.room.power_levels",
)

_SEND_A_LINK = (
    "Write invite in your Connections room, or use `homeserver peers invite`, send the link to "
    "that person, and invite again once you are connected."
)
_UNKNOWN = (
    f"Your server is not connected to the server of {{}}, so it cannot be asked. {_SEND_A_LINK}"
)
# What to do about somebody who is known, by the standing of their server.
_NOT_CONNECTED = {
    "requested": "The server of {} asks to connect with yours. Accept that in your Connections "
    "room, or with `homeserver peers accept`, and invite again once you are connected.",
    "offered": "You agreed to meet the server of {} in a room, and a connection that is made for "
    f"rooms carries no invitations. {_SEND_A_LINK}",
    "revoked": f"You ended the connection with the server of {{}}. {_SEND_A_LINK}",
    "declined": f"You declined the request of the server of {{}} to connect. {_SEND_A_LINK}",
    "blocked": "You have blocked the server of {}. Unblock it first, in your Connections room or "
    f"with `homeserver peers unblock`. {_SEND_A_LINK}",
}


def check_connected(view: View, local: LocalServer, user_ids: Iterable[UserId]) -> None:
    """Raise `NotConnected` if one of these users lives on a server that we do not know.

    Where our owner has said yes and theirs has not yet, the invitation waits for it. Raises
    `InviteBlocked` where a user's server told us that its owner takes no invitations.

    Spec: client-server-api#invite-permission
    """
    connected = peers.connected_servers(view)
    for user_id in user_ids:
        server = identifiers.server_of(user_id)
        if local.owns(user_id):
            continue
        peer = peers.find_peer(view, server)
        if peer is not None and _may_wait(view, peer):
            continue
        if server not in connected:
            standing = "none" if peer is None else peer.standing
            raise errors.NotConnected(_NOT_CONNECTED.get(standing, _UNKNOWN).format(user_id))
        if peer is not None and peer.room_id is not None:
            raise errors.NotConnected(
                f"Your server is connected to the server of {user_id} for rooms you share only. "
                "Send that person a link of your own (`homeserver peers invite`) to invite them."
            )
        if peer is not None and peer.granted.get(peers.TAKES_INVITES) is False:
            raise errors.InviteBlocked


def _may_wait(view: View, peer: Peer) -> bool:
    """Whether a yes of the other side is all that is missing, and will be for every room."""
    return peer.standing == "offered" and any(
        one.room_id is None for one in invitations.handshakes_with(view, peer.node_id)
    )


def change_membership(
    work: UnitOfWork, local: LocalServer, room: Room, intent: Intent, now_ms: int
) -> tuple[Event, Room]:
    """Append a membership; a connected server outside the room gets it in the outbox.

    Somebody on a server that we are not connected to cannot be invited. What is so already is not
    said again.
    """
    standing = drafting.standing(work, room, intent)
    if standing is not None:
        return standing, room
    # Whoever vouched for a join has signed that one event and no later one.
    content = {key: intent.content[key] for key in intent.content if key != AUTHORISED_BY}
    intent = replace(intent, content=content)
    if intent.content.get("membership") == "invite":
        check_connected(work, local, (UserId(intent.state_key or ""),))
    event, appended = drafting.say(work, local, room, intent, now_ms)
    tell_outsider(work, local, appended.room, event)
    return event, appended.room


def tell_outsider(work: UnitOfWork, local: LocalServer, room: Room, event: Event) -> None:
    """Hand a membership to the server of its user if that server is not in the room.

    An invitation shows the room; a departure takes an invitation back.
    """
    user_id = UserId(event.key[1])
    server = identifiers.server_of(user_id)
    if server == local.server_name or server in sharing.present_servers(work, room.room_id):
        return
    if server not in peers.connected_servers(work):
        return
    body: JsonObject = {
        "room_id": room.room_id,
        "room_version": room.version_id,
        "event_id": event.event_id,
        "event": event.pdu,
    }
    if event.content.get("membership") == "invite":
        current = room_state.load_state(work, room.current_state_id)
        body["invite_room_state"] = shown_state(work, current, event)
        frames.queue_item(work, server, "control", "invite", body)
    else:
        frames.queue_item(work, server, "control", "leave", body)


def shown_state(view: View, current: StateMap, invitation: Event) -> list[JsonObject]:
    """The events of a room that come along with an invitation or knock, as PDUs.

    Spec: server-server-api#put_matrixfederationv2inviteroomideventid
    """
    keys = [(event_type, "") for event_type in _SHOWN]
    keys.append(state.member_key(invitation.sender))
    return [event.pdu for event in state.load_entries(view, current, keys).values()]


def profile_of(view: View, user_id: UserId) -> JsonObject:
    """A user's name and picture: a local user's own, otherwise as some shared room shows them."""
    own = accounts.find_profile(view, user_id)
    if own is not None:
        return {key: own[key] for key in ("displayname", "avatar_url") if key in own}
    joined = rooms.rooms_of(view, user_id, rooms.JOINED)
    if not joined:
        return {}
    shown = {"displayname": joined[0].display_name, "avatar_url": joined[0].avatar_url}
    return {key: value for key, value in shown.items() if value is not None}
