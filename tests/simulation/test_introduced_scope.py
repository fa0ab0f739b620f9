"""What somebody may do whom the owner met in a room: everything that peers can say is tried."""

from collections.abc import Mapping
from typing import Any

import pytest

from federation import payloads
from federation.requests import Requests
from homeserver import errors
from homeserver.matrix.identifiers import RoomId, ServerName
from homeserver.storage.peers import Peer
from homeserver.testing.person import Person
from homeserver.testing.simulated import simulated
from homeserver.testing.world import World
from tests.simulation.test_introductions import chain, meet

_EVERYTHING = {
    "messages": True,
    "room_invites": True,
    "media_max_bytes": 10**6,
    "typing": True,
    "receipts": True,
    "presence": True,
    "profile": "all",
    "route": True,
    "introduce": True,
}
_REFUSED_CONTROLS = {"control.invite", "control.introduction"}
_REFUSED_OPERATIONS = payloads.BEYOND_ROOMS
# About a room or an event of it.
_OF_A_ROOM: Mapping[str, Mapping[str, Any]] = {
    "cards": {"servers": []},
    "make_join": {"user_id": "", "ver": ["12"]},
    "make_knock": {"user_id": "", "ver": ["12"]},
    "make_leave": {"user_id": "", "ver": ["12"]},
    "backfill": {"v": ["$event"], "limit": 10},
    "get_missing_events": {"earliest_events": [], "latest_events": ["$event"]},
    "state_ids": {"event_id": "$event"},
    "state": {"event_id": "$event"},
    "event": {"event_ids": ["$event"]},
    "event_auth": {"event_id": "$event"},
    "timestamp_to_event": {"ts": 0, "dir": "f"},
    "hierarchy": {"suggested_only": False},
}
_OF_NO_ROOM: Mapping[str, Mapping[str, Any]] = {
    "publicRooms": {},
    "query/directory": {"room_alias": "#a:b"},
    "query/profile": {"user_id": ""},
    "invite": {},
    "introduce": {},
}
_NEEDED = {"ping", "user/keys/query", "user/keys/claim", "user/devices", "media/download"}
_SENT = {"send_join", "send_knock", "send_leave"}


def _met() -> Peer:
    name, node_id = ServerName("c.p2p.alt"), "c"
    return Peer(
        server_name=name,
        node_id=node_id,
        standing="active",
        standing_before="none",
        proof={},
        grants=_EVERYTHING,
        granted={},
        room_id=RoomId("!room"),
        name="carol",
        inviter=node_id,
        how="introduced by b",
    )


def test_every_operation_is_in_one_of_the_lists() -> None:
    listed = {*_OF_A_ROOM, *_OF_NO_ROOM, *_NEEDED, *_SENT}
    assert listed == set(payloads.OPERATIONS)
    assert set(_OF_NO_ROOM) | {"hierarchy"} == _REFUSED_OPERATIONS


def test_no_grant_makes_it_more() -> None:
    peer = _met()
    controls = {name: model for name, model in payloads.REGISTRY.items() if "control." in name}
    refused = {name for name, model in controls.items() if not peer.may(model.grant)}
    assert refused == _REFUSED_CONTROLS
    assert {kind for kind, grant in payloads.EDUS.items() if not peer.may(grant)} == set()
    assert {kind for kind, grant in payloads.ITEMS.items() if not peer.may(grant)} == set()
    for grant in ("room_invites", "presence", "profile", "introduce"):
        assert not peer.may(grant)


async def _ask(asker: Person, asked: Person, operation: str, body: Mapping[str, Any]) -> str:
    """The error of the answer, or an empty string."""
    requests: Requests = asker.server.built.peers.federation.requests
    try:
        await requests.ask(ServerName(asked.server.server_name), operation, dict(body))
    except errors.PeerRefused as refused:
        return str(refused.extra["peer_errcode"])
    return ""


@simulated
async def test_every_question_is_about_the_room_in_which_they_met(world: World) -> None:
    alice, bob, carol = await chain(world, "accept", "accept", "accept")
    shared = await meet(world, alice, bob, carol)
    public = await alice.create_room(preset="public_chat", visibility="public")
    event_id = await alice.say(public, "not for carol")
    last = await alice.say(shared, "for carol")
    await world.settle()
    about_others = {
        operation: await _ask(
            carol,
            alice,
            operation,
            {**_named(body, event_id, carol), "room_id": public},
        )
        for operation, body in _OF_A_ROOM.items()
    }
    assert all(about_others.values()), about_others
    about_it = {
        operation: await _ask(
            carol, alice, operation, {**_named(body, last, carol), "room_id": shared}
        )
        for operation, body in _OF_A_ROOM.items()
    }
    assert {name for name, why in about_it.items() if why} == {"hierarchy", "make_knock"}, about_it
    outside = {
        operation: await _ask(carol, alice, operation, _named(body, last, alice))
        for operation, body in _OF_NO_ROOM.items()
    }
    assert all(outside.values()), outside
    with pytest.raises(errors.NotConnected):
        await carol.server.built.peers.network.ask(
            ServerName(alice.server.server_name), "publicRooms", {}
        )


def _named(body: Mapping[str, Any], event_id: str, user: Person) -> dict[str, Any]:
    replaced = {"$event": event_id, "": user.user_id}
    return {
        name: replaced.get(value, value)
        if isinstance(value, str)
        else [replaced.get(one, one) for one in value]
        if isinstance(value, list)
        else value
        for name, value in body.items()
    }
