"""What peers learn of rooms from outside, by which grant, and what a lying one can do."""

from dataclasses import replace
from typing import Any

import pytest

from homeserver import errors
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import RoomId
from homeserver.rooms.creating import Wish
from homeserver.rooms.directory import DirectoryRequest, RoomDirectory
from homeserver.rooms.spaces import HierarchyRequest, Spaces
from homeserver.storage import meetings, peers, rooms
from homeserver.storage.meetings import Meeting
from homeserver.storage.unit_of_work import UnitOfWork
from tests.replication.stack import Server, connect
from tests.replication.test_rooms_of_two import shared_room

Pair = tuple[Server, Server]
Trio = tuple[Server, Server, Server]


def spaces_of(server: Server) -> Spaces:
    return Spaces(server.database, server.local, server.wire, server.clock, server.aliases)


async def looked_into(server: Server, room_id: RoomId) -> list[JsonObject]:
    found = await spaces_of(server).hierarchy(server.requester, room_id, HierarchyRequest())
    return found[0]


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("publicRooms", {}),
        ("hierarchy", {"room_id": "!x:y"}),
        ("timestamp_to_event", {"room_id": "!x:y", "ts": 1, "dir": "f"}),
        ("query/directory", {"room_alias": "#x:y"}),
    ],
)
async def test_looking_around_takes_the_grant(pair: Pair, operation: str, body: Any) -> None:
    alice, bob = pair
    granted = alice.database.read(lambda view: peers.find_peer(view, bob.name))
    assert granted is not None
    changed = granted.grants | {"messages": False}
    await alice.database.write(lambda work: peers.change_peer(work, bob.name, grants=changed))
    with pytest.raises(errors.PeerRefused, match="said no"):
        await bob.wire.ask(alice.name, operation, body)


async def test_an_outsider_sees_what_could_be_entered_and_no_more(trio: Trio) -> None:
    alice, bob, carol = trio
    await connect(alice, bob)
    await connect(alice, carol)
    club = await shared_room(alice, bob)
    rules = {"join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": club}]}
    for_members = await alice.creator.create(
        alice.requester, Wish(initial_state=[("m.room.join_rules", "", rules)])
    )
    closed = await alice.creator.create(alice.requester, Wish())
    children = [
        ("m.space.child", one, {"via": [alice.name]}) for one in (club, for_members, closed)
    ]
    root = await alice.creator.create(
        alice.requester,
        Wish(
            preset="public_chat",
            creation_content={"type": "m.space"},
            initial_state=children,
        ),
    )
    told = {}
    for peer in (bob, carol):
        answer, _ = await alice.answers.answer(peer.name, "hierarchy", {"room_id": root})
        told[peer.name] = {one["room_id"] for one in answer["children"]}
        hidden = set(answer["inaccessible_children"])
        assert hidden == {club, for_members, closed} - told[peer.name]
    assert told == {bob.name: {club, for_members}, carol.name: set()}
    for room_id in (closed, "!unknown:example.org"):
        with pytest.raises(errors.NotFound, match="no such room"):
            await alice.answers.answer(carol.name, "hierarchy", {"room_id": room_id})


async def test_moments_of_a_room_are_for_those_in_it(trio: Trio) -> None:
    alice, bob, carol = trio
    await connect(alice, bob)
    await connect(alice, carol)
    room_id = await shared_room(alice, bob)
    body = {"room_id": room_id, "ts": 0, "dir": "f"}
    answer, _ = await alice.answers.answer(bob.name, "timestamp_to_event", body)
    assert answer["event_id"] == alice.timeline(room_id)[0].event.event_id
    with pytest.raises(errors.NotInRoom):
        await alice.answers.answer(carol.name, "timestamp_to_event", body)


NONSENSE: list[Any] = [
    {},
    {"room": "x", "children": 1},
    {"room": {"room_id": "!another:example.org", "children_state": []}},
    {"room": {"room_id": 5}},
]


@pytest.mark.parametrize("answer", NONSENSE)
async def test_an_answer_that_makes_no_sense_is_none(pair: Pair, answer: Any) -> None:
    alice, bob = pair
    alice.wire.tamper = lambda _operation, _answer: answer
    root = await bob.creator.create(bob.requester, Wish(preset="public_chat"))
    with pytest.raises(errors.Forbidden):
        await spaces_of(alice).hierarchy(alice.requester, root, HierarchyRequest())
    with pytest.raises(errors.NotFound):
        await spaces_of(alice).summary(alice.requester, root, [bob.name])


async def test_what_a_lying_peer_says_is_cut_to_what_clients_expect(pair: Pair) -> None:
    alice, bob = pair
    root = await bob.creator.create(bob.requester, Wish(preset="public_chat"))
    mine = await alice.creator.create(
        alice.requester,
        Wish(initial_state=[("m.space.child", root, {"via": [bob.name]})]),
    )
    bad_child = {"type": "m.space.child", "state_key": 7, "content": {"via": ["x"]}}
    room = {
        "room_id": root,
        "name": ["x"],
        "topic": "t" * 20_000,
        "num_joined_members": -1,
        "world_readable": "yes",
        "allowed_room_ids": [1, "!a:b", "nonsense"],
        "encryption": "rot13",
        "surprise": 1,
        "children_state": [bad_child, "x", {}],
    }
    alice.wire.tamper = lambda _operation, _answer: {"room": room, "children": [None, {"x": 1}]}
    _, shown = await looked_into(alice, mine)
    assert shown == {
        "room_id": root,
        "num_joined_members": 0,
        "world_readable": False,
        "guest_can_join": False,
        "allowed_room_ids": ["!a:b"],
        "children_state": [],
    }


async def test_a_directory_that_makes_no_sense_is_empty(pair: Pair) -> None:
    alice, bob = pair
    directory = RoomDirectory(alice.database, alice.local, alice.wire)
    listed = {"chunk": [1, {"room_id": "x"}], "next_batch": 5, "total_room_count_estimate": "9"}
    alice.wire.tamper = lambda _operation, _answer: listed
    assert await directory.page(bob.name, DirectoryRequest()) == {"chunk": []}
    with pytest.raises(errors.NotFound):
        await directory.page("elsewhere.org", DirectoryRequest())


async def test_a_server_that_is_shut_out_hears_nothing(pair: Pair) -> None:
    alice, bob = pair
    room_id = await shared_room(alice, bob)
    newest = alice.timeline(room_id)[-1].event.event_id
    body = {"room_id": room_id, "event_ids": [newest]}
    await alice.answers.answer(bob.name, "event", body)
    acl = {"allow": ["*"], "deny": [bob.name]}
    await alice.sender.send_state(alice.requester, room_id, "m.room.server_acl", "", acl)
    for operation, asked in (
        ("event", body),
        ("backfill", {"room_id": room_id, "v": [newest]}),
        ("state_ids", {"room_id": room_id, "event_id": newest}),
        ("make_leave", {"room_id": room_id, "user_id": bob.user, "ver": ["12"]}),
    ):
        with pytest.raises(errors.NotInRoom):
            await alice.answers.answer(bob.name, operation, asked)


async def carries_only(server: Server, peer: Server, room_id: RoomId) -> None:
    """The connection to a peer was made for one room."""
    known = server.database.read(lambda view: peers.find_peer(view, peer.name))
    assert known is not None
    meeting = Meeting(peer.name, room_id, meetings.AGREED, is_theirs=True, how="", at=0)

    def change(work: UnitOfWork) -> None:
        peers.save_peer(work, replace(known, room_id=room_id))
        meetings.save(work, meeting)

    await server.database.write(change)


async def test_a_connection_for_a_room_shows_nothing_of_others(pair: Pair) -> None:
    alice, bob = pair
    met = await shared_room(alice, bob)
    other = await alice.creator.create(alice.requester, Wish(preset="public_chat"))
    children = [("m.space.child", one, {"via": [alice.name]}) for one in (met, other)]
    space = await alice.creator.create(
        alice.requester, Wish(preset="public_chat", initial_state=children)
    )
    await alice.database.write(lambda work: rooms.publish(work, other, is_published=True))

    async def asked(operation: str, room_id: RoomId | None = None) -> JsonObject:
        body: JsonObject = {} if room_id is None else {"room_id": room_id}
        return (await alice.answers.answer(bob.name, operation, body))[0]

    assert [one["room_id"] for one in (await asked("publicRooms"))["chunk"]] == [other]
    assert len((await asked("hierarchy", space))["children"]) == 2
    await carries_only(alice, bob, space)
    assert (await asked("publicRooms"))["chunk"] == []
    tree = await asked("hierarchy", space)
    assert (tree["children"], tree["inaccessible_children"]) == ([], [])


async def test_a_room_made_to_stay_here_is_told_to_no_peer(pair: Pair) -> None:
    alice, bob = pair
    here = await alice.creator.create(
        alice.requester,
        Wish(preset="public_chat", creation_content={"m.federate": False}),
    )
    await alice.database.write(lambda work: rooms.publish(work, here, is_published=True))
    listed, _ = await alice.answers.answer(bob.name, "publicRooms", {})
    assert listed["chunk"] == []
    with pytest.raises(errors.NotFound):
        await alice.answers.answer(bob.name, "hierarchy", {"room_id": here})
